"""Size of a displacement, and inverse consistency of two displacements."""

from __future__ import annotations

import numpy as np
import torch

from SPRCore.functional import sample_lattice
from SPRCore.geometry import Field, Volume, percentiles
from SPRCore.geometry.resampling import add_mapped, lattice, shared
from SPRCore.metrics.checks import grid_mask


def displacement_summary(field: Field, mask: Volume | np.ndarray | None = None) -> dict[str, float]:
    """Mean, 95th percentile (p95) and maximum (max) of |u| in mm over a mask (nonzero) on the field's grid.

    Raises:
        InputError: A mask of another shape, or an empty one.
    """
    length = np.sqrt(np.einsum("xyzc,xyzc->xyz", field.array, field.array))
    inside = grid_mask(mask, length.shape)
    length = length if inside is None else length[inside]
    return {
        "mean": float(length.mean(dtype=np.float64)),
        "p95": percentiles(length, [95.0])[0],
        "max": float(length.max()),
    }


def inverse_consistency_mm(displacement: Field, inverse: Field, device: torch.device | None = None) -> dict[str, float]:
    """Inverse consistency error in mm of two pull displacements in RAS mm, on any grids: mean and 95th percentile, p95.

    The residuals |u(x) + v(x + u(x))| at the voxels of u and |v(y) + u(y + v(y))| at the voxels of v are pooled;
    points outside of the voxel centers of the other field are excluded. NaN if every point leaves the other grid.
    """
    residuals = np.concatenate([_residuals(displacement, inverse, device), _residuals(inverse, displacement, device)])
    if residuals.size == 0:
        return {"mean": float("nan"), "p95": float("nan")}
    return {"mean": float(residuals.mean(dtype=np.float64)), "p95": percentiles(residuals, [95.0])[0]}


def _residuals(first: Field, second: Field, device: torch.device | None) -> np.ndarray:
    """|a(x) + b(x + a(x))| in mm at the voxels of a that are mapped into b's grid, flat float32."""
    to_index = np.linalg.inv(second.affine)
    source = shared(second.array).to(device or "cpu").movedim(-1, 0)[None].contiguous()
    last = [size - 1 for size in second.grid.shape]
    parts = []
    for slab, at in lattice(first.grid.shape, to_index @ first.affine, device):
        there = shared(first.array[slab]).to(at.device)
        add_mapped(at, there, to_index)
        # Half a thousandth of a voxel forgives rounding at the outermost voxel centers.
        x, y, z = ((index >= -5e-4) & (index <= end + 5e-4) for index, end in zip(at, last, strict=True))
        dx, dy, dz = sample_lattice(source, at)[0].add_(there.movedim(-1, 0))
        length = dx.mul_(dx).addcmul_(dy, dy).addcmul_(dz, dz).sqrt_()
        parts.append(length[x.logical_and_(y).logical_and_(z)].cpu().numpy())
    return np.concatenate(parts)
