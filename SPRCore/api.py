"""Registration in one call."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from SPRCore.analysis.planes import foreground
from SPRCore.analysis.provenance import peak_memory_mb, versions
from SPRCore.analysis.warnings import change_warnings, pair_warnings, setting_warnings
from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.functional import plain_modes
from SPRCore.geometry import Annotations, MaskedVolume
from SPRCore.io import AnnotationsLike, ModelCard, VolumeLike, as_pair, as_volume, find_bundle, read_bundle, read_card
from SPRCore.metrics import evaluate, uncertainty_metrics, with_similarity
from SPRCore.metrics.sliding import result_sliding, sliding_metrics
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
from SPRCore.registration.choice import AUTO, choose_setting
from SPRCore.registration.devices import pick_device
from SPRCore.registration.job import INSTANCE, make_job, model_path
from SPRCore.registration.map_contrast import map_contrast
from SPRCore.registration.network import check_channels
from SPRCore.registration.reliability import weight_reliability
from SPRCore.registration.uncertainty import UncertaintyConfig
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior
from SPRCore.regularization.hyperparameters import LARGE_MOTION
from SPRCore.regularization.priors import anatomy_prior, as_prior, hyperparameters
from SPRCore.similarity import check_similarity

__all__ = [
    *("AUTO", "DEVICES", "INSTANCE", "ProgressCallback", "RegistrationOptions"),
    *("card_of", "load_model", "pick_device", "register"),
]

SCHEMA_VERSION = 1

_STANDARD, _FINE = "standard", "fine"
_DETAILS = (_STANDARD, _FINE)
"""Levels of detail of the instance optimization."""

_REPORT = (
    *("schema_version", "versions", "inputs", "method", "model", "refine", "device", "seed", "hyperparameters"),
    *("similarity", "prior", "seconds", "peak_memory_mb", "metrics", "warnings"),
)  # order of the keys
_CHECKING = "checking the stiffness map"
_LOG = logging.getLogger("SPRCore")

Prior = BetaPrior | GaussianPrior | TotalVariationPrior | UniformPrior


class ProgressCallback(Protocol):
    """Called with the name of the current stage and the fraction done, 0 to 1; None if unknown."""

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        """Report progress; an exception raised here stops the registration."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class RegistrationOptions:
    """Options of `register` that are seldom needed.

    Attributes:
        anatomy: Anatomy preset: "brain", "heart", "lung", "liver" or "pelvis"; instance optimization only, and not
            together with a prior. Livers and lungs start from a discrete search.
        detail: "standard", or "fine" for a finer velocity and more final steps (`InstanceConfig.detailed`): 0.009 more
            Dice in brains for three times the time. Instance optimization only.
        similarity: "lncc" (local correlation, for images of one contrast), "mind" (MIND descriptors, for images of
            different contrast) or "mse" (mean squares, for images of one scanner); None for "lncc", or for the one that
            the task model was trained with, the only one it takes.
        refine: Maximum number of steps of the instance optimization after a task model.
        sliding: Whether to measure the slide in the valleys of the stiffness, too; on the surfaces of labels it is
            measured in any case.
        stiffness: Stiffness factor > 0 of each voxel, on any grid, 1 outside; with a task model only with `refine`.
        uncertainty: Also compute how far the displacement may be from the true one (``result.uncertainty``), with these
            settings; None for not.
        config: Configuration of the instance optimization; None for the defaults, those of `InstanceConfig.searching`
            for the anatomies liver and lung, or with `refine` those of `InstanceConfig.refining`.
        weight_reliability: Register three more times, with the images swapped and with noise added, and compare the
            weight maps. Four times as long; not with the uniform prior, whose map is constant.
        seed: Seed of all random numbers; the same seed and machine give the same result.
        progress: Progress callback.

    Raises:
        InputError: A value has the wrong type, or the detail or the similarity is unknown.
    """

    anatomy: str | None = None
    detail: str = _STANDARD
    similarity: str | None = None
    refine: int = 0
    sliding: bool = False
    stiffness: VolumeLike | None = None
    uncertainty: UncertaintyConfig | None = None
    config: InstanceConfig | None = None
    weight_reliability: bool = False
    seed: int = 0
    progress: ProgressCallback | None = None

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("refine", isinstance(self.refine, (int, np.integer)), "a whole number of steps"),
            ("seed", isinstance(self.seed, (int, np.integer)), "a whole number"),
            ("config", self.config is None or isinstance(self.config, InstanceConfig), "an InstanceConfig, or None"),
            ("uncertainty", isinstance(self.uncertainty, UncertaintyConfig | None), "an UncertaintyConfig, or None"),
            ("progress", self.progress is None or callable(self.progress), "a function, or None"),
        ):
            if not fits:
                raise InputError(name, got=f"a {type(getattr(self, name)).__name__}", expected=expected)
        check_name(self.detail, _DETAILS, "detail")
        if self.similarity is not None:
            check_similarity(self.similarity)

    def solver_config(self, method: str | Path) -> InstanceConfig | None:
        """Return the configuration with the effects of anatomy and detail; None for the defaults of the method."""
        config = InstanceConfig.searching() if self.config is None and self.anatomy in LARGE_MOTION else self.config
        if self.detail == _STANDARD:
            return config
        if method != INSTANCE:
            raise InputError("detail", got=f"{self.detail} with the model {method}", expected=f"the method {INSTANCE}")
        return (config or InstanceConfig()).detailed()


