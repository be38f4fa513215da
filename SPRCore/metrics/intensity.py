"""Similarity of intensities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.metrics.checks import grid_mask
from SPRCore.similarity import FixedStatistics, lncc, window_radius
from SPRCore.typing import Tensor


def local_correlation(fixed: Volume, warped: Volume, mask: Volume | np.ndarray | None = None, window: int = 9) -> float:
    """Mean squared local correlation of two images on one grid, a thin call of `SPRCore.similarity.lncc`.

    Args:
        fixed: Fixed image, any intensity scale.
        warped: Moving image on the fixed grid.
        mask: Voxels that count (nonzero); None for all.
        window: Window in voxels; 9 as in the paper.

    Returns:
        Value in [0, 1], higher is more alike.

    Raises:
        InputError: Two different grids, or a mask that does not fit.
    """
    return correlation_with(fixed, mask, window)(warped)


def correlation_with(
    fixed: Volume, mask: Volume | np.ndarray | None = None, window: int = 9
) -> Callable[[Volume], float]:
    """Prepare the fixed image for several calls of `local_correlation`; arguments as there.

    Returns:
        A function of the warped image that gives its local correlation with the fixed one.
    """
    inside = grid_mask(mask, fixed.shape)
    weight = None if inside is None else torch.from_numpy(inside.astype(np.float32))[None, None]
    statistics = FixedStatistics.of(_unit_range(fixed), window_radius(window), weight)

    def correlation(warped: Volume) -> float:
        if not fixed.grid.matches(warped.grid):
            got = f"two grids, {fixed.shape} and {warped.shape} voxels"
            raise InputError("images", got=got, expected="one grid")
        with torch.no_grad():
            return float(lncc(statistics, _unit_range(warped)))

    return correlation


def _unit_range(volume: Volume) -> Tensor:
    """The image with its 0.5th and 99.5th percentile at 0 and 1: the scale for which lncc's noise floor is set."""
    low, high = np.percentile(volume.array, (0.5, 99.5))
    return (volume.to_tensor() - float(low)) / max(float(high - low), float(np.finfo(np.float32).tiny))
