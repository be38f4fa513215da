"""Folding and non-diffeomorphic volume of many displacements, computed only where a map can fold at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from SPRCore.geometry import Field, Volume
from SPRCore.metrics import folding_percent, ndv_percent
from SPRCore.metrics.jacobian import Step, negative_volume
from SPRCore.typing import Tensor, Vectors

_MANY = 0.3  # of all voxels: from here on it takes less time to compute all of them
_AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))

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
    voxels = int(np.prod([size - 2 for size in displacement_vox.shape[2:]]))
    places = _restless(displacement_vox)
    if mask is not None or len(places) > _MANY * voxels:
        field = Field.from_tensor_vox(displacement_vox, np.eye(4))
        return folding_percent(field, mask), ndv_percent(field, mask)
    if not len(places):
        return 0.0, 0.0
    at = _neighbors(displacement_vox[0], places)
    (a, b, c), (d, e, f), (g, h, i) = (at((x, y, z)) - at((-x, -y, -z)) for x, y, z in _AXES)
    folded = a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g) <= 0
    turned = negative_volume(at).sum(dtype=torch.float64)
    return 100.0 * int(folded.sum()) / voxels, 100.0 * float(turned) / voxels


def _restless(displacement_vox: Vectors) -> Tensor:
    """Inner voxels at which a determinant may be negative, by their place in the flattened grid.

    The differences at a voxel reach its 26 neighbors and the edges between them.
    """
    restless = torch.zeros(displacement_vox.shape[2:], dtype=torch.uint8, device=displacement_vox.device)
    for axis in range(3):
        edges = torch.diff(displacement_vox[0], dim=axis + 1).square_().sum(dim=0) > CALM**2
        size = edges.shape[axis]
        restless.narrow(axis, 0, size).bitwise_or_(edges)
        restless.narrow(axis, 1, size).bitwise_or_(edges)
    for axis, size in enumerate(restless.shape):
        once = restless.clone()
        restless.narrow(axis, 0, size - 1).bitwise_or_(once.narrow(axis, 1, size - 1))
        restless.narrow(axis, 1, size - 1).bitwise_or_(once.narrow(axis, 0, size - 1))
        restless.narrow(axis, 0, 1).zero_()
        restless.narrow(axis, size - 1, 1).zero_()
    return restless.flatten().nonzero()[:, 0]


def _neighbors(displacement_vox: Tensor, places: Tensor) -> Callable[[Step], Tensor]:
    """Mapped positions of the neighbors of some voxels, up to what all of them share."""
    _, _, ny, nz = displacement_vox.shape
    flat = displacement_vox.reshape(3, -1)

    def at(step: Step) -> Tensor:
        moved = flat[:, places + ((step[0] * ny + step[1]) * nz + step[2])]
        return moved + moved.new_tensor(step)[:, None]

    return at