@plain_modes()
def register(
    fixed: VolumeLike | MaskedVolume,
    moving: VolumeLike | MaskedVolume,
    *,
    method: str | Path = INSTANCE,
    prior: Prior | str | None = None,
    init: str | np.ndarray = "auto",
    annotations: AnnotationsLike | None = None,
    device: str = "auto",
    options: RegistrationOptions | None = None,
) -> RegistrationResult:
    """Register a moving image to a fixed image.

    An image, label map or mask is a `Volume`, the path of a file, or an image of nibabel or SimpleITK. An array has no
    spacing: convert it to a `Volume`.

    Args:
        fixed: Fixed image. The mask of a `MaskedVolume` is used as it is.
        moving: Moving image, on any grid; the same for its mask.
        method: "instance": optimization for this pair, without training. Otherwise the name of a task model, or the
            path of its bundle.
        prior: Prior on the regularization weight, or its name: "beta", "gaussian", "tv" or "uniform". None for
            `BetaPrior()`, as in the paper, or for the prior of the model, whose ranges hold. "auto" chooses a setting
            for this pair by held-out similarity; instance optimization only.
        init: Affine pre-alignment: "none", "center" (of mass), "rigid", "affine", or "auto", which looks at the pair;
            or a pull map from fixed to moving points in RAS mm, shape (4, 4), which is used as it is.
        annotations: Labels and landmarks, which measure the result and never steer it, and masks. Voxels that are NaN
            and padding are masked automatically; where an image has no data the deformation is continued smoothly.
        device: "auto" (CUDA if present, otherwise the CPU), "cpu", "cuda" or "mps".
        options: Further options; None for the defaults.

    Returns:
        Warped image, total displacement (pre-alignment included) and its inverse in RAS mm, weight map and report.

    Raises:
        InputError: An image cannot be registered, the two do not overlap, an option is unknown, the device is absent,
            the model is missing or damaged, or does not support an option.
        ConvergenceError: The computation became NaN or infinite.
    """
    options = options or RegistrationOptions()
    chooses = _chooses(prior, options.anatomy, method)
    arguments = {"prior": _named_prior(None if chooses else prior, method), "refine": options.refine}
    if options.anatomy is not None:
        arguments["prior"] = anatomy_prior(options.anatomy)
    arguments |= {"config": options.solver_config(method), "similarity": options.similarity}
    arguments["stiffness"] = None if options.stiffness is None else as_volume(options.stiffness, "stiffness")
    target, watch = pick_device(device), _Stages(options.progress)
    if options.weight_reliability:
        _check_has_map(arguments["prior"])
    pair = as_pair(fixed, moving, annotations)
    job = make_job(_model(method, target, watch), pair[0].grid, target, **arguments)
    job = dataclasses.replace(job, uncertainty=options.uncertainty)
    with _seeded(options.seed, target):
        result = _registered(pair, job, init, watch, chooses, options)
    report = _report(pair, job, watch) | {"seed": options.seed} | result.report
    return dataclasses.replace(result, report={key: report[key] for key in _REPORT if key in report})


