"""Methods to compare, as the command line writes them, and how each registers a pair."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SPRCore.baselines import BASELINES
from SPRCore.config import encode
from SPRCore.errors import InputError
from SPRCore.geometry import Field, MaskedVolume, Volume, compose_affine, resample
from SPRCore.io import ModelCard, read_bundle, read_card
from SPRCore.registration import LoadedModel, model_prior, register_pair
from SPRCore.registration.choice import AUTO, choose_setting
from SPRCore.registration.job import INSTANCE, make_job, model_path
from SPRCore.regularization import BetaPrior, Prior, UniformPrior
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS, prior_name
from SPRCore.regularization.priors import hyperparameters, make_prior

UNIFORM = "uniform"
_REFINE = "refine"
_LABEL = re.compile(r"([^@=/\\:]+)=(.+)")
_VALUE = re.compile(r"(\w+)=([^@,=/\\]+)")
_KEYS = (_REFINE, *dict.fromkeys(key for keys in HYPERPARAMETERS.values() for key in keys))


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method and all that was chosen for it.

    Attributes:
        label: Name in tables.
        kind: "instance", "model", or the name of a baseline.
        path: File of the model, or None.
        model: SHA-256 of the model's tensors, or None.
        prior: Prior on the weight; None for a baseline.
        chooses: Whether a prior is chosen for each pair; `prior` is the default then.
        refine: Most steps of the instance solver that go on from a model.
        twin: Label of the method that this one is tested against, or None.
    """

    label: str
    kind: str
    path: Path | None = None
    model: str | None = None
    prior: Prior | None = None
    chooses: bool = False
    refine: int = 0
    twin: str | None = None

    @property
    def setting(self) -> dict[str, Any]:
        """What was chosen, as saved results hold it."""
        if self.prior is None:
            return encode(BASELINES[self.kind])
        if self.chooses:
            return {"prior": AUTO}
        chosen = {"prior": self.prior.name, **hyperparameters(self.prior)}
        return chosen | ({_REFINE: self.refine} if self.refine else {})


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a method found.

    Attributes:
        displacement: Total pull displacement on the fixed grid, RAS mm.
        warped: Moving image on the fixed grid.
        inverse: Displacement back on the moving grid, or None.
        weight: Weight of each voxel on the fixed grid, or None.
        seconds: Time that passed to load the model (``model``) and to find the deformation (``register``).
        processor_seconds: Time of all threads and child processes on the processor to find the deformation.
    """

    displacement: Field
    warped: Volume
    inverse: Field | None = None
    weight: Volume | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    processor_seconds: float


def parse_methods(texts: Sequence[str]) -> list[Method]:
    """Read what the command line says of methods, and find out whether each can run.

    Args:
        texts: Lists with commas. Each entry is `instance`, `auto` (the same with a setting chosen for each pair),
            `uniform` or `uniform:LAMBDA` (the instance solver with one stiffness everywhere), the name of a baseline,
            or the name or path of a model; with `@alpha=A,lambda_max=L` (or `sigma=`, `lambda_mean=`, `tv=`,
            `lambda=`, `refine=`) after it its values, and with `LABEL=` before it a name for tables.

    Returns:
        The methods in their order.

    Raises:
        InputError: A method is unknown or cannot run, a value is wrong, or two have one name.
    """
    methods = [_method(entry) for entry in _entries(texts)]
    if not methods:
        raise InputError("methods", got="none", expected="at least one")
    for place, method in enumerate(methods):
        if any(method.label == other.label for other in methods[:place]):
            remedy = "write LABEL=METHOD to give each a name of its own"
            raise InputError("methods", got=f"two called {method.label!r}", remedy=remedy)
    return methods


def run_method(
    method: Method, fixed: MaskedVolume, moving: MaskedVolume, affine_ras: np.ndarray | None, device: str
) -> Found:
    """Register a pair.

    Args:
        method: How.
        fixed: Fixed image with its data, which the methods of this package keep to.
        moving: Moving image with its data, on any grid.
        affine_ras: Alignment as a whole, pull map from fixed to moving world points; None for none.
        device: Name of the device for methods of this package.

    Returns:
        What was found.

    Raises:
        InputError: The pair or the method cannot be used.
        ConvergenceError: The method failed.
    """
    if method.prior is None:
        moved = resample(moving.original, fixed.grid, affine_ras=affine_ras)
        watch = _Watch()
        own = BASELINES[method.kind].register(fixed.original, moved)
        spent = watch.read()
        total = own if affine_ras is None else compose_affine(own, affine_ras)
        warped = resample(moving.original, fixed.grid, displacement=total)
        return Found(displacement=total, warped=warped, seconds={"register": spent[0]}, processor_seconds=spent[1])
    where, loading = torch.device(device), _Watch()
    model = None if method.path is None else LoadedModel.read(method.path, where)
    loaded, watch = loading.read()[0], _Watch()
    job = make_job(model, fixed.grid, where, prior=method.prior, refine=method.refine)
    if method.chooses:
        job = dataclasses.replace(job, prior=choose_setting(fixed, moving, affine_ras, job).prior)
    result = register_pair(fixed, moving, affine_ras, job)
    seconds, processor_seconds = watch.read()
    return Found(
        displacement=result.displacement,
        warped=result.warped,
        inverse=result.inverse,
        weight=result.weight,
        seconds={"model": loaded, "register": seconds},
        processor_seconds=processor_seconds,
    )


class _Watch:
    """Time that passes, and time of all threads and finished children on the processor."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), _processor_seconds()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._start[0], _processor_seconds() - self._start[1]


