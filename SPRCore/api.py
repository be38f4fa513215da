"""Registration in one call: what most users of the package import."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from SPRCore.analysis.annotations import Annotations
from SPRCore.analysis.given import given_pair
from SPRCore.analysis.provenance import peak_memory_mb, versions
from SPRCore.analysis.warnings import change_warnings, pair_warnings
from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.functional import plain_modes
from SPRCore.geometry import MaskedVolume
from SPRCore.io import ModelCard, PointsLike, VolumeLike, as_volume, find_bundle, read_bundle, read_card
from SPRCore.metrics import evaluate
from SPRCore.networks import RegistrationNetwork
from SPRCore.networks.loading import build_from_bundle
from SPRCore.registration import (
    InstanceConfig,
    LoadedModel,
    RegistrationJob,
    RegistrationResult,
    prealign,
    register_pair,
)
from SPRCore.registration.choice import AUTO, Choice, choose_setting
from SPRCore.registration.devices import DEVICES, pick_device
from SPRCore.registration.job import INSTANCE, check_refine, make_job, model_path
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior
from SPRCore.regularization.hyperparameters import LARGE_MOTION
from SPRCore.regularization.priors import anatomy_prior, as_prior, hyperparameters

__all__ = ["AUTO", "DEVICES", "INSTANCE", "Progress", "card_of", "load_model", "pick_device", "register"]

SCHEMA_VERSION = 1

STANDARD, FINE = "standard", "fine"
DETAILS = (STANDARD, FINE)
"""How much detail the instance solver finds."""

_LOG = logging.getLogger("SPRCore")

Prior = BetaPrior | GaussianPrior | TotalVariationPrior | UniformPrior


@runtime_checkable
class Progress(Protocol):
    """Called with a stage in words and how much of it is done, 0 to 1 (None where nobody can tell)."""

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        """Take note of the progress; an exception raised here stops the registration."""
        ...


@plain_modes()
def register(
    fixed: VolumeLike | MaskedVolume,
    moving: VolumeLike | MaskedVolume,
    *,
    method: str | Path = INSTANCE,
    prior: Prior | str | None = None,
    anatomy: str | None = None,
    detail: str = STANDARD,
    refine: int = 0,
    init: str = "auto",
    fixed_labels: VolumeLike | None = None,
    moving_labels: VolumeLike | None = None,
    fixed_points: PointsLike | None = None,
    moving_points: PointsLike | None = None,
    fixed_mask: VolumeLike | None = None,
    moving_mask: VolumeLike | None = None,
    stiffness: VolumeLike | None = None,
    device: str = "auto",
    seed: int = 0,
    config: InstanceConfig | None = None,
    progress: Progress | None = None,
) -> RegistrationResult:
    """Deform a moving image onto a fixed one and show how stiff the deformation was where.

    Labels and landmarks are never used to register: they measure the result. An image, label map or mask is a
    `Volume`, the path of a file, or an image of nibabel or SimpleITK; an array alone does not tell its spacing, so make
    a `Volume` of it. Landmarks may be the path of a file, too.

    Args:
        fixed: Fixed image. A `MaskedVolume` knows already where it has data, and its mask is not looked at again.
        moving: Moving image, on any grid, likewise.
        method: "instance": minimize the energy for this pair, without any training. Otherwise the name of a model, or
            the path of its bundle.
        prior: Prior on the weight of the regularization, or its name: "beta", "gaussian", "tv" or "uniform". None for
            `BetaPrior()`, which the paper recommends, or for the prior of the model; a model takes what lies in its
            ranges. "auto" chooses a setting for this pair by held-out similarity, without labels; instance solver only.
        anatomy: Part of the body whose setting is used: "brain", "heart", "lung", "liver" or "pelvis"; instance solver
            only, and not together with a prior. For livers and lungs the solver starts from a discrete search, too.
        detail: "standard", or "fine" for a finer velocity and more steps at the end (`InstanceConfig.detailed`): in
            brains it gains 0.009 Dice at three times the time. Instance solver only.
        refine: Most steps of the instance solver that go on from what a model gave; 0 for none.
        init: Alignment beforehand: "none", "center" (of mass), "rigid", "affine", or "auto", which looks at the pair.
        fixed_labels: Label map of the fixed image; on another grid it is resampled.
        moving_labels: Label map of the moving image, on any grid.
        fixed_points: Landmarks of the fixed image in RAS mm, shape (N, 3).
        moving_points: Their partners in the moving image in RAS mm, shape (N, 3).
        fixed_mask: Voxels of the fixed image that count (not 0), on any grid. Voxels that are NaN and padding beyond a
            field of view are left out by themselves. Where one of the images has no data nothing pulls, and the
            deformation is continued smoothly.
        moving_mask: Likewise of the moving image.
        stiffness: Painted factor > 0 of the weight of each voxel, on any grid, 1 outside; for the instance solver, so
            with a model only together with `refine`.
        device: "auto" (CUDA if there is one, otherwise the CPU), "cpu", "cuda" or "mps".
        seed: Seed of every random choice; the same seed and machine give the same result.
        config: Settings of the instance solver; None for its defaults, those of `InstanceConfig.searching` with the
            anatomy of a liver or a lung, or with `refine` those of `InstanceConfig.refining`.
        progress: Told about stages of the work.

    Returns:
        Warped image, total displacement (the alignment included) and its inverse in RAS mm, weight map and report.

    Raises:
        InputError: An image cannot be registered, the two do not overlap, an option is unknown, the device is absent,
            the model is not there, damaged, or cannot do what is asked.
        ConvergenceError: The computation left the numbers.
    """
    _check_kinds(refine=refine, seed=seed, config=config, progress=progress)
    chooses = _chooses(prior, anatomy, method)
    prior = _named_prior(None if chooses else prior, method) if anatomy is None else anatomy_prior(anatomy)
    config = _solver_config(config, anatomy, detail, method)
    stiffness = None if stiffness is None else as_volume(stiffness, "stiffness")
    target, watch = pick_device(device), _Stages(progress)
    marks = {"fixed_labels": fixed_labels, "moving_labels": moving_labels, "fixed_points": fixed_points}
    marks |= {"moving_points": moving_points, "fixed_mask": fixed_mask, "moving_mask": moving_mask}
    *pair, marked = given_pair(fixed, moving, **marks)
    check_refine(method == INSTANCE, refine)
    asked = {"stiffness": stiffness, "refine": refine, "config": config, "prior": prior}
    job = make_job(_model(method, target, watch), pair[0].grid, target, **asked)
    with _seeded(seed, target):
        return _registered((pair[0], pair[1]), marked, job, init, seed, watch, chooses)


def _registered(
    pair: tuple[MaskedVolume, MaskedVolume],
    marked: Annotations,
    job: RegistrationJob,
    init: str,
    seed: int,
    watch: _Stages,
    chooses: bool,
) -> RegistrationResult:
    """Align, deform and measure a pair, and tell what is doubtful."""
    given = marked.on(pair[0].grid)
    doubts = pair_warnings(*pair, marked, None if job.model is None else job.model.card)
    with watch.stage("prealign", "aligning"):
        affine_ras = prealign(*pair, init).affine_ras
    choice = None
    if chooses:
        with watch.stage("choose", "choosing a setting"):
            choice = choose_setting(*pair, affine_ras, job, lambda done: watch.tell("choosing a setting", done))
        job = dataclasses.replace(job, prior=choice.prior)
        doubts += choice.warnings
    with watch.stage("register", "registering"):
        result = register_pair(*pair, affine_ras, job, lambda done: watch.tell("registering", done))
    with watch.stage("measure", "measuring"):
        found = {"displacement": result.displacement, "inverse": result.inverse, "warped": result.warped}
        metrics = evaluate(**found, fixed=pair[0], moving=pair[1], **vars(given), device=job.device)
    doubts += change_warnings(metrics)
    for doubt in doubts:
        _LOG.warning("%s", doubt)
    report = _report(*pair, job, seed, watch, metrics, choice) | {"warnings": doubts}
    return dataclasses.replace(result, report=report)


@plain_modes()
def load_model(name_or_path: str | Path) -> RegistrationNetwork:
    """Load the network of a model.

    Args:
        name_or_path: Name of a model (see `spr models list`), or the path of its bundle.

    Returns:
        The network on the CPU, in evaluation mode: `network(moving, fixed, code=None)` takes tensors of shape
        (B, 1, X, Y, Z) in [0, 1] and gives fields in voxels of their grid.

    Raises:
        InputError: There is no such model, or its file is damaged.
    """
    return build_from_bundle(read_bundle(find_bundle(name_or_path)))


def card_of(method: str | Path) -> ModelCard | None:
    """Return the card of the model that a method names, without loading it.

    Args:
        method: As for `register`.

    Returns:
        The card; None for "instance".

    Raises:
        InputError: There is no such model, or its card is wrong.
    """
    path = model_path(method)
    return None if path is None else read_card(path)


def _named_prior(prior: Prior | str | None, method: str | Path) -> Prior | None:
    """The prior that was given; by its name, with the usual values of the model."""
    card = card_of(method) if isinstance(prior, str) else None
    return as_prior(prior, card.defaults if card is not None and card.prior == prior else None)


def _solver_config(
    config: InstanceConfig | None, anatomy: str | None, detail: str, method: str | Path
) -> InstanceConfig | None:
    """Settings of the solver with what an anatomy and the detail change; None for the defaults."""
    check_name(detail, DETAILS, "detail")
    if config is None and anatomy in LARGE_MOTION:
        config = InstanceConfig.searching()
    if detail == STANDARD:
        return config
    if method != INSTANCE:
        raise InputError("detail", got=f"{detail} with the model {method}", expected=f"the method {INSTANCE}")
    return (config or InstanceConfig()).detailed()


def _chooses(prior: Prior | str | None, anatomy: str | None, method: str | Path) -> bool:
    """Whether a setting is to be chosen; refuses what cannot be had together."""
    chooses = isinstance(prior, str) and prior == AUTO
    what = "anatomy" if anatomy is not None else f"prior {AUTO}"
    if (chooses or anatomy is not None) and method != INSTANCE:
        got = f"it with the model {method}"
        raise InputError(what, got=got, expected=f"the method {INSTANCE}", remedy="a model has settings of its own")
    if anatomy is not None and prior is not None:
        raise InputError("anatomy", got="it together with a prior", expected="one of the two")
    return chooses


def _check_kinds(*, refine: Any, seed: Any, config: Any, progress: Any) -> None:
    """Refuse what is of another type than it must be."""
    for name, value, fits, expected in (
        ("refine", refine, isinstance(refine, (int, np.integer)), "a whole number of steps"),
        ("seed", seed, isinstance(seed, (int, np.integer)), "a whole number"),
        ("config", config, config is None or isinstance(config, InstanceConfig), "an InstanceConfig, or None"),
        ("progress", progress, progress is None or callable(progress), "a function, or None"),
    ):
        if not fits:
            raise InputError(name, got=f"a {type(value).__name__}", expected=expected)


class _Stages:
    """Times the stages of the work and tells about them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._start = progress, time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, key: str, words: str) -> Iterator[None]:
        self.tell(words)
        start = time.perf_counter()
        yield
        self.seconds[key] = time.perf_counter() - start

    def tell(self, words: str, fraction: float | None = None) -> None:
        if self._progress is not None:
            self._progress(words, fraction)

    def elapsed(self) -> float:
        return time.perf_counter() - self._start


