"""Folding and non-diffeomorphic volume of many displacements, computed only where a map can fold at all."""

from __future__ import annotations

import numpy as np
import torch

from SPRCore.geometry import Field, Volume
from SPRCore.metrics import folding_percent, ndv_percent
from SPRCore.typing import Vectors

CALM = 0.28
r"""A displacement that changes by less than this over each edge of the grid, in voxels, has no negative determinant.

Central and one-sided differences form I + G with three columns shorter than this, so \|G\| <= 0.28 sqrt(3) < 1. The
edges of the two central tetrahedra are sums of two edges of the grid: S + E, where the least singular value of S is 1
and the rows of E are shorter than 0.56, so \|E\| <= 0.56 sqrt(3) < 1.
"""


def folding_and_ndv(displacement_vox: Vectors, mask: Volume | None = None) -> tuple[float, float] | tuple[None, None]:
    """Return what `folding_percent` and `ndv_percent` of `SPRCore.metrics` give, sooner where most of a map is calm.

    Args:
        displacement_vox: Pull map, shape (1, 3, X, Y, Z), in voxels.
        mask: Voxels that count, or None for all.

    Returns:
        Both in percent of the inner voxels (of the mask); None with fewer than 3 voxels along an axis.
    """
    if min(displacement_vox.shape[2:]) < 3:
        return None, None
    if mask is not None:
        field = Field.from_tensor_vox(displacement_vox, np.eye(4))
        return folding_percent(field, mask), ndv_percent(field, mask)
    box = _restless_box(displacement_vox)
    if box is None:
        return 0.0, 0.0
    part = Field.from_tensor_vox(displacement_vox[(..., *box)], np.eye(4))
    share = _inner(part.array.shape[:3]) / _inner(displacement_vox.shape[2:])
    return folding_percent(part) * share, ndv_percent(part) * share


def _restless_box(displacement_vox: Vectors) -> tuple[slice, slice, slice] | None:
    """A box that holds every voxel whose determinants may be negative, as inner ones; None without any.

    The differences at a voxel reach its 26 neighbors and the edges between them.
    """
    restless = torch.zeros(displacement_vox.shape[2:], dtype=torch.bool, device=displacement_vox.device)
    for axis in range(3):
        edges = torch.diff(displacement_vox[0], dim=axis + 1)
        hot = edges.square_().sum(dim=0) > CALM**2
        size = hot.shape[axis]
        restless.narrow(axis, 0, size).logical_or_(hot)
        restless.narrow(axis, 1, size).logical_or_(hot)
    if not bool(restless.any()):
        return None
    x, y, z = (_extent(restless.movedim(axis, 0).flatten(1).any(dim=1)) for axis in range(3))
    return x, y, z


def _extent(taken: torch.Tensor) -> slice:
    """The range of what is set, two further on both sides."""
    places = torch.nonzero(taken)
    return slice(max(0, int(places[0]) - 2), int(places[-1]) + 3)


def _inner(shape: tuple[int, ...]) -> int:
    return int(np.prod([size - 2 for size in shape]))