def _processor_seconds() -> float:
    return sum(os.times()[:4])


def _entries(texts: Sequence[str]) -> list[str]:
    """Divide at commas, except before the second and later values of a method."""
    entries: list[str] = []
    for text in texts:
        for piece in filter(None, (piece.strip() for piece in text.split(","))):
            value = _VALUE.fullmatch(piece)
            if value and value[1] in _KEYS and entries and "@" in entries[-1]:
                entries[-1] += f",{piece}"
            else:
                entries.append(piece)
    return entries


def _method(entry: str) -> Method:
    labeled = _LABEL.fullmatch(entry)
    label, text = (labeled[1], labeled[2]) if labeled else ("", entry)
    spec, _, rest = text.partition("@")
    values = _values(rest, entry) if rest else {}
    name, _, variant = spec.partition(":")
    if name == UNIFORM:
        strength = {"lambda": _number(variant, entry)} if variant else {}
        prior = make_prior(UniformPrior.name, values | strength)
        return Method(label=label or text, kind=INSTANCE, prior=prior)
    if spec == AUTO:
        if values:
            raise InputError(f"method {entry}", got="values for a setting that is chosen", expected=AUTO)
        return Method(label=label or spec, kind=INSTANCE, prior=BetaPrior(), chooses=True)
    if spec in BASELINES:
        if values:
            raise InputError(f"method {entry}", got="values for a baseline", expected=spec)
        BASELINES[spec].check()
        return Method(label=label or spec, kind=spec)
    refine = values.pop(_REFINE, 0)
    if spec == INSTANCE:
        if refine:
            raise InputError(f"method {entry}", got="refine", expected="it after a model")
        return Method(label=label or text, kind=INSTANCE, prior=_instance_prior(values))
    return _model_method(label, spec, values, int(refine), entry)


def _model_method(label: str, spec: str, values: dict[str, float], refine: int, entry: str) -> Method:
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
    return Method(label=label or shown, kind="model", path=path, model=sha, prior=prior, refine=refine)


def _prior_of(card: ModelCard, values: dict[str, float]) -> Prior:
    asked = make_prior(card.prior, {**card.defaults, **values}) if values else None
    return model_prior(card, asked)


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
