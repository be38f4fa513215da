"""A beating heart in a short-axis view, with its true displacement in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.errors import InputError
from SPRCore.synthetic.heart_anatomy import (
    AXIS_XY,
    EPI_RADIUS,
    RADIUS,
    RIGHT_ANGLE,
    TOP,
    HeartAnatomy,
    cap,
)
from SPRCore.synthetic.phantom import (
    Coordinates,
    Phantom,
    centered_affine,
    grid_coordinates,
    half_extent,
)
from SPRCore.synthetic.shapes import smooth_step

# Lengths are mm of a reference heart in a field of view of 192 x 192 x 112 mm.
_REFERENCE_HALF = (96.0, 96.0, 56.0)
_APEX, _FADE_START, _FADE_END = -46.0, 31.0, 74.0
_LARGEST_CONTRACTION = 0.45


class _HeartMotion:
    """The true map from end-systole (fixed) to end-diastole (moving) in reference mm.

    First the free wall of the right ventricle moves out along one axis; then the left ventricle lengthens,
    z -> Z(z, r), widens, r -> R(r, Z), and untwists. Each step is monotone in one coordinate with the others fixed, so
    the whole is a bijection. Where R^2 = k r^2 + c with k dZ/dz = 1, which is the wall of the left ventricle, volume is
    kept.
    """

    def __init__(self, contraction: float) -> None:
        # `contraction`: relative loss of the endocardial radius at end-systole; the rest scales with it.
        share = contraction / 0.32
        self.lengthening = 0.14 * share
        self.twist = np.deg2rad(8.0) * share
        self.free_wall = 9.0 * share
        self.kept = 1.0 / (1.0 + self.lengthening)
        self.endo = RADIUS * (1.0 - contraction)
        self.growth = RADIUS**2 - self.kept * self.endo**2

    def __call__(self, position: Coordinates) -> Coordinates:
        """Reference mm -> reference mm."""
        x, y, z = self._right(position)
        dx, dy = x - AXIS_XY[0], y - AXIS_XY[1]
        q = dx * dx + dy * dy
        near = 1 - smooth_step((q - _FADE_START**2) / (_FADE_END**2 - _FADE_START**2))
        z = z + near * self._rise(z)
        level = smooth_step((z + 55) / 12) * smooth_step((55 - z) / 15)
        ratio = self._radial_ratio(q, z, near * level)
        angle = near * level * self.twist * (2 * (z - _APEX) / (TOP - _APEX) - 1)
        c, s = np.cos(angle) * ratio, np.sin(angle) * ratio
        return AXIS_XY[0] + c * dx - s * dy, AXIS_XY[1] + s * dx + c * dy, z

    def _right(self, position: Coordinates) -> Coordinates:
        """The free wall of the right ventricle moves away from the septum."""
        x, y, z = position
        c, s = np.cos(RIGHT_ANGLE), np.sin(RIGHT_ANGLE)
        along = c * (x - AXIS_XY[0]) + s * (y - AXIS_XY[1])
        across = c * (y - AXIS_XY[1]) - s * (x - AXIS_XY[0])
        window = np.exp(-((across / 36) ** 2)) * smooth_step((z + 50) / 25) * smooth_step((56 - z) / 22)
        move = self.free_wall * window * smooth_step((along - 30) / 26) * (1 - smooth_step((along - 56) / 38))
        return x + c * move, y + s * move, z

    def _rise(self, z: np.ndarray) -> np.ndarray:
        """Displacement along z of a level of the left ventricle: linear from the apex to the base, then back to 0."""
        above_apex = 0.5 * (z - _APEX + np.sqrt((z - _APEX) ** 2 + 16.0))
        return self.lengthening * above_apex * (1 - smooth_step((z - 22) / 33)) * smooth_step((z + 56) / 10)

    def _radial_ratio(self, q: np.ndarray, z: np.ndarray, near: np.ndarray) -> np.ndarray:
        """R / r at squared radius q and height z."""
        size = cap(z)
        # (1 - exp(-q/a^2)) / q is smooth at the axis; 1 - exp(-q/a^2) is 0.96 at the endocardium.
        a2 = (self.endo / 1.8) ** 2 * size
        filled = -np.expm1(-q / a2) / np.maximum(q, 1e-6)
        return np.sqrt(1 + near * (self.growth * size * filled - (1 - self.kept)))


def beating_heart(
    *,
    shape: Sequence[int] = (128, 128, 32),
    spacing: Sequence[float] = (1.5, 1.5, 3.5),
    contraction: float = 0.32,
    noise: float = 0.02,
    seed: int = 0,
) -> Phantom:
    """A heart at end-systole (fixed) and at end-diastole (moving), cine-like, short axis along S.

    Labels: 1 right ventricle, 2 left myocardium, 3 left ventricle. The wall thickens, keeps its volume nearly, the long
    axis shortens and the ventricle twists; the free wall of the right ventricle moves towards the septum; tissue around
    the heart moves little. The images are functions of the moving position: fixed(x) = M(x + u(x)). Landmarks: up to
    100 each in the myocardium, in the two cavities and around the heart.

    Args:
        shape: Voxels along R, A, S; the heart is scaled to the field of view.
        spacing: Voxel size in mm; the default is a usual cine acquisition resampled in-plane.
        contraction: Relative shortening of the inner radius of the left ventricle; 0.32 corresponds to an ejection
            fraction of about 60 %; 0 gives no motion.
        noise: Standard deviation of the Gaussian noise added to each image separately.
        seed: Seed of all random numbers.

    Returns:
        The phantom, without a sliding boundary; images in [0, 1] before noise.

    Raises:
        InputError: Shape, spacing, noise or contraction out of range.
    """
    if not 0 <= contraction <= _LARGEST_CONTRACTION:
        raise InputError("contraction of the heart", got=f"{contraction:g}", expected=f"0 to {_LARGEST_CONTRACTION}")
    affine, half = centered_affine(shape, spacing), half_extent(shape, spacing)
    scale = np.float32(min(h / r for h, r in zip(half, _REFERENCE_HALF, strict=True)))
    x, y, z = (p / scale for p in grid_coordinates(shape, affine))
    here: Coordinates = (x, y, z)
    there = _HeartMotion(contraction)(here) if contraction else here
    anatomy = HeartAnatomy([h / float(scale) for h in half], max(spacing[:2]) / float(scale), seed)
    fixed, moving = anatomy.render(there), anatomy.render(here)
    displacement = np.stack([(t - h) * scale for t, h in zip(there, here, strict=True)], axis=-1).astype(np.float32)
    indices = _landmarks(fixed[1], here, seed)
    return Phantom.assemble(fixed, moving, displacement, indices, affine, noise=noise, seed=seed)


def _landmarks(labels: np.ndarray, position: Coordinates, seed: int) -> np.ndarray:
    """Voxel indices (N, 3) in the myocardium, in the cavities and within 1.5 radii around."""
    near = (position[0] - AXIS_XY[0]) ** 2 + (position[1] - AXIS_XY[1]) ** 2 < (1.5 * EPI_RADIUS) ** 2
    sets = (labels == 2, (labels == 1) | (labels == 3), (labels == 0) & near)
    rng = np.random.default_rng([seed, 3])
    return np.concatenate([rng.permutation(np.argwhere(members))[:100] for members in sets])