def _model(method: str | Path, device: torch.device, watch: _Stages) -> LoadedModel | None:
    """Load the model that a method names, if it names one."""
    path = model_path(method)
    if path is None:
        return None
    with watch.stage("model", "loading the model"):
        return LoadedModel.read(path, device)


def _describe(image: MaskedVolume) -> dict[str, Any]:
    known = 1.0 if image.valid is None else float(image.valid.mean())
    return {
        "shape": list(image.grid.shape),
        "spacing_mm": list(image.grid.spacing),
        **({"data_percent": 100.0 * known} if known < 1.0 else {}),
    }


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all random choices of the block and leave the generators of the caller as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _report(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    job: RegistrationJob,
    seed: int,
    watch: _Stages,
    metrics: dict[str, Any],
    choice: Choice | None,
) -> dict[str, Any]:
    model = job.model
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "inputs": {"fixed": _describe(fixed), "moving": _describe(moving)},
        "method": INSTANCE if model is None else model.card.name,
        "model": None if model is None else {"name": model.card.name, "sha256": model.sha256},
        **({"refine": job.refine} if job.refine else {}),
        "device": str(job.device),
        "seed": seed,
        "hyperparameters": {"prior": job.prior.name, **hyperparameters(job.prior)},
        **({} if choice is None else {"prior": choice.report()}),
        "seconds": watch.seconds | {"total": watch.elapsed()},
        "peak_memory_mb": peak_memory_mb(job.device),
        "metrics": metrics,
    }
