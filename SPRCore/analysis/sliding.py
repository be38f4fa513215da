"""Accuracy of registrations at a sliding wall: errors near it and away from it, and the displacement across it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SPRCore.geometry import Field, Volume, voxel_to_ras
from SPRCore.synthetic import Phantom

NEAR_VOXELS = 4
"""Up to this distance from the wall, in voxels of the finest axis, a voxel counts as near."""

_REACH_MM = 30.0  # shown on each side of the wall in a profile
_LUNG_LABELS = (2, 3)


@dataclass(frozen=True, kw_only=True)
class ComparedResult:
    """One registration of a phantom, for comparison.

    Args:
        name: Name in tables and figures.
        displacement: Displacement on the fixed grid, RAS mm.
        weight: Weight map, on the fixed grid.
        strength: Stiffness of a voxel of weight 1 (lambda_max, or lambda).
        seconds: Time to register.
    """

    name: str
    displacement: Field
    weight: Volume
    strength: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class WallProfile:
    """Displacement along the body axis on a straight line across the sliding wall.

    Args:
        index: Last voxel of the fixed grid inside the wall, (x, y, z); the line runs along x through it.
        outward: +1 or -1: the direction along x that leaves the sliding organ.
        voxels: Indices along x of the points of the line.
        distance_mm: Their distance to the wall in mm, negative inside the organ.
    """

    index: tuple[int, int, int]
    outward: int
    voxels: np.ndarray
    distance_mm: np.ndarray

    def along(self, field: Field) -> np.ndarray:
        """Return the displacement toward the head in mm at the points of the line."""
        return field.array[self.voxels, self.index[1], self.index[2], 2]


def error_map(phantom: Phantom, displacement: Field | None) -> np.ndarray:
    """Length of the error of a displacement (RAS mm; None for no displacement) in mm, shape (X, Y, Z)."""
    truth = phantom.displacement.array
    return np.linalg.norm(truth if displacement is None else displacement.array - truth, axis=-1)


def wall_errors(phantom: Phantom, displacement: Field | None) -> dict[str, float]:
    """Mean error in mm of a displacement over the body, `near` the sliding wall (`NEAR_VOXELS`) and `away` from it."""
    assert phantom.boundary is not None
    error, body = error_map(phantom, displacement), phantom.fixed_labels.array > 0
    near = np.abs(phantom.boundary.array) <= NEAR_VOXELS * min(phantom.fixed.spacing)
    return {"near": float(error[body & near].mean()), "away": float(error[body & ~near].mean())}


def wall_profile(phantom: Phantom) -> WallProfile:
    """Return the line across the wall with the largest jump of the true displacement, for lungs as in `sliding_thorax`.

    It runs along the first axis of the grid, up to the next wall.
    """
    assert phantom.boundary is not None
    motion, wall = phantom.displacement.array[..., 2], phantom.boundary.array
    lung = np.isin(phantom.fixed_labels.array, _LUNG_LABELS)
    jumps = np.zeros(motion.shape, dtype=np.float32)
    # Inside at x, outside at the next voxel to either side.
    forward = lung[:-1] & (wall[1:] > 0)
    backward = lung[1:] & (wall[:-1] > 0)
    difference = np.abs(np.diff(motion, axis=0))
    jumps[:-1] = np.where(forward, difference, 0)
    jumps[1:] = np.maximum(jumps[1:], np.where(backward, difference, 0))
    x, y, z = (int(i) for i in np.unravel_index(np.argmax(_steady(jumps)), jumps.shape))
    outward = 1 if x + 1 < motion.shape[0] and wall[x + 1, y, z] > 0 else -1
    spacing = phantom.fixed.spacing[0]
    reach = int(_REACH_MM / spacing)
    voxels = np.arange(max(x - reach, 0), min(x + reach, motion.shape[0] - 1) + 1)
    # The wall is between the voxel inside and its neighbor outside.
    return WallProfile(
        index=(x, y, z), outward=outward, voxels=voxels, distance_mm=((voxels - x) * outward - 0.5) * spacing
    )


def plane_point_mm(phantom: Phantom, profile: WallProfile) -> np.ndarray:
    """Return the point of a profile at the wall in RAS mm."""
    return voxel_to_ras(np.array(profile.index, dtype=float), phantom.fixed.affine)


def _steady(jumps: np.ndarray) -> np.ndarray:
    """Average over neighboring lines, so that the line is representative of its surroundings."""
    from scipy.ndimage import uniform_filter

    return np.where(jumps > 0, uniform_filter(jumps, size=(1, 5, 5)), 0)
