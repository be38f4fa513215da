"""Methods as written on the command line, and registration of a pair by each of them."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SPRCore.baselines import BASELINES
from SPRCore.config import encode
from SPRCore.errors import InputError
from SPRCore.geometry import Grid, compose_affine, resample
from SPRCore.io import ModelCard, read_bundle, read_card
from SPRCore.io.pairs import LoadedPair
from SPRCore.registration import LoadedModel, RegistrationResult, model_prior, register_pair
from SPRCore.registration.choice import AUTO, choose_setting
from SPRCore.registration.job import INSTANCE, make_job, model_path
from SPRCore.regularization import BetaPrior, Prior, UniformPrior
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS, prior_name
from SPRCore.regularization.priors import hyperparameters, make_prior

UNIFORM = "uniform"
_REFINE = "refine"
_LABEL = re.compile(r"([^@=/\\:]+)=(.+)")
_VALUE = re.compile(r"(\w+)=([^@,=/\\]+)")
_SIZES = ("encoder", "decoder", "embed", "depths", "time_steps")
_KEYS = (_REFINE, *dict.fromkeys(key for keys in HYPERPARAMETERS.values() for key in keys))


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method and its settings.

    Attributes:
        label: Name in tables.
        kind: "instance", "model", or the name of a baseline.
        path: File of the model, or None.
        model: SHA-256 of the model's tensors, or None.
        prior: Prior on the weight; None for a baseline.
        chooses: Whether a prior is chosen for each pair; `prior` is the default then.
        refine: Maximum number of refinement steps after a model.
        twins: Labels of the reference methods of the statistical tests.
    """

    label: str
    kind: str
    path: Path | None = None
    model: str | None = None
    prior: Prior | None = None
    chooses: bool = False
    refine: int = 0
    twins: tuple[str, ...] = ()

    @property
    def setting(self) -> dict[str, Any]:
        """The settings as saved in results."""
        if self.prior is None:
            return encode(BASELINES[self.kind])
        if self.chooses:
            return {"prior": AUTO}
        chosen = {"prior": self.prior.name, **hyperparameters(self.prior)}
        return chosen | ({_REFINE: self.refine} if self.refine else {})


def parse_methods(texts: Sequence[str]) -> list[MethodSpec]:
    """Parse specifications of methods and check that each can run.

    Args:
        texts: Comma-separated lists. Each entry is `instance`, `auto` (a setting chosen for each pair), `uniform` or
            `uniform:LAMBDA` (instance optimization with one weight everywhere), the name of a baseline, or the name or
            path of a model; with `@alpha=A,lambda_max=L` (or `sigma=`, `lambda_mean=`, `tv=`, `lambda=`, `refine=`) for
            its values, and with `LABEL=` before it a name for tables.

    Raises:
        InputError: A method is unknown or cannot run, a value is wrong, or a name is a duplicate.
    """
    methods = [_method(entry) for entry in _entries(texts)]
    if not methods:
        raise InputError("methods", got="none", expected="at least one")
    for index, method in enumerate(methods):
        if any(method.label == other.label for other in methods[:index]):
            remedy = "write LABEL=METHOD to give each a name of its own"
            raise InputError("methods", got=f"two called {method.label!r}", remedy=remedy)
    return methods


def run_method(method: MethodSpec, pair: LoadedPair, affine_ras: np.ndarray | None, device: str) -> RegistrationResult:
    """Register a pair; baselines get the whole images, without masks and second channels.

    Returns:
        The result, of a baseline without inverse and weight. Its report has `seconds` to load the model (``model``) and
        to register (``register``), and `processor_seconds` of all threads and child processes to register.

    Raises:
        InputError: The pair or the method cannot be used.
        ConvergenceError: The method failed.
    """
    fixed, moving = pair.fixed, pair.moving
    if method.prior is None:
        moved = resample(moving.original, fixed.grid, affine_ras=affine_ras)
        watch = _Timer()
        own = BASELINES[method.kind].register(fixed.original, moved)
        seconds, processor_seconds = watch.read()
        total = own if affine_ras is None else compose_affine(own, affine_ras)
        warped = resample(moving.original, fixed.grid, displacement=total)
        report = {"seconds": {"register": seconds}, "processor_seconds": processor_seconds}
        return RegistrationResult(warped=warped, displacement=total, affine_ras=affine_ras, report=report)
    where, loading = torch.device(device), _Timer()
    model = None if method.path is None else LoadedModel.read(method.path, where).for_prepared(pair.prepared)
    loaded, watch = loading.read()[0], _Timer()
    job = make_job(model, fixed.grid, where, prior=method.prior, refine=method.refine)
    if method.chooses:
        job = dataclasses.replace(job, prior=choose_setting(fixed, moving, affine_ras, job).prior)
    result = register_pair(fixed, moving, affine_ras, job)
    seconds, processor_seconds = watch.read()
    report = {"seconds": {"model": loaded, "register": seconds}, "processor_seconds": processor_seconds}
    return dataclasses.replace(result, report=report)


