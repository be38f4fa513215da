"""Axes of sweeps: ranges and steps of the paper, and ranges from the command line."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SPRCore.analysis.methods import MethodSpec
from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.io import read_card
from SPRCore.regularization import TotalVariationPrior
from SPRCore.regularization.hyperparameters import (
    HYPERMORPH_WEIGHTING,
    HYPERPARAMETERS,
    share_of,
    strength_of,
    usable_range,
    usual_ranges,
)

RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "body": {"alpha": (0, 0.1), "lambda_max": (0.8, 3), "sigma": (0, 2), "lambda_mean": (0.8, 3), "lambda": (0, 1)},
    "brain": {"alpha": (0, 0.2), "lambda_max": (0.5, 5), "sigma": (0, 4), "lambda_mean": (0.5, 5), "lambda": (0, 1)},
    "heart": {"alpha": (0, 0.6), "lambda_max": (0.8, 3), "sigma": (0, 2), "lambda_mean": (0.8, 3), "lambda": (0, 1)},
}
"""Tuning ranges of the paper by task (Table 1); those of λ are of its baselines (Sect. 4.2)."""

STEPS: dict[str, dict[str, float]] = {
    "body": {"alpha": 0.002, "lambda_max": 0.06, "lambda": 0.01},
    "brain": {"alpha": 0.004, "lambda_max": 0.1, "lambda": 0.01},
    "heart": {"alpha": 0.012, "lambda_max": 0.06, "lambda": 0.01},
}
"""Steps of the paper's dense grids, by task (Figs. 9, 10 and D.20).

For bodies the paper has that of λ alone; the other two are a fiftieth of the maximum, as for brains and hearts.
"""

_MAX_SETTINGS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Evenly spaced values of one hyperparameter, rising."""

    name: str
    values: tuple[float, ...]

    @classmethod
    def stepped(cls, name: str, low: float, high: float, step: float) -> Axis:
        """Values from `low` by `step`, up to `high` at most."""
        if not (step > 0 and low <= high):
            raise InputError(f"grid of {name}", got=f"{low:g} to {high:g} by {step:g}", expected="a rising range")
        count = int(np.floor((high - low) / step + 1e-6)) + 1
        if count > _MAX_SETTINGS:
            raise InputError(f"grid of {name}", got=f"{count} values", expected="a larger step")
        return cls(name=name, values=_rounded(low + step * np.arange(count)))

    @classmethod
    def spread(cls, name: str, low: float, high: float, count: int) -> Axis:
        """`count` values from `low` to `high`, both included."""
        if not (count >= 2 and low < high):
            raise InputError(f"grid of {name}", got=f"{count} values from {low:g} to {high:g}", expected="2 or more")
        return cls(name=name, values=_rounded(np.linspace(low, high, count)))


def grid_axes(method: MethodSpec, written: Mapping[str, str], preset: str | None, points: int) -> list[Axis]:
    """Return the axes of a sweep.

    Args:
        method: The method; the card of a model has ranges.
        written: Ranges of the user by hyperparameter: LOW:HIGH:STEP, LOW:HIGH or one value.
        preset: One of `STEPS` for the steps of the paper, over the usable ranges of the model, or for the instance
            optimization over those of the paper; None for `points` values.
        points: Number of values of an axis without step.

    Returns:
        An axis for each hyperparameter of the method. Axes of a model end at `BEYOND_TRAINING` times the maximum of its
        training. That of a HyperMorph has even steps of its λ and holds the strengths λ/(1 - λ).

    Raises:
        InputError: The method does not take a name, range or value, or there is nothing to vary.
    """
    known = open_ranges(method)
    prior = method.prior.name  # open_ranges refuses baselines, which have none
    for name in written:
        check_name(name, known, f"grid of {method.label}")
    if preset is not None:
        check_name(preset, STEPS, "preset")
    axes, mixed = [], is_hypermorph(method)
    for name, own in known.items():
        span = own if own is not None else None if preset is None else preset_ranges(preset, prior)[name]
        step = None if preset is None or prior == TotalVariationPrior.name else STEPS[preset].get(name)
        if name in written:
            axes.append(_read_axis(name, written[name], step, points))
        elif span is not None:
            span = tuple(share_of(end) for end in span) if mixed else span
            axis = Axis.spread(name, *span, points) if step is None else Axis.stepped(name, *span, step)
            axes.append(
                Axis(name=name, values=_rounded(np.array(list(map(strength_of, axis.values))))) if mixed else axis
            )
    if not axes:
        remedy = "say what to vary: --grid NAME=LOW:HIGH:STEP, or --preset"
        raise InputError(f"grid of {method.label}", got="nothing to vary", expected=", ".join(known), remedy=remedy)
    return axes


def preset_ranges(preset: str, prior: str) -> dict[str, tuple[float, float]]:
    """Return the ranges of a preset for one prior; of the sliders for the total-variation prior, not in the paper."""
    return usual_ranges(prior) if prior == TotalVariationPrior.name else RANGES[preset]


def open_ranges(method: MethodSpec) -> dict[str, tuple[float, float] | None]:
    """Return lowest and highest usable value of each hyperparameter of a method by name; None for any value.

    Raises:
        InputError: The method has no open hyperparameters.
    """
    if method.prior is None:
        raise InputError(f"method {method.label}", got="a baseline", expected="a model, or the instance solver")
    if method.path is None:
        return dict.fromkeys(HYPERPARAMETERS[method.prior.name])
    card = read_card(method.path)
    if not card.conditioning:
        expected = "a hyper model, which takes hyperparameters as input"
        raise InputError(f"model {card.name}", got="a model of one setting", expected=expected)
    return {name: usable_range(card.ranges[name]) for name in card.conditioning}


def trained_ends(method: MethodSpec) -> dict[str, float]:
    """Return the largest value of each hyperparameter in the training of a model; empty without a model."""
    ranges = {} if method.path is None else read_card(method.path).ranges
    return {name: high for name, (_, high) in ranges.items()}


def is_hypermorph(method: MethodSpec) -> bool:
    """Whether a method is a model trained with the weighting of HyperMorph."""
    return method.path is not None and read_card(method.path).weighting == HYPERMORPH_WEIGHTING


def grid(axes: Sequence[Axis]) -> list[dict[str, float]]:
    """Return every combination of the values of the axes, the last axis fastest."""
    names = [axis.name for axis in axes]
    size = int(np.prod([len(axis.values) for axis in axes]))
    if size > _MAX_SETTINGS:
        raise InputError("grid", got=f"{size} settings", expected="fewer", remedy="take larger steps")
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def _read_axis(name: str, text: str, step: float | None, points: int) -> Axis:
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1:
        return Axis(name=name, values=_rounded(np.array(parts)))
    if len(parts) == 2 and step is None:
        return Axis.spread(name, *parts, points)
    if len(parts) in (2, 3):
        return Axis.stepped(name, *parts, *([step] if len(parts) == 2 else []))
    raise InputError(f"grid of {name}", got=repr(text[:64]), expected="LOW:HIGH:STEP, LOW:HIGH or a number")


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    """Values of ten digits: 0.3 and not 0.30000000000000004, so that a resumed run finds them."""
    return tuple(float(f"{value:.10g}") for value in values)