def _registered(
    pair: tuple[MaskedVolume, MaskedVolume, Annotations],
    job: RegistrationJob,
    init: str | np.ndarray,
    watch: _Stages,
    chooses: bool,
    options: RegistrationOptions,
) -> RegistrationResult:
    """Align, deform and measure a pair; the report holds hyperparameters, choice, metrics and warnings."""
    fixed, moving, annotations = pair
    if job.model is not None:
        check_channels(fixed, moving, job.model.network, job.model.card)  # before the alignment, which takes time
    warnings = _warnings_before(pair, job)
    report: dict[str, Any] = {}
    with watch.stage("prealign", "aligning"):
        affine_ras = prealign(fixed, moving, init).affine_ras
    if chooses:
        with watch.stage("choose", "choosing a setting"):
            choice = choose_setting(fixed, moving, affine_ras, job, watch.callback("choosing a setting"))
        job = dataclasses.replace(job, prior=choice.prior)
        warnings += choice.warnings
        report["prior"] = choice.report()
    with watch.stage("register", "registering"):
        result = register_pair(fixed, moving, affine_ras, job, watch.callback("registering"))
    with watch.stage("measure", "measuring"):
        labels = annotations.on(fixed.grid).fixed_labels
        sliding = result_sliding(result.displacement, labels, result.weight, options.sliding)
        result = dataclasses.replace(result, sliding=sliding)
        metrics = _measured(pair, result, job)
    if options.weight_reliability:
        with watch.stage("reliability", _CHECKING):
            where, progress = foreground(fixed.volume, fixed.valid), watch.callback(_CHECKING)
            found = weight_reliability(pair[:2], result, where, job, seed=options.seed, callback=progress)
        metrics["after"]["weight"]["reliability"] = found.report()
        result = dataclasses.replace(result, weight_reliability=found.sd)
    warnings += change_warnings(metrics)
    for warning in warnings:
        _LOG.warning("%s", warning)
    report["hyperparameters"] = {"prior": job.prior.name, **hyperparameters(job.prior)}
    return dataclasses.replace(result, report=report | {"metrics": metrics, "warnings": warnings})


def _warnings_before(pair: tuple[MaskedVolume, MaskedVolume, Annotations], job: RegistrationJob) -> list[str]:
    """Warnings about the pair and the job, before anything is computed."""
    card = None if job.model is None else job.model.card
    found = pair_warnings(*pair, card) + ([] if card is None else setting_warnings(card, job.prior))
    if job.uncertainty is not None and job.similarity != "lncc":
        found.append(f"the uncertainty was calibrated with local correlation, not with {job.similarity}")
    return found


def _measured(
    pair: tuple[MaskedVolume, MaskedVolume, Annotations], result: RegistrationResult, job: RegistrationJob
) -> dict[str, dict[str, Any]]:
    """Return the metrics before and after, with the contrast of the weight map and the sliding."""
    fixed, moving, annotations = pair
    found = {"displacement": result.displacement, "inverse": result.inverse, "warped": result.warped}
    on_fixed = annotations.on(fixed.grid)
    metrics = evaluate(**found, fixed=fixed, moving=moving, annotations=on_fixed, device=job.device)
    metrics = with_similarity(metrics, job.similarity, fixed, moving, result.displacement, job.device)
    if result.uncertainty is not None:
        metrics["after"] |= uncertainty_metrics(result.uncertainty, result.displacement, fixed, on_fixed)
    if result.sliding:
        metrics["after"]["sliding_mm"] = sliding_metrics(result.sliding)
    contrast = map_contrast(result.weight, result.velocity, foreground(fixed.volume, fixed.valid), job)
    metrics["after"]["weight"] = dataclasses.asdict(contrast)
    return metrics


