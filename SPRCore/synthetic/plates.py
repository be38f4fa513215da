"""Two plates that slide on a wavy fault while both are bent, with their true displacement in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.errors import InputError
from SPRCore.synthetic.phantom import Coordinates, Phantom, centered_affine, grid_coordinates, half_extent
from SPRCore.synthetic.shapes import signed_distance
from SPRCore.synthetic.textured import check_shift, slide, textured_phantom

# The fault y = f(x) in units of the half extents: two waves, so that no two positions on it look alike.
_WAVES = ((0.22, 2.6, 0.4), (0.07, 6.1, 1.3))  # height, wave number, phase
# Directions of the bending, and the wave of each component: (x, y, z wave numbers, phase).
_BENDS = ((1.4, -1.1, 0.8, 0.3), (0.9, 1.2, -1.3, 1.9), (-1.0, 0.7, 1.5, 4.0))
# Steepest slope of the bending in units of bend over half extent: of the window 1.54 along each axis, of a wave 2.2.
_BEND_SLOPE = 3.0**0.5 * (3.0**0.5 * 1.54 + 2.2)
_LARGEST_SLOPE = 0.75


class PlateMotion:
    """The true map from fixed to moving: T = S o E.

    E is a smooth bending that is 0 at the border. S moves the two plates along the third axis in opposite directions;
    the fault y = f(x) does not change along that axis, so S maps it onto itself and T is a bijection of each plate.
    """

    def __init__(self, half: tuple[float, float, float], slip_mm: float, bend_mm: float) -> None:
        self.half, self.slip_mm, self.bend_mm = half, slip_mm, bend_mm

    def bent(self, position: Coordinates) -> Coordinates:
        """E: RAS mm -> RAS mm."""
        p = [part / np.float32(h) for part, h in zip(position, self.half, strict=True)]
        window = np.float32(self.bend_mm) * np.prod([np.clip(1 - c * c, 0, 1) ** 2 for c in p], axis=0)
        waves = [np.sin(a * p[0] + b * p[1] + c * p[2] + phase) for a, b, c, phase in _BENDS]
        x, y, z = (part + window * wave for part, wave in zip(position, waves, strict=True))
        return x, y, z

    def level(self, position: Coordinates) -> np.ndarray:
        """Height above the fault in mm, negative in the lower plate; the same before and after S."""
        x = position[0] / np.float32(self.half[0])
        fault = sum(height * np.sin(number * x + phase) for height, number, phase in _WAVES)
        return position[1] - np.float32(self.half[1]) * fault

    def __call__(self, position: Coordinates) -> tuple[Coordinates, np.ndarray]:
        """T at RAS mm positions, and the level function of the fault there."""
        x, y, z = self.bent(position)
        level = self.level((x, y, z))
        shift = 0.5 * self.slip_mm
        return (x, y, np.where(level < 0, slide(z, self.half[2], shift), slide(z, self.half[2], -shift))), level


def sliding_plates(
    *,
    shape: Sequence[int] = (96, 80, 96),
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    slip_mm: float = 10.0,
    bend_mm: float = 5.0,
    noise: float = 0.03,
    seed: int = 0,
) -> Phantom:
    """Two textured plates that slide along the third axis in opposite directions on a wavy fault, both bent.

    Labels: 1 upper plate, 2 lower plate. Landmarks: a third each in the lower plate within 4 voxels of the fault, in
    the upper plate within 4 voxels, and away from it. The images are functions of the moving position:
    moving(y) = M(y) and fixed(x) = M(x + u(x)).

    Args:
        shape: Voxels along R, A, S.
        spacing: Voxel size in mm, possibly anisotropic.
        slip_mm: Largest slip of one plate against the other, in the middle of the axis; it decreases to 0 at the ends.
        bend_mm: Largest smooth motion along each axis, across the fault without a jump.
        noise: Standard deviation of the Gaussian noise added to each image separately.
        seed: Seed of all random numbers.

    Returns:
        The phantom; images in [0, 1] before noise.

    Raises:
        InputError: Shape, spacing or noise out of range, or a slip or a bend that compresses any part to less than a
            quarter of its length.
    """
    affine, half = centered_affine(shape, spacing), half_extent(shape, spacing)
    check_shift("slip_mm of the plates", slip_mm, half[2], part=0.5)
    _check_bend(bend_mm, min(half))
    motion = PlateMotion(half, slip_mm, bend_mm)
    here = grid_coordinates(shape, affine)
    there, level = motion(here)
    moving = here, motion.level(here)
    return textured_phantom((there, level), moving, signed_distance(level, spacing), affine, noise=noise, seed=seed)


def _check_bend(bend_mm: float, half_mm: float) -> None:
    """Refuse a bend whose slope could reach 1."""
    largest = _LARGEST_SLOPE * half_mm / _BEND_SLOPE
    if not 0 <= bend_mm <= largest:
        expected = f"0 to {largest:.1f} mm for a field of view whose shortest side is {2 * half_mm:g} mm"
        raise InputError("bend_mm of the plates", got=f"{bend_mm:g} mm", expected=expected, remedy="bend it less")
