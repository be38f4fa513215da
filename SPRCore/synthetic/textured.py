"""Two textured regions that slide on each other: gray values, slides along an axis and landmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.errors import InputError
from SPRCore.synthetic.phantom import Coordinates, Drawing, Phantom, half_extent
from SPRCore.synthetic.shapes import SplineNoise, paint, smooth_step, soft

# A slide is full in the middle of the axis and 0 at its ends, so that no tissue enters or leaves the field of view.
_FULL, _STILL = 0.45, 0.96
_STEEPEST = 1.875 / (_STILL - _FULL)
_LEAST_STRETCH = 0.25
_NEAR_VOXELS, _BORDER_VOXELS, _LANDMARKS = 4, 3, 100


class Texture:
    """Image and labels of two textured regions as functions of the position in the moving image (RAS mm).

    Args:
        half: Half extents of the field of view in mm.
        voxel: Largest voxel size in mm; the width of the soft edge between the regions.
        rng: Source of all texture.
    """

    def __init__(self, half: Sequence[float], voxel: float, rng: np.random.Generator) -> None:
        size = float(np.mean(half))
        self._voxel = voxel
        # Coarse bands for a search over several voxels, and detail for the exact position.
        self._fine, self._bands = SplineNoise(rng, half, size / 18), SplineNoise(rng, half, size / 6)

    def render(self, position: Coordinates, level_mm: np.ndarray) -> Drawing:
        """Image (float32, about [0, 1]) and labels (uint8: 2 where the level is negative, 1 elsewhere)."""
        texture = 0.08 * np.tanh(2.0 * self._bands(position)) + 0.10 * self._fine(position)
        image = paint(0.40 + texture, soft(level_mm, self._voxel), 0.58 + texture)
        return image.astype(np.float32), np.where(level_mm < 0, 2, 1).astype(np.uint8)


def textured_phantom(
    fixed: tuple[Coordinates, np.ndarray],
    moving: tuple[Coordinates, np.ndarray],
    boundary: np.ndarray,
    affine: np.ndarray,
    *,
    noise: float,
    seed: int,
) -> Phantom:
    """Draw two textured regions before and after a slide, with landmarks near the wall and away from it.

    Args:
        fixed: Position of each voxel of the fixed image in the moving one, RAS mm, and the level function in mm there.
        moving: Voxel centers, RAS mm, and the level function there.
        boundary: Signed distance to the wall on the fixed grid in mm.
        affine: Voxel -> RAS mm, axis-aligned.
        noise: Standard deviation of the noise of each image.
        seed: Seed of all random numbers.
    """
    spacing = np.diag(affine)[:3]
    voxel = float(spacing.max())
    texture = Texture(half_extent(boundary.shape, spacing), voxel, np.random.default_rng([seed, 0]))
    displacement = np.stack([to - here for to, here in zip(fixed[0], moving[0], strict=True)], axis=-1)
    return Phantom.assemble(
        texture.render(*fixed),
        texture.render(*moving),
        displacement.astype(np.float32),
        landmarks(boundary, voxel, seed),
        affine,
        noise=noise,
        seed=seed,
        boundary=boundary,
    )


def rise(z: np.ndarray) -> np.ndarray:
    """Fraction of the full motion at positions z in [-1, 1] along an axis: 1 in the middle, 0 at the ends, C2."""
    return smooth_step((_STILL - np.abs(z)) / (_STILL - _FULL))


def slide(z_mm: np.ndarray, half_mm: float, shift_mm: float) -> np.ndarray:
    """Move positions along an axis by up to `shift_mm`: an increasing function, so a bijection of the axis."""
    return z_mm + np.float32(shift_mm) * rise(z_mm / np.float32(half_mm))


def check_shift(name: str, shift_mm: float, half_mm: float, part: float = 1.0) -> None:
    """Refuse a slide that compresses any part to less than a quarter of its length (`InputError`).

    `half_mm` is half of the field of view along the slide, `part` the largest motion of one region for a shift of 1.
    """
    largest = (1.0 - _LEAST_STRETCH) * half_mm / (_STEEPEST * part)
    if not 0 <= shift_mm <= largest:
        expected = f"0 to {largest:.1f} mm for a field of view of {2 * half_mm:g} mm along the slide"
        remedy = "make the volume longer or the slide smaller"
        raise InputError(name, got=f"{shift_mm:g} mm", expected=expected, remedy=remedy)


def landmarks(boundary: np.ndarray, voxel: float, seed: int) -> np.ndarray:
    """Voxel indices (N, 3) on the fixed grid: up to 100 each near the wall inside, near it outside, and away from it.

    Up to 4 voxels, of the largest size in mm, count as near; none is within 3 voxels of the border.
    """
    inner = np.zeros(boundary.shape, dtype=bool)
    inner[(slice(_BORDER_VOXELS, -_BORDER_VOXELS),) * 3] = True
    near = np.abs(boundary) <= _NEAR_VOXELS * voxel
    rng = np.random.default_rng([seed, 3])
    sets = (inner & near & (boundary < 0), inner & near & (boundary >= 0), inner & ~near)
    return np.concatenate([rng.permutation(np.argwhere(members))[:_LANDMARKS] for members in sets])
