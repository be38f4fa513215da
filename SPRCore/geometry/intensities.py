"""The range of intensities that an image really uses, whatever single voxels hold."""

from __future__ import annotations

import numpy as np

_SAMPLE = 1_000_000
_PERCENTILES = (0.5, 99.5)  # structures of a hundredth of the volume, such as a bright vessel, are none
_REACH = 4.0


def intensity_fence(values: np.ndarray) -> tuple[float, float]:
    r"""Return the bounds beyond which an intensity is an outlier: a spike, metal, a wrapped or a damaged voxel.

    .. math:: [\,p_{0.5} - 4\,(p_{99.5} - p_{0.5}),\; p_{99.5} + 4\,(p_{99.5} - p_{0.5})\,]

    Where the two percentiles agree (an image that is nearly all background), they are those of all other values. The
    reach leaves vessels, fat and hot spots in: in images without outliers nothing lies beyond.

    Args:
        values: Finite intensities, any shape, one value or more. Of large images every n-th voxel is looked at.

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
    """Return the lowest and the highest intensity that are no outliers, see `intensity_fence`.

    Args:
        values: Finite intensities, any shape, one value or more.

    Returns:
        Lowest and highest; the extremes themselves in an image without outliers.
    """
    values = np.asarray(values)
    low, high = float(values.min()), float(values.max())
    bottom, top = intensity_fence(values)
    if bottom <= low and high <= top:
        return low, high
    kept = values[(values >= bottom) & (values <= top)]
    return float(kept.min()), float(kept.max())


def within_extremes(array: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """Return an image in float32 whose outliers are set to its robust extremes.

    Args:
        array: Intensities, any shape.
        values: Those that decide what an outlier is; None for all.

    Returns:
        Same shape.
    """
    low, high = robust_extremes(array if values is None else values)
    return np.clip(array.astype(np.float32), np.float32(low), np.float32(high))
