"""Whether a weight map has contrast, and so tells anatomy apart. It needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Verdict = Literal["informative", "stiff", "free", "flat", "uniform"]

LEAST_RANGE = 0.1
"""Range between the 5th and the 95th percentile below which a map has no contrast. Of a stiff map at most 5 % of the
voxels are then below the weight of 0.9, above which user interfaces draw it transparent by default."""

AT_BOUND = 0.01
"""Distance from a bound within which a weight counts as at it: a mean of neighbors seldom equals the bound."""

_MOST_VALUES = 1_000_000  # of which percentiles and shares are computed

MOST_AT_BOUND_PERCENT = 75.0
"""Percentage of the voxels at a bound above which words about a map without contrast name the bound."""


@dataclass(frozen=True, kw_only=True)
class WeightContrast:
    """Distribution of the weights of a map over the voxels with data, and whether it tells anatomy apart.

    Attributes:
        verdict: "informative"; without contrast: "stiff" (at the upper bound), "free" (at 0) or "flat" (between them);
            "uniform": constant by construction, of the uniform prior.
        maximum_percent: Percentage of voxels at the upper bound of the closed form, 1, or above it.
        zero_percent: Percentage of voxels at 0.
        p05: 5th percentile of the weight.
        median: Median of the weight.
        p95: 95th percentile of the weight.
        move: Hyperparameter whose smallest change is estimated to restore contrast, with its new value; empty if the
            map has contrast or no such value is within the range of the sliders.
    """

    verdict: Verdict
    maximum_percent: float
    zero_percent: float
    p05: float
    median: float
    p95: float
    move: dict[str, float] = field(default_factory=dict)

    @property
    def is_informative(self) -> bool:
        """Whether the map tells anatomy apart."""
        return self.verdict == "informative"


def weight_contrast(weights: np.ndarray, prior: str) -> WeightContrast:
    """Summarize the weights of the voxels with data, without a painted stiffness.

    Args:
        weights: Weights w ≥ 0, at least one, of any shape.
        prior: Name of the prior.
    """
    flat = np.asarray(weights).ravel()
    flat = flat[:: max(1, flat.size // _MOST_VALUES)]
    low, middle, high = (float(value) for value in np.percentile(flat, (5, 50, 95)))
    return WeightContrast(
        verdict="uniform" if prior == "uniform" else _verdict(low, middle, high),
        maximum_percent=100.0 * float(np.mean(flat >= 1.0 - AT_BOUND)),
        zero_percent=100.0 * float(np.mean(flat <= AT_BOUND)),
        p05=low,
        median=middle,
        p95=high,
    )


def _verdict(low: float, middle: float, high: float) -> Verdict:
    if high - low >= LEAST_RANGE:
        return "informative"
    if middle >= 1.0 - LEAST_RANGE:
        return "stiff"
    return "free" if middle <= LEAST_RANGE else "flat"
