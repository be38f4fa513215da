"""A cylinder that turns and slips in a block at rest, with its true displacement in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.errors import InputError
from SPRCore.synthetic.phantom import Coordinates, Phantom, centered_affine, grid_coordinates, half_extent
from SPRCore.synthetic.textured import check_shift, rise, slide, textured_phantom

# Axis and radius in units of the smaller half extent across the axis; off the center, to avoid symmetry.
_CENTER, _RADIUS = (0.06, -0.09), 0.55
_LARGEST_DEGREES = 45.0


class CylinderMotion:
    """The true map T from fixed to moving: a slip along the axis, then a turn about it; the identity outside.

    Both keep the distance to the axis, and both decrease to 0 at the ends of the axis, so T is a bijection of
    the cylinder and of the block, and only the tangential component jumps at the wall between them.
    """

    def __init__(self, half: tuple[float, float, float], degrees: float, slip_mm: float) -> None:
        self.half_z, self.angle, self.slip_mm = half[2], np.deg2rad(degrees), slip_mm
        width = min(half[:2])
        self.center, self.radius = [part * width for part in _CENTER], _RADIUS * width

    def level(self, position: Coordinates) -> np.ndarray:
        """Signed distance to the wall in mm, negative in the cylinder."""
        x, y = (position[axis] - np.float32(self.center[axis]) for axis in range(2))
        return np.sqrt(x * x + y * y) - np.float32(self.radius)

    def moved(self, position: Coordinates) -> Coordinates:
        """T of the cylinder, continued outside it."""
        z = slide(position[2], self.half_z, self.slip_mm)
        angle = np.float32(self.angle) * rise(z / np.float32(self.half_z))
        x, y = (position[axis] - np.float32(self.center[axis]) for axis in range(2))
        cos, sin = np.cos(angle), np.sin(angle)
        return self.center[0] + cos * x - sin * y, self.center[1] + sin * x + cos * y, z

    def __call__(self, position: Coordinates) -> Coordinates:
        """T at RAS mm positions."""
        x, y, z = self.moved(position)
        inside = self.level(position) < 0
        return np.where(inside, x, position[0]), np.where(inside, y, position[1]), np.where(inside, z, position[2])


def sliding_cylinder(
    *,
    shape: Sequence[int] = (96, 96, 80),
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    degrees: float = 10.0,
    slip_mm: float = 6.0,
    noise: float = 0.03,
    seed: int = 0,
) -> Phantom:
    """A textured cylinder along the third axis that turns and slips in a textured block at rest.

    Labels: 1 block, 2 cylinder. Landmarks: a third each in the cylinder within 4 voxels of the wall, in the block
    within 4 voxels, and away from the wall. The images are functions of the moving position: moving(y) = M(y) and
    fixed(x) = M(x + u(x)). With the defaults the displacement jumps by up to 5.5 voxels at the wall.

    Args:
        shape: Voxels along R, A, S.
        spacing: Voxel size in mm, possibly anisotropic.
        degrees: Largest turn, in the middle of the axis; it decreases to 0 at the ends.
        slip_mm: Largest slip along the axis, in its middle, too.
        noise: Standard deviation of the Gaussian noise added to each image separately.
        seed: Seed of all random numbers.

    Returns:
        The phantom; images in [0, 1] before noise.

    Raises:
        InputError: Shape, spacing or noise out of range, a turn beyond 45 degrees, or a slip that compresses the
            cylinder to less than a quarter of its length.
    """
    affine, half = centered_affine(shape, spacing), half_extent(shape, spacing)
    if not 0 <= degrees <= _LARGEST_DEGREES:
        raise InputError("degrees of the cylinder", got=f"{degrees:g}", expected=f"0 to {_LARGEST_DEGREES:g}")
    check_shift("slip_mm of the cylinder", slip_mm, half[2])
    motion = CylinderMotion(half, degrees, slip_mm)
    here = grid_coordinates(shape, affine)
    there, level = motion(here), motion.level(here)
    # T keeps the distance to the axis, so the level of the fixed image is that of the moving one.
    return textured_phantom((there, level), (here, level), level, affine, noise=noise, seed=seed)
