r"""Regularity of a deformation: Jacobian determinant, folding, non-diffeomorphic volume.

The determinant of the map :math:`x + u(x)` is the same in voxel and in physical coordinates, because the change of
coordinates is a conjugation; so everything is computed in voxels, whatever the spacing and the orientation. The
outermost voxel layer is left out everywhere: half of its neighbors do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume, percentiles
from SPRCore.geometry.resampling import add_mapped, shared
from SPRCore.metrics.checks import inner_mask
from SPRCore.typing import Tensor

# Slabs of about this many voxels keep the temporaries in cache and the memory flat.
_SLAB_VOXELS = 1 << 16
_DEVICE_SLAB_VOXELS = 1 << 23  # on a GPU, which needs large batches

Step = tuple[int, int, int]


def determinant_map(field: Field, device: torch.device | None = None) -> np.ndarray:
    """Jacobian determinant of x + u(x) by central differences at the inner voxels.

    Args:
        field: Pull displacement in RAS mm, at least 3 voxels along each axis.
        device: Compute device; None for the CPU.

    Returns:
        (X-2, Y-2, Z-2) float32: local volume change, 1 where volume is kept, at or below 0 where the map folds.

    Raises:
        InputError: Fewer than 3 voxels along an axis.
    """
    shape = field.array.shape[:3]
    result = torch.empty([size - 2 for size in shape])
    for start, displacement_vox in _slabs(field, device):
        columns = [_slopes(displacement_vox, axis) for axis in range(3)]
        determinant = _dot(columns[0], _cross(columns[1], columns[2]))
        result[start : start + determinant.shape[0]] = determinant.mul_(0.125)
    return result.numpy()


def folding_percent(field: Field, mask: Volume | np.ndarray | None = None) -> float:
    """Percentage of inner voxels (of the mask) where the map folds, determinant at or below 0 by central differences.

    Raises:
        InputError: Fewer than 3 voxels along an axis, or a mask of another shape or without inner voxels.
    """
    return folding_of(_masked(determinant_map(field), mask, field))


def jacobian_summary(field: Field, mask: Volume | np.ndarray | None = None) -> dict[str, float]:
    """Minimum, 1st percentile, median, 99th percentile and maximum of the determinant; arguments of folding_percent."""
    return summary_of(_masked(determinant_map(field), mask, field))


def folding_of(determinants: np.ndarray) -> float:
    """Percent of determinants at or below 0."""
    return 100.0 * float(np.count_nonzero(determinants <= 0)) / determinants.size


def summary_of(determinants: np.ndarray) -> dict[str, float]:
    """The five numbers of `jacobian_summary` from determinants of any shape."""
    low, median, high = percentiles(determinants, (1.0, 50.0, 99.0))
    return {
        "min": float(determinants.min()),
        "p01": low,
        "median": median,
        "p99": high,
        "max": float(determinants.max()),
    }


def ndv_percent(field: Field, mask: Volume | np.ndarray | None = None, device: torch.device | None = None) -> float:
    r"""Non-diffeomorphic volume: the volume of the tetrahedra that the map inverts, in percent of the voxels.

    A cube of voxel centers can be cut into five tetrahedra in two ways. Their ten signed volumes are finite-difference
    Jacobians J_i / 6: eight with forward or backward differences along each axis, and the two central ones with the
    edges p -> p - (1,1,0), p - (1,0,1), p - (0,1,1) and p -> p + (1,1,0), p + (0,1,1), p + (1,0,1). Then
    :math:`NDV = \frac{1}{N} \sum_p \sum_i \frac12 \frac16 \max(0, -J_i(p))`, over inner voxels (of the mask).

    Args:
        field: Pull displacement in RAS mm.
        mask: Voxels that count (nonzero) on the field's grid; None for all.
        device: Compute device; None for the CPU.

    Returns:
        Percent, 0 for a digital diffeomorphism; can exceed 100 for wild maps.

    Raises:
        InputError: Fewer than 3 voxels along an axis, or a mask of another shape or without inner voxels.

    References:
        Liu et al., IJCV 2024, doi:10.1007/s11263-024-02047-1.
    """
    inner = inner_mask(mask, field.array.shape[:3])
    total = 0.0
    for start, slab in _slabs(field, device):
        negative = negative_volume(partial(_shifted, _add_identity(slab)))
        if inner is not None:
            negative = negative[torch.from_numpy(inner[start : start + negative.shape[0]]).to(negative.device)]
        total += float(negative.sum(dtype=torch.float64))
    voxels = np.prod([n - 2 for n in field.array.shape[:3]]) if inner is None else np.count_nonzero(inner)
    return 100.0 * total / float(voxels)


def _masked(determinants: np.ndarray, mask: Volume | np.ndarray | None, field: Field) -> np.ndarray:
    inner = inner_mask(mask, field.array.shape[:3])
    return determinants if inner is None else determinants[inner]


def _slabs(field: Field, device: torch.device | None) -> Iterator[tuple[int, Tensor]]:
    """Slabs along X with one plane of halo on both sides: (index of the first plane, (3, x, Y, Z) in voxels)."""
    shape = field.array.shape[:3]
    if min(shape) < 3:
        raise InputError("displacement", got=f"shape {shape}", expected="at least 3 voxels along each axis")
    voxels = _SLAB_VOXELS if device is None or device.type == "cpu" else _DEVICE_SLAB_VOXELS
    to_vox, step = np.linalg.inv(field.affine), max(1, voxels // (shape[1] * shape[2]))
    for start in range(0, shape[0] - 2, step):
        part = shared(field.array[start : start + step + 2]).to(device or "cpu")
        displacement_vox = torch.zeros((3, *part.shape[:3]), device=part.device)
        add_mapped(displacement_vox, part, to_vox)
        yield start, displacement_vox


def _slopes(displacement_vox: Tensor, axis: int) -> list[Tensor]:
    """Twice the derivative of x + u(x) along an axis at all inner voxels, a tensor (x-2, Y-2, Z-2) per component."""
    ahead, behind = ([sign * (a == axis) for a in range(3)] for sign in (1, -1))
    slopes = list(_shifted(displacement_vox, ahead) - _shifted(displacement_vox, behind))
    slopes[axis].add_(2.0)
    return slopes


def _add_identity(displacement_vox: Tensor) -> Tensor:
    """Positions (3, x, Y, Z) in voxels of the slab; only differences of them matter."""
    for axis, n in enumerate(displacement_vox.shape[1:]):
        displacement_vox[axis] += torch.arange(n, device=displacement_vox.device).view(
            [-1 if a == axis else 1 for a in range(3)]
        )
    return displacement_vox


def _shifted(position: Tensor, step: Sequence[int]) -> Tensor:
    """Positions of the neighbors at `step` of all inner voxels, (3, x-2, Y-2, Z-2)."""
    return position[(slice(None), *(slice(1 + s, n - 1 + s) for s, n in zip(step, position.shape[1:], strict=True)))]


def negative_volume(at: Callable[[Step], Tensor]) -> Tensor:
    """Sum the weighted negative parts of the ten Jacobians of `ndv_percent`: the inverted volume at each voxel.

    `at` gives the mapped positions, shape (3, ...), in voxels, of the neighbors of all voxels at a step along the axes.
    """
    here = at((0, 0, 0))
    axes = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    steps = [(at((x, y, z)) - here, here - at((-x, -y, -z))) for x, y, z in axes]
    negative = torch.zeros_like(here[0])
    for along_y in steps[1]:
        for along_z in steps[2]:
            normal = _cross(along_y, along_z)
            for along_x in steps[0]:
                negative += _dot(along_x, normal).clamp_(max=0)
    for star in (((-1, -1, 0), (-1, 0, -1), (0, -1, -1)), ((1, 1, 0), (0, 1, 1), (1, 0, 1))):
        a, b, c = (at(step) - here for step in star)
        negative += _dot(a, _cross(b, c)).clamp_(max=0)
    return negative.mul_(-1.0 / 12.0)


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return torch.addcmul(torch.addcmul(a[0] * b[0], a[1], b[1]), a[2], b[2])


def _cross(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    # torch.linalg.cross along the first axis takes ten times as long.
    return [torch.addcmul(a[i] * b[j], a[j], b[i], value=-1) for i, j in ((1, 2), (2, 0), (0, 1))]
