"""How large a displacement is, and how well two displacements undo each other."""

from __future__ import annotations

import numpy as np
import torch

from SPRCore.functional import sample
from SPRCore.geometry import Field, Volume
from SPRCore.metrics.checks import grid_mask
from SPRCore.typing import Tensor

_SLAB_VOXELS = 1 << 17


def displacement_summary(field: Field, mask: Volume | np.ndarray | None = None) -> dict[str, float]:
    """Mean, 95th percentile and maximum of |u| in mm.

    Args:
        field: Pull displacement in RAS mm.
        mask: Voxels that count (nonzero) on the field's grid; None for all.

    Returns:
        {mean, p95, max} in mm.

    Raises:
        InputError: A mask of another shape, or an empty one.
    """
    length = np.sqrt(np.einsum("xyzc,xyzc->xyz", field.array, field.array))
    inside = grid_mask(mask, length.shape)
    length = length if inside is None else length[inside]
    return {
        "mean": float(length.mean(dtype=np.float64)),
        "p95": float(np.percentile(length, 95)),
        "max": float(length.max()),
    }


def inverse_consistency_mm(displacement: Field, inverse: Field) -> dict[str, float]:
    """How far a point comes back from where it started, there and back, in mm.

    The residuals |u(x) + v(x + u(x))| at the voxels of u and |v(y) + u(y + v(y))| at the voxels of v are pooled;
    points that land outside the other field's voxel centers are left out, because nothing is known there.

    Args:
        displacement: Pull displacement u fixed -> moving in RAS mm.
        inverse: Pull displacement v moving -> fixed in RAS mm, on any grid.

    Returns:
        {mean, p95} in mm; NaN if every point leaves the other grid.
    """
    residuals = np.concatenate([_residuals(displacement, inverse), _residuals(inverse, displacement)])
    if residuals.size == 0:
        return {"mean": float("nan"), "p95": float("nan")}
    return {"mean": float(residuals.mean(dtype=np.float64)), "p95": float(np.percentile(residuals, 95))}


def _residuals(first: Field, second: Field) -> np.ndarray:
    """|a(x) + b(x + a(x))| in mm at the voxels of a whose image lies inside b's grid, flat float32."""
    image = torch.from_numpy(second.array).movedim(-1, 0)[None].contiguous()
    last = torch.tensor(image.shape[2:]) - 1
    # Voxel index of a -> voxel index of b, and mm -> voxels of b.
    across = np.linalg.inv(second.affine) @ first.affine
    to_vox = torch.from_numpy(np.linalg.inv(second.affine)[:3, :3].T.astype(np.float32))
    parts = []
    for start in range(0, len(first.array), step := max(1, _SLAB_VOXELS // first.array[0, ..., 0].size)):
        there = torch.from_numpy(first.array[start : start + step])
        at = (there @ to_vox + _indices(there.shape[:3], start, across)).reshape(-1, 3)
        # Half a thousandth of a voxel forgives rounding at the outermost voxel centers.
        inside = ((at >= -5e-4) & (at <= last + 5e-4)).all(dim=1)
        dx, dy, dz = sample(image, at) + there.reshape(-1, 3).T
        parts.append((dx * dx + dy * dy + dz * dz).sqrt_()[inside].numpy())
    return np.concatenate(parts)


def _indices(shape: tuple[int, ...], start: int, matrix: np.ndarray) -> Tensor:
    """`matrix` applied to the voxel indices of a slab that begins at `start` along X, (x, Y, Z, 3) float32."""
    axes = [np.arange(n, dtype=np.float64) for n in shape]
    axes[0] += start
    x, y, z = (axis[:, None] * matrix[:3, a] for a, axis in enumerate(axes))
    plane = y[:, None, :] + z[None] + matrix[:3, 3]
    return torch.from_numpy((x[:, None, None, :] + plane).astype(np.float32))