def provenance_of(method: MethodSpec, grid: Grid) -> dict[str, Any]:
    """Return what determines how a result compares with published ones, see `BenchmarkRow.provenance`."""
    spacing = [round(step, 4) for step in grid.spacing]
    found: dict[str, Any] = {"kind": method.kind, "grid": {"shape": list(grid.shape), "spacing_mm": spacing}}
    if method.path is None:
        return found
    card = read_card(method.path)
    network = dict(card.architecture)
    return found | {
        "model": {
            "architecture": network.get("architecture"),
            "sizes": {name: encode(network[name]) for name in _SIZES if name in network},
            "conditioning": list(card.conditioning),
            "conditioned_by": network.get("conditioning"),
            "weighting": card.to_dict().get("weighting"),
            "grid": encode(card.grid),
            "task": card.task,
            "training_data": card.training_data,
            "training": "; ".join(dict.fromkeys(metric.how for metric in card.metrics)),
        }
    }


class _Timer:
    """Wall time, and processor time of all threads and finished child processes."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), _processor_seconds()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._start[0], _processor_seconds() - self._start[1]


def _processor_seconds() -> float:
    return sum(os.times()[:4])


def _entries(texts: Sequence[str]) -> list[str]:
    """Split at commas, except before the second and later values of a method."""
    entries: list[str] = []
    for text in texts:
        for piece in filter(None, (piece.strip() for piece in text.split(","))):
            value = _VALUE.fullmatch(piece)
            if value and value[1] in _KEYS and entries and "@" in entries[-1]:
                entries[-1] += f",{piece}"
            else:
                entries.append(piece)
    return entries


def _method(entry: str) -> MethodSpec:
    labeled = _LABEL.fullmatch(entry)
    label, text = (labeled[1], labeled[2]) if labeled else ("", entry)
    spec, _, rest = text.partition("@")
    values = _values(rest, entry) if rest else {}
    name, _, variant = spec.partition(":")
    if name == UNIFORM:
        strength = {"lambda": _number(variant, entry)} if variant else {}
        prior = make_prior(UniformPrior.name, values | strength)
        return MethodSpec(label=label or text, kind=INSTANCE, prior=prior)
    if spec == AUTO:
        if values:
            raise InputError(f"method {entry}", got="values for a setting that is chosen", expected=AUTO)
        return MethodSpec(label=label or spec, kind=INSTANCE, prior=BetaPrior(), chooses=True)
    if spec in BASELINES:
        if values:
            raise InputError(f"method {entry}", got="values for a baseline", expected=spec)
        BASELINES[spec].check()
        return MethodSpec(label=label or spec, kind=spec)
    refine = values.pop(_REFINE, 0)
    if spec == INSTANCE:
        if refine:
            raise InputError(f"method {entry}", got="refine", expected="it after a model")
        return MethodSpec(label=label or text, kind=INSTANCE, prior=_instance_prior(values))
    return _model_method(label, spec, values, int(refine), entry)


def _model_method(label: str, spec: str, values: dict[str, float], refine: int, entry: str) -> MethodSpec:
    try:
        path = model_path(spec)
    except InputError as error:
        known = ", ".join([INSTANCE, AUTO, UNIFORM, *BASELINES])
        raise InputError(
            f"method {entry}", got=error.got, expected=f"{known}, or a model", remedy=error.remedy
        ) from None
    card, sha = read_card(path), read_bundle(path).sha256
    shown = card.name + entry[entry.index("@") :] if "@" in entry else card.name
    prior = _prior_of(card, values)
    return MethodSpec(label=label or shown, kind="model", path=path, model=sha, prior=prior, refine=refine)


def _prior_of(card: ModelCard, values: dict[str, float]) -> Prior:
    return model_prior(card, make_prior(card.prior, {**card.defaults, **values}) if values else None)


def _instance_prior(values: dict[str, float]) -> Prior:
    """The prior that the values belong to."""
    if not values:
        return BetaPrior()
    name = prior_name(values)
    if not set(values) <= set(HYPERPARAMETERS[name]):
        raise InputError("instance", got=f"values of no one prior: {', '.join(values)}", expected="those of one prior")
    return make_prior(name, values)


def _values(text: str, entry: str) -> dict[str, float]:
    values = {}
    for piece in text.split(","):
        found = _VALUE.fullmatch(piece)
        if not found or found[1] not in _KEYS:
            raise InputError(
                f"method {entry}", got=repr(piece), expected=f"NAME=NUMBER, NAME one of {', '.join(_KEYS)}"
            )
        values[found[1]] = _number(found[2], entry)
    return values


def _number(text: str, entry: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"method {entry}", got=repr(text), expected="a number") from None
