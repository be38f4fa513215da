"""Target registration error at landmarks."""

from __future__ import annotations

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.functional import sample
from SPRCore.geometry import Field, Volume, ras_to_voxel


def sample_displacement_mm(field: Field, points_mm: np.ndarray) -> np.ndarray:
    """Displacements (N, 3) at points (N, 3) in RAS mm, trilinear; beyond the outermost voxel centers the edge value."""
    if len(points_mm) == 0:
        return np.zeros((0, 3))
    image = torch.from_numpy(field.array).movedim(-1, 0)[None]
    points_vox = torch.from_numpy(ras_to_voxel(np.asarray(points_mm, dtype=np.float64), field.affine))
    return sample(image, points_vox).numpy().T.astype(np.float64)


def sample_volume(volume: Volume, points_mm: np.ndarray) -> np.ndarray:
    """Values (N,) at points (N, 3) in RAS mm, trilinear; beyond the outermost voxel centers the edge value."""
    if len(points_mm) == 0:
        return np.zeros(0)
    points_vox = torch.from_numpy(ras_to_voxel(np.asarray(points_mm, dtype=np.float64), volume.affine))
    return sample(volume.to_tensor(), points_vox).numpy()[0].astype(np.float64)


def tre_mm(fixed_points: np.ndarray, moving_points: np.ndarray, field: Field | None = None) -> np.ndarray:
    """Target registration error |p + u(p) - q| in mm of landmarks p, q (N, 3) in RAS mm; u is 0 without a field.

    Raises:
        InputError: Point lists that are not (N, 3) or differ in length.
    """
    p, q = np.asarray(fixed_points, dtype=np.float64), np.asarray(moving_points, dtype=np.float64)
    if p.shape != q.shape or p.ndim != 2 or p.shape[1] != 3:
        raise InputError(
            "landmarks",
            got=f"arrays of shape {p.shape} and {q.shape}",
            expected="two lists of equally many points (N, 3)",
            remedy="give the moving landmarks in the order of the fixed ones",
        )
    moved = p if field is None else p + sample_displacement_mm(field, p)
    return np.linalg.norm(moved - q, axis=1)


def summarize(errors_mm: np.ndarray) -> dict[str, float]:
    """Mean, median, 95th percentile and number of landmark errors; empty if there is none."""
    if len(errors_mm) == 0:
        return {}
    return {
        "mean": float(np.mean(errors_mm)),
        "median": float(np.median(errors_mm)),
        "p95": float(np.percentile(errors_mm, 95)),
        "n": len(errors_mm),
    }
