r"""The smallest change of one hyperparameter that is estimated to restore contrast to a weight map.

The closed form gives the map of another setting for the present velocity, without another registration. That is
accurate for the hyperparameter on which the velocity does not depend. Where all weights are at the upper bound the
stiffness is the strength (:math:`\lambda_{max}`, :math:`\lambda_{mean}`) everywhere, so the velocity does not depend on
the coherence (:math:`\alpha'`, :math:`\sigma'`, t): less of it frees the voxels of the largest gradients, whose
gradient then grows, so that the map gets more contrast than estimated. A change of the strength is followed by the
velocity there: on a heart, :math:`\lambda_{max}` 0.6 to 20 left every weight at the bound, where the closed form of the
velocity at hand gave a 5th percentile of 0.53. Where all weights are near 0 the stiffness of the beta and
total-variation priors, :math:`\alpha'/s` and :math:`t/(2 \sqrt{s})`, does not depend on the strength.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from SPRCore.regularization.contrast import WeightContrast, weight_contrast
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS, from_slider, to_slider
from SPRCore.regularization.most_probable import effective_weight
from SPRCore.regularization.priors import Prior, hyperparameters, with_hyperparameters
from SPRCore.typing import Scalars, Tensor

TARGET_RANGE = 0.15
"""Range between the percentiles that a change has to reach by the estimate; the limit, 0.1, and a margin."""

_STEPS = 12  # along a slider, before the bisection
_BISECTIONS = 6

_DIGITS = 2  # of a value in words


def predicted_contrast(pooled: Scalars, prior: Prior, pool: Sequence[int], where: Tensor) -> WeightContrast:
    """Return the contrast of the most probable weight for a squared gradient.

    Args:
        pooled: Squared gradient of the velocity, averaged over the neighborhood that shares a weight
            (`most_probable.free_weight`), shape (1, 1, X, Y, Z).
        prior: The prior on the weight.
        pool: Half width in voxels of that neighborhood.
        where: Voxels with data, bool, same shape.
    """
    return weight_contrast(effective_weight(prior.map_weight(pooled), pool)[where].cpu().numpy(), prior.name)


def with_move(
    contrast: WeightContrast,
    pooled: Scalars,
    prior: Prior,
    pool: Sequence[int],
    where: Tensor,
    ranges: Mapping[str, tuple[float, float]],
) -> WeightContrast:
    """Add the smallest move of a slider that is estimated to restore contrast to a map that has none.

    Args:
        contrast: Contrast of the map.
        pooled: As for `predicted_contrast`, of the velocity of the map.
        prior: The prior of the map.
        pool: As for `predicted_contrast`.
        where: As for `predicted_contrast`.
        ranges: Lowest and highest value of each hyperparameter that has a slider.
    """
    if contrast.verdict in ("informative", "uniform") or predicted_contrast(pooled, prior, pool, where).is_informative:
        return contrast  # a network whose map is far from the closed form cannot be predicted by it
    setting = hyperparameters(prior)
    for name, end in _candidates(contrast, prior, ranges):

        def suffices(value: float, name: str = name) -> bool:
            changed = with_hyperparameters(prior, {name: value})
            return _has_contrast(predicted_contrast(pooled, changed, pool, where))

        value = _nearest(setting[name], end, ranges[name], suffices)
        if value is not None:
            return dataclasses.replace(contrast, move={name: value})
    return contrast


def _candidates(
    contrast: WeightContrast, prior: Prior, ranges: Mapping[str, tuple[float, float]]
) -> list[tuple[str, float]]:
    """Hyperparameters and the end of their slider to move to, in the order in which they are tried."""
    coherence, strength = HYPERPARAMETERS[prior.name]
    order = ((strength, 0), (coherence, 1)) if contrast.verdict == "free" else ((coherence, 0),)
    return [(name, ranges[name][end]) for name, end in order if name in ranges]


def _has_contrast(contrast: WeightContrast) -> bool:
    return contrast.p95 - contrast.p05 >= TARGET_RANGE


def _nearest(value: float, end: float, ends: tuple[float, float], suffices: Callable[[float], bool]) -> float | None:
    """Return the value nearest to the present one, toward an end of the slider, that suffices; None for none."""
    begin, stop = to_slider(value, *ends), to_slider(end, *ends)
    low = begin
    for step in range(1, _STEPS + 1):
        high = begin + (stop - begin) * step / _STEPS
        if suffices(from_slider(high, *ends)):
            break
        low = high
    else:
        return None
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if suffices(from_slider(middle, *ends)) else (middle, high)
    return _rounded(from_slider(high, *ends), upward=stop > begin, ends=ends)


def _rounded(value: float, upward: bool, ends: tuple[float, float]) -> float:
    """Round to two digits, away from the present value, within the range."""
    nearest = float(f"{value:.{_DIGITS}g}")
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    if (nearest < value) if upward else (nearest > value):
        nearest = float(f"{nearest + (unit if upward else -unit):.{_DIGITS}g}")
    return min(max(nearest, ends[0]), ends[1])
