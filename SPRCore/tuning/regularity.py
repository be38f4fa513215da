"""Folding and non-diffeomorphic volume of a displacement, computed only where it can fold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from SPRCore.geometry import Field, Volume
from SPRCore.metrics import folding_percent, ndv_percent
from SPRCore.metrics.jacobian import Step, negative_volume
from SPRCore.typing import Tensor, Vectors

_MAX_SPARSE = 0.3  # fraction of voxels; above it the full computation is faster
_AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))

MAX_DIFFERENCE = 0.28
r"""A displacement that changes by less than this over each edge of the grid, in voxels, has no negative determinant.

Central and one-sided differences form I + G with three columns shorter than this, so \|G\| <= 0.28 sqrt(3) < 1. The
edges of the two central tetrahedra are sums of two edges of the grid: S + E, where the least singular value of S is 1
and the rows of E are shorter than 0.56, so \|E\| <= 0.56 sqrt(3) < 1.
"""


def folding_and_ndv(displacement_vox: Vectors, mask: Volume | None = None) -> tuple[float, float] | tuple[None, None]:
    """Return `folding_percent` and `ndv_percent` of `SPRCore.metrics` over a mask, faster for smooth displacements.

    The displacement, shape (1, 3, X, Y, Z), is in voxels. None with fewer than 3 voxels along an axis.
    """
    if min(displacement_vox.shape[2:]) < 3:
        return None, None
    voxels = int(np.prod([size - 2 for size in displacement_vox.shape[2:]]))
    candidates = _candidates(displacement_vox)
    if mask is not None or len(candidates) > _MAX_SPARSE * voxels:
        field = Field.from_tensor_vox(displacement_vox, np.eye(4))
        return folding_percent(field, mask), ndv_percent(field, mask)
    if not len(candidates):
        return 0.0, 0.0
    at = _neighbors(displacement_vox[0], candidates)
    (a, b, c), (d, e, f), (g, h, i) = (at((x, y, z)) - at((-x, -y, -z)) for x, y, z in _AXES)
    folded = a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g) <= 0
    turned = negative_volume(at).sum(dtype=torch.float64)
    return 100.0 * int(folded.sum()) / voxels, 100.0 * float(turned) / voxels


def _candidates(displacement_vox: Vectors) -> Tensor:
    """Inner voxels with a possibly negative determinant, as indices into the flattened grid.

    The differences at a voxel reach its 26 neighbors and the edges between them.
    """
    marked = torch.zeros(displacement_vox.shape[2:], dtype=torch.uint8, device=displacement_vox.device)
    for axis in range(3):
        edges = torch.diff(displacement_vox[0], dim=axis + 1).square_().sum(dim=0) > MAX_DIFFERENCE**2
        size = edges.shape[axis]
        marked.narrow(axis, 0, size).bitwise_or_(edges)
        marked.narrow(axis, 1, size).bitwise_or_(edges)
    for axis, size in enumerate(marked.shape):
        once = marked.clone()
        marked.narrow(axis, 0, size - 1).bitwise_or_(once.narrow(axis, 1, size - 1))
        marked.narrow(axis, 1, size - 1).bitwise_or_(once.narrow(axis, 0, size - 1))
        marked.narrow(axis, 0, 1).zero_()
        marked.narrow(axis, size - 1, 1).zero_()
    return marked.flatten().nonzero()[:, 0]


def _neighbors(displacement_vox: Tensor, voxels: Tensor) -> Callable[[Step], Tensor]:
    """Mapped positions of the neighbors of some voxels, relative to the voxels."""
    _, _, ny, nz = displacement_vox.shape
    flat = displacement_vox.reshape(3, -1)

    def at(step: Step) -> Tensor:
        moved = flat[:, voxels + ((step[0] * ny + step[1]) * nz + step[2])]
        return moved + moved.new_tensor(step)[:, None]

    return at
