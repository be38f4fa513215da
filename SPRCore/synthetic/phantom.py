"""The type of a phantom, and the coordinates of its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume

Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]

Drawing = tuple[np.ndarray, np.ndarray]
"""An image and its labels."""


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A pair of volumes with labels, landmarks and the true displacement.

    Args:
        fixed: Fixed image, float32, about [0, 1].
        moving: Moving image, float32, about [0, 1].
        fixed_labels: Labels on the fixed grid, uint8; the function that makes the phantom lists them.
        moving_labels: Labels on the moving grid, uint8.
        displacement: True pull displacement fixed -> moving in RAS mm: moving(x + u(x)) = fixed(x).
        fixed_points: Landmarks (N, 3) in RAS mm, on voxel centers of the fixed grid, so that the true field is not
            interpolated across a sliding wall.
        moving_points: The corresponding points (N, 3) in RAS mm.
        boundary: Signed distance in mm to the sliding wall on the fixed grid, negative inside the sliding organs;
            None without sliding.
    """

    fixed: Volume
    moving: Volume
    fixed_labels: Volume
    moving_labels: Volume
    displacement: Field
    fixed_points: np.ndarray
    moving_points: np.ndarray
    boundary: Volume | None = None

    @classmethod
    def assemble(
        cls,
        fixed: Drawing,
        moving: Drawing,
        displacement: np.ndarray,
        indices: np.ndarray,
        affine: np.ndarray,
        *,
        noise: float,
        seed: int,
        boundary: np.ndarray | None = None,
    ) -> Phantom:
        """Build a phantom of drawings on one grid: add noise to the images and map the landmarks.

        Args:
            fixed: Image and labels at the displaced positions.
            moving: Image and labels at the voxel centers.
            displacement: True displacement (X, Y, Z, 3), float32, RAS mm.
            indices: Voxel indices (N, 3) of the landmarks of the fixed image.
            affine: Voxel -> RAS mm.
            noise: Standard deviation of the noise of each image.
            seed: Seed of all random numbers.
            boundary: Signed distance to the sliding wall in mm, or None.
        """
        points = voxel_points(indices, affine)
        return cls(
            fixed=Volume(add_noise(fixed[0], noise, np.random.default_rng([seed, 1])), affine),
            moving=Volume(add_noise(moving[0], noise, np.random.default_rng([seed, 2])), affine),
            fixed_labels=Volume(fixed[1], affine),
            moving_labels=Volume(moving[1], affine),
            displacement=Field(displacement, affine),
            fixed_points=points,
            moving_points=points + displacement[tuple(indices.T)],
            boundary=None if boundary is None else Volume(boundary, affine),
        )


def centered_affine(shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """Affine (4, 4) of an axis-aligned grid whose center is the origin of RAS (mm).

    Raises:
        InputError: A shape below 8 voxels or a spacing that is not positive.
    """
    if len(shape) != 3 or min(shape) < 8:
        raise InputError("phantom shape", got=str(tuple(shape)), expected="three numbers of at least 8 voxels")
    if len(spacing) != 3 or not np.all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise InputError("phantom spacing", got=str(tuple(spacing)), expected="three positive numbers in mm")
    affine = np.diag([*map(float, spacing), 1.0])
    affine[:3, 3] = -0.5 * (np.asarray(shape) - 1.0) * np.asarray(spacing, dtype=float)
    return affine


def grid_coordinates(shape: Sequence[int], affine: np.ndarray) -> Coordinates:
    """RAS mm coordinates of the voxel centers of an axis-aligned grid, float32, each of the grid's shape."""
    axes = [affine[a, 3] + affine[a, a] * np.arange(n) for a, n in enumerate(shape)]
    x, y, z = np.meshgrid(*[axis.astype(np.float32) for axis in axes], indexing="ij")
    return x, y, z


def half_extent(shape: Sequence[int], spacing: Sequence[float]) -> tuple[float, float, float]:
    """Half of the field of view along each axis in mm."""
    hx, hy, hz = (0.5 * float(n) * float(s) for n, s in zip(shape, spacing, strict=True))
    return hx, hy, hz


def voxel_points(indices: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """RAS mm (N, 3) float64 of voxel indices (N, 3)."""
    return indices @ affine[:3, :3].T + affine[:3, 3]


def add_noise(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of standard deviation `level` (image units, 0 or more); float32."""
    if level < 0:
        raise InputError("phantom noise", got=str(level), expected="a standard deviation of 0 or more")
    noise = rng.standard_normal(image.shape, dtype=np.float32) if level else np.float32(0)
    return (image + np.float32(level) * noise).astype(np.float32)