@plain_modes()
def load_model(name_or_path: str | Path) -> RegistrationNetwork:
    """Load the network of a task model by its name (see `spr models list`) or the path of its bundle.

    Returns:
        The network on the CPU, in evaluation mode: `network(moving, fixed, code=None)` takes tensors of shape
        (B, C, X, Y, Z) in [0, 1], of one channel or as many as in its training, and returns fields in voxels of their
        grid.

    Raises:
        InputError: There is no such model, or its file is damaged.
    """
    return build_from_bundle(read_bundle(find_bundle(name_or_path)))


def card_of(method: str | Path) -> ModelCard | None:
    """Return the card of a task model without loading its network; None for "instance".

    Raises:
        InputError: There is no such model, or its card is invalid.
    """
    path = model_path(method)
    return None if path is None else read_card(path)


def _named_prior(prior: Prior | str | None, method: str | Path) -> Prior | None:
    """The prior; one given by name has the default hyperparameters of the model."""
    card = card_of(method) if isinstance(prior, str) else None
    return as_prior(prior, card.defaults if card is not None and card.prior == prior else None)


def _chooses(prior: Prior | str | None, anatomy: str | None, method: str | Path) -> bool:
    """Whether a setting is to be chosen; refuses contradicting arguments."""
    chooses = isinstance(prior, str) and prior == AUTO
    what = "anatomy" if anatomy is not None else f"prior {AUTO}"
    if (chooses or anatomy is not None) and method != INSTANCE:
        got = f"it with the model {method}"
        raise InputError(what, got=got, expected=f"the method {INSTANCE}", remedy="a model has settings of its own")
    if anatomy is not None and prior is not None:
        raise InputError("anatomy", got="it together with a prior", expected="one of the two")
    return chooses


def _check_has_map(prior: Prior | None) -> None:
    if isinstance(prior, UniformPrior):
        expected = "a prior whose weight varies: beta, gaussian or tv"
        raise InputError("weight reliability", got="it with the uniform prior", expected=expected)


class _Stages:
    """Measures the time of each stage and reports progress."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self._progress, self._start = progress, time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, key: str, words: str) -> Iterator[None]:
        if self._progress is not None:
            self._progress(words)
        start = time.perf_counter()
        yield
        self.seconds[key] = time.perf_counter() - start

    def callback(self, words: str) -> Callable[[float], None] | None:
        """Return a callback that reports the fraction done of a stage."""
        progress = self._progress
        return None if progress is None else lambda done: progress(words, done)

    def elapsed(self) -> float:
        return time.perf_counter() - self._start


def _model(method: str | Path, device: torch.device, watch: _Stages) -> LoadedModel | None:
    """Load the task model; None for the instance optimization."""
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
        **({} if image.channel is None else {"channels": 2}),
    }


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all random numbers of the block and restore the generators of the caller afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _report(
    pair: tuple[MaskedVolume, MaskedVolume, Annotations], job: RegistrationJob, watch: _Stages
) -> dict[str, Any]:
    model = job.model
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "inputs": {"fixed": _describe(pair[0]), "moving": _describe(pair[1])},
        "method": INSTANCE if model is None else model.card.name,
        "model": None if model is None else {"name": model.card.name, "sha256": model.sha256},
        **({"refine": job.refine} if job.refine else {}),
        "similarity": job.similarity,
        "device": str(job.device),
        "seconds": watch.seconds | {"total": watch.elapsed()},
        "peak_memory_mb": peak_memory_mb(job.device),
    }
