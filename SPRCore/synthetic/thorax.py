"""A breathing thorax whose lungs slide along the chest wall, with its true displacement in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.errors import InputError
from SPRCore.synthetic.phantom import (
    Coordinates,
    Phantom,
    centered_affine,
    grid_coordinates,
    half_extent,
)
from SPRCore.synthetic.shapes import signed_distance, smooth_step
from SPRCore.synthetic.thorax_anatomy import HEMITHORACES, ThoraxAnatomy, taper

# Motion along the body axis in units of the half extent: full at the diaphragm, 0 at the apex and at the bottom.
_BOTTOM, _FULL_LOW, _FULL_HIGH, _APEX = -0.98, -0.50, -0.35, 0.62
_STEEPEST = 1.875 / (_FULL_LOW - _BOTTOM)
_LEAST_STRETCH = 0.25


class _ThoraxMotion:
    """The true map from expiration (fixed) to inspiration (moving): T = S o E.

    E is smooth: the heart moves down and the front of the chest forward. S moves each hemithorax along the body axis
    and nothing else; it maps the pleura onto itself, so T is a bijection of each region and only the tangential
    component jumps.
    """

    def __init__(self, half: tuple[float, float, float], amplitude_mm: float) -> None:
        self.half, self.amplitude = half, amplitude_mm

    def global_motion(self, position: Coordinates) -> Coordinates:
        """E: RAS mm -> RAS mm."""
        x, y, z = (p / h for p, h in zip(position, self.half, strict=True))
        window = (np.clip(1 - x * x, 0, 1) * np.clip(1 - y * y, 0, 1) * np.clip(1 - z * z, 0, 1)) ** 2
        down = -0.25 * self.amplitude * window * np.exp(-((x / 0.45) ** 2))
        forward = 0.2 * self.amplitude * window * smooth_step((y + 0.6) / 1.2)
        return position[0], position[1] + forward, position[2] + down

    def slide(self, position: Coordinates, side: int) -> Coordinates:
        """S of one hemithorax (+1 right, -1 left), continued smoothly outside it."""
        _, cy, _, b = HEMITHORACES[side].ellipse
        z = position[2] / self.half[2]
        rise = smooth_step((z - _BOTTOM) / (_FULL_LOW - _BOTTOM)) * smooth_step((_APEX - z) / (_APEX - _FULL_HIGH))
        # The back of the lung moves more than its front; S keeps (y - cy) / taper, so each line has a 1-D map.
        depth = np.clip((position[1] / self.half[1] - cy) / (b * np.maximum(taper(z), 0.1)), -1, 1)
        moved = z - self.amplitude / self.half[2] * rise * (0.85 - 0.15 * depth)
        ratio = np.where(rise > 0, taper(moved) / np.maximum(taper(z), 1e-3), 1.0)
        cx = HEMITHORACES[side].ellipse[0] * self.half[0]
        cy = cy * self.half[1]
        return cx + ratio * (position[0] - cx), cy + ratio * (position[1] - cy), moved * self.half[2]

    def __call__(self, position: Coordinates) -> tuple[Coordinates, np.ndarray]:
        """T at RAS mm positions, and the level function of the sliding wall there (negative inside)."""
        middle = self.global_motion(position)
        result, wall = middle, np.full(middle[0].shape, np.inf, dtype=np.float32)
        for side, thorax in HEMITHORACES.items():
            level = thorax.level(*(p / h for p, h in zip(middle, self.half, strict=True)))
            moved = self.slide(middle, side)
            result = tuple(np.where(level < 0, m, r) for m, r in zip(moved, result, strict=True))  # type: ignore[assignment]
            wall = np.minimum(wall, level)
        return result, wall


def sliding_thorax(
    *,
    shape: Sequence[int] = (96, 80, 96),
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    amplitude_mm: float = 10.0,
    noise: float = 0.01,
    seed: int = 0,
) -> Phantom:
    """A thorax at expiration (fixed) and at inspiration (moving) whose lungs and liver slide along the body wall.

    The anatomy fills the field of view, whatever its size. Labels: 1 body wall and mediastinum, 2 right lung, 3 left
    lung, 4 heart, 5 liver, 6 left upper abdomen, 7 bones. Landmarks: a third each inside the sliding organs within 4
    voxels of the wall, outside within 4 voxels, and deep in the lungs. The images are functions of the moving
    position: moving(y) = M(y) and fixed(x) = M(x + u(x)), so no tissue appears or vanishes at the wall.

    Args:
        shape: Voxels along R, A, S; the default is small enough for a test.
        spacing: Voxel size in mm, possibly anisotropic.
        amplitude_mm: Largest motion of the diaphragm, which is the largest jump at the wall; 0 gives no motion.
        noise: Standard deviation of the Gaussian noise added to each image separately.
        seed: Seed of all random numbers.

    Returns:
        The phantom; images in [0, 1] before noise.

    Raises:
        InputError: Shape, spacing or noise out of range, or an amplitude that compresses the abdomen to less than
            a quarter of its length.
    """
    affine, half = centered_affine(shape, spacing), half_extent(shape, spacing)
    _check_amplitude(amplitude_mm, half[2])
    here = grid_coordinates(shape, affine)
    there, wall = _ThoraxMotion(half, amplitude_mm)(here)
    anatomy = ThoraxAnatomy(half, max(spacing), np.random.default_rng([seed, 0]))
    displacement = np.stack([t - h for t, h in zip(there, here, strict=True)], axis=-1).astype(np.float32)
    fixed, moving = anatomy.render(there), anatomy.render(here)
    boundary = signed_distance(wall * min(half), spacing)
    indices = _landmarks(fixed[1], boundary, displacement, max(spacing), amplitude_mm, seed)
    return Phantom.assemble(fixed, moving, displacement, indices, affine, noise=noise, seed=seed, boundary=boundary)


def _check_amplitude(amplitude_mm: float, half_z: float) -> None:
    """Refuse an amplitude that compresses any part to less than a quarter of its length."""
    largest = (1 - _LEAST_STRETCH) * half_z / _STEEPEST
    if not 0 <= amplitude_mm <= largest:
        raise InputError(
            "amplitude_mm of the thorax",
            got=f"{amplitude_mm:g} mm",
            expected=f"0 to {largest:.1f} mm for a field of view of {2 * half_z:g} mm along the body",
            remedy="make the volume longer or the amplitude smaller",
        )


def _landmarks(
    labels: np.ndarray, boundary: np.ndarray, displacement: np.ndarray, voxel: float, amplitude: float, seed: int
) -> np.ndarray:
    """Voxel indices (N, 3): near the wall inside and outside beside moving lung, and deep in the lungs."""
    lung = (labels == 2) | (labels == 3)
    near = np.abs(boundary) <= 4 * voxel
    # Levels where lungs move by at least a third of the amplitude, so that the two sides of the wall differ.
    speed = np.where(lung, np.abs(displacement[..., 2]), 0).max(axis=(0, 1), keepdims=True)
    moving_level = speed >= amplitude / 3
    wall_tissue = (boundary > 0) & ((labels == 1) | (labels == 7))
    sets = (lung & near & moving_level, wall_tissue & near & moving_level, lung & ~near)
    rng = np.random.default_rng([seed, 3])
    chosen = [rng.permutation(np.argwhere(members))[:100] for members in sets]
    return np.concatenate(chosen)
