"""The range of intensities of an image without outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_SAMPLE = 1_000_000
_PERCENTILES = (0.5, 99.5)  # a structure of a hundredth of the volume, such as a bright vessel, is no outlier
_REACH = 4.0

_MANY = 2**18  # values: with fewer, a sample saves no time
_GUIDES = 2**15
_MARGIN = 6.0  # standard deviations of the rank of a percentile in a sample


def intensity_fence(values: np.ndarray) -> tuple[float, float]:
    r"""Return the bounds beyond which an intensity is an outlier: a spike, metal, a wrapped or a damaged voxel.

    .. math:: [\,p_{0.5} - 4\,(p_{99.5} - p_{0.5}),\; p_{99.5} + 4\,(p_{99.5} - p_{0.5})\,]

    If the two percentiles are equal (an image that is nearly all background), those of all other values are used. The
    factor of 4 keeps vessels, fat and hot spots inside.

    Args:
        values: Finite intensities, any shape, one value or more. Of large images every n-th voxel is used.

    Returns:
        Lower and upper bound.
    """
    sample = np.asarray(values).ravel()
    sample = sample[:: max(1, sample.size // _SAMPLE)].astype(np.float64)
    low, high = np.percentile(sample, _PERCENTILES)
    if low == high and (others := sample[sample != low]).size:
        ends = np.percentile(others, _PERCENTILES)
        low, high = min(low, ends[0]), max(high, ends[1])
    reach = _REACH * (high - low)
    return float(low - reach), float(high + reach)


def robust_extremes(values: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest of finite intensities that are no outliers, see `intensity_fence`."""
    values = np.asarray(values)
    low, high = float(values.min()), float(values.max())
    bottom, top = intensity_fence(values)
    if bottom <= low and high <= top:
        return low, high
    kept = values[(values >= bottom) & (values <= top)]
    return float(kept.min()), float(kept.max())


def within_extremes(array: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """Return an image in float32 clipped to the robust extremes of `values`, or of its own values if None."""
    low, high = robust_extremes(array if values is None else values)
    return np.clip(array.astype(np.float32), np.float32(low), np.float32(high))


def percentiles(values: np.ndarray, percents: Sequence[float]) -> list[float]:
    """Return percentiles (0 to 100) of values without NaN like `numpy.percentile`, faster for many values.

    A sample of every n-th value brackets each percentile, so that only the values within the bracket are sorted.
    """
    flat = np.asarray(values).ravel()
    if flat.size < _MANY:
        return [float(value) for value in np.percentile(flat.astype(np.float64), percents)]
    step = flat.size // _GUIDES
    while math.gcd(step, flat.size) > 1:  # otherwise the sample would cover some lines of the image only
        step += 1
    guides = np.sort(flat[::step])
    return [_at_rank(flat, guides, percent / 100.0 * (flat.size - 1)) for percent in percents]


def _at_rank(flat: np.ndarray, guides: np.ndarray, rank: float) -> float:
    """Return the value at a rank of the sorted values, interpolated linearly."""
    low = min(int(rank), flat.size - 2)
    middle = min(max(round(low / flat.size * (guides.size - 1)), 1), guides.size - 2)
    value = guides[middle]
    if guides[middle - 1] == value == guides[middle + 1]:  # a frequent value, such as a background
        if np.count_nonzero(flat < value) <= low and low + 1 < np.count_nonzero(flat <= value):
            return float(value)
    part, below = _bracketed(flat, guides, low)
    ends = np.partition(part, (low - below, low + 1 - below))[[low - below, low + 1 - below]]
    first, second = (float(end) for end in ends)
    return first + (second - first) * (rank - low)


def _bracketed(flat: np.ndarray, guides: np.ndarray, low: int) -> tuple[np.ndarray, int]:
    """Return the values of a range of ranks around `low`, and the number of values below them."""
    share, last = low / flat.size, guides.size - 1
    reach = _MARGIN * math.sqrt(guides.size * share * (1.0 - share)) + 8.0
    start, end = math.floor(share * last - reach), math.ceil(share * last + reach)
    over = None if start <= 0 else flat >= guides[start]
    under = None if end >= last else flat <= guides[end]
    below = 0 if over is None else flat.size - int(np.count_nonzero(over))
    kept = under if over is None else over if under is None else over & under
    part = flat if kept is None else flat[kept]
    return (part, below) if below <= low and low + 1 < below + part.size else (flat, 0)
