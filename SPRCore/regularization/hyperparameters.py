"""The table of the hyperparameters, by prior: names, usual ranges and defaults. It needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter of one prior.

    Attributes:
        key: Name in settings, messages, model cards, reports and on the command line.
        attribute: Name in Python and in recipes, where `key` is a keyword of the language.
        node_field: Field of the parameter node of the Slicer module.
        symbol: Symbol of the paper, in TeX.
        label: Name in figures.
        usual_range: Lowest and highest value of the sliders where no model has its own range.
        default: Value of the prior's class.
        may_be_zero: Whether 0 is allowed.
    """

    key: str
    attribute: str
    node_field: str
    symbol: str
    label: str
    usual_range: tuple[float, float]
    default: float
    may_be_zero: bool = False


def _by_key(*items: Hyperparameter) -> dict[str, Hyperparameter]:
    return {item.key: item for item in items}


_COHERENCE = "spatial coherence"

# The ranges are those of the paper's tables; the paper has none for the total variation, whose range is wide. At an
# alpha or sigma of 0 the weight is 0 wherever the field varies, so these ranges begin above 0.
HYPERPARAMETERS = {
    "beta": _by_key(
        Hyperparameter("alpha", "alpha", "alpha", r"$\alpha'$", _COHERENCE, (0.01, 0.6), 0.1, may_be_zero=True),
        Hyperparameter("lambda_max", "lambda_max", "lambdaMax", r"$\lambda_{max}$", "strength", (0.5, 5.0), 1.0),
    ),
    "gaussian": _by_key(
        Hyperparameter("sigma", "sigma", "sigma", r"$\sigma'$", _COHERENCE, (0.1, 4.0), 0.5, may_be_zero=True),
        Hyperparameter("lambda_mean", "lambda_mean", "lambdaMean", r"$\lambda_{mean}$", "strength", (0.5, 5.0), 2.0),
    ),
    "tv": _by_key(
        Hyperparameter("tv", "tv", "tv", r"$t$", "total variation", (0.02, 2.0), 0.3),
        Hyperparameter("lambda_max", "lambda_max", "tvLambdaMax", r"$\lambda_{max}$", "strength", (1.0, 100.0), 30.0),
    ),
    "uniform": _by_key(Hyperparameter("lambda", "strength", "strength", r"$\lambda$", "strength", (0.1, 10.0), 1.0)),
}
"""The hyperparameters by the name of the prior and by their key."""

BY_KEY = {item.key: item for items in HYPERPARAMETERS.values() for item in items.values()}
"""One hyperparameter for each key; those of one key differ in node field, range and default only."""

ANATOMY_SETTINGS = {
    "brain": {"alpha": 0.03, "lambda_max": 1.0},
    "heart": {"alpha": 0.1, "lambda_max": 1.0},
    "lung": {"alpha": 0.05, "lambda_max": 5.0},
    "liver": {"alpha": 0.02, "lambda_max": 20.0},
    "pelvis": {"alpha": 0.1, "lambda_max": 1.0},
}
"""Settings of the beta prior by the part of the body; docs/adr/0019-which-setting.md has the tables."""

LARGE_MOTION = frozenset({"liver", "lung"})
"""Parts of the body that move farther than the solver can follow from rest: they start from a discrete search."""


BEYOND_TRAINING = 1.2
"""Upper limit of a hyperparameter of a conditioned network, over the largest value of its training.

The best settings of the paper's brain study lie at 1.06 and 1.08 (Sect. 6.1.3), and its sweep ends at 1.1.
"""

PRIOR_WEIGHTING, HYPERMORPH_WEIGHTING = WEIGHTINGS = ("prior", "hypermorph")
"""Weighting of the terms of a training loss: similarity + prior, or HyperMorph's (1 - λ) similarity + λ smoothness."""

MOST_SHARE = 0.99
"""Largest λ of HyperMorph with a strength of the uniform prior, 99; at 1 the images have no effect."""

LEAST = 1e-6
"""Replaces 0 if a hyperparameter must be positive but a range may begin at 0."""


def above_zero(key: str, value: float) -> float:
    """Return the value of a hyperparameter, at least `LEAST` where it must be positive."""
    return value if key in BY_KEY and BY_KEY[key].may_be_zero else max(value, LEAST)


def usable_range(trained: Sequence[float]) -> tuple[float, float]:
    """Return the range in which a conditioned network may be used, from the range of its training."""
    low, high = trained
    return float(low), BEYOND_TRAINING * float(high)


def slider_range(trained: Sequence[float], weighting: str = PRIOR_WEIGHTING) -> tuple[float, float]:
    """Return the ends of the slider of a conditioned network, from the range of its training.

    The low end is above 0, at which a prior is undefined. With `HYPERMORPH_WEIGHTING` the ends are the strengths of
    shares from 0.05 to 0.95 at most.
    """
    low, high = usable_range(trained)
    low = max(low, 0.01 * high)
    if weighting == HYPERMORPH_WEIGHTING:
        low, high = max(usable_range(trained)[0], strength_of(0.05)), min(high, strength_of(0.95))
    return low, high


def strength_of(share: float) -> float:
    """Return the strength λ/(1 - λ) of the uniform prior for HyperMorph's λ, at most that of `MOST_SHARE`.

    HyperMorph weighs the similarity by 1 - λ and the regularization by λ, so that λ is the share of the regularization.
    """
    share = min(share, MOST_SHARE)
    return share / (1.0 - share)


def share_of(strength: float) -> float:
    """Return HyperMorph's λ for a strength of the uniform prior; the inverse of `strength_of`."""
    return strength / (1.0 + strength)


def usual_ranges(prior: str) -> dict[str, tuple[float, float]]:
    """Return the usual ranges of the hyperparameters of a prior, by key."""
    return {key: item.usual_range for key, item in HYPERPARAMETERS[prior].items()}


def prior_name(keys: Iterable[str], preferred: Iterable[str] = ()) -> str:
    """Return the name of the prior that has all of some hyperparameters; if none has, the first that has one of them.

    The `preferred` priors are considered before the others.
    """
    wanted, order = set(keys), dict.fromkeys([*preferred, *HYPERPARAMETERS])
    return next((name for name in order if wanted <= set(HYPERPARAMETERS[name])), None) or next(
        name for name in order if wanted & set(HYPERPARAMETERS[name])
    )


_RATIO = 4.0  # ranges with a larger ratio of the ends are divided logarithmically


def widened(ranges: Mapping[str, tuple[float, float]], setting: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return ranges extended to include the values above 0 of a setting, such as that of an anatomy preset."""
    inside = {name: setting[name] if setting.get(name, 0.0) > 0 else low for name, (low, _) in ranges.items()}
    return {name: (min(low, inside[name]), max(high, inside[name])) for name, (low, high) in ranges.items()}


def to_slider(value: float, low: float, high: float) -> float:
    """Return the position of a value on a slider, 0 at its low and 1 at its high end."""
    if _is_even_in_logarithm(low, high):
        return math.log(max(value, 1e-3 * low) / low) / math.log(high / low)
    return (value - low) / (high - low) if high > low else 0.0


def from_slider(at: float, low: float, high: float) -> float:
    """Return the value at a position of a slider; the inverse of `to_slider`."""
    return low * (high / low) ** at if _is_even_in_logarithm(low, high) else low + at * (high - low)


def _is_even_in_logarithm(low: float, high: float) -> bool:
    return low > 0 and high > _RATIO * low
