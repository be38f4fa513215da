"""Anatomy of the beating heart: organs as level functions and cine-like intensities at end-diastole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.synthetic.phantom import Coordinates
from SPRCore.synthetic.shapes import SplineNoise, paint, soft

# Reference mm at end-diastole: axis of the left ventricle, inner and outer radius, height of the base, length below
# the widest level, and the direction of the right ventricle.
AXIS_XY = (-12.0, -4.0)
RADIUS, EPI_RADIUS = 25.0, 34.0
TOP, WIDEST, _DEPTH, _EPI_DEPTH = 36.0, 8.0, 46.0, 54.0
RIGHT_ANGLE = np.deg2rad(28.0)


def cap(z: np.ndarray) -> np.ndarray:
    """Squared relative radius of the left cavity at the height z: 1 from the widest level up, towards 0 at the apex."""
    squared = 1 - (np.minimum(z - WIDEST, 0) / _DEPTH) ** 2
    return 0.5 * (squared + np.sqrt(squared * squared + 0.01))


def _bullet(r2: np.ndarray, z: np.ndarray, base: np.ndarray, radius: float, depth: float) -> np.ndarray:
    """Level in mm of a cylinder that is closed below by half an ellipsoid and cut off at the base (a level)."""
    wall = (np.sqrt(r2 / radius**2 + (np.minimum(z - WIDEST, 0) / depth) ** 2) - 1) * radius
    return np.maximum(wall, base)


def _ellipse(x: np.ndarray, y: np.ndarray, center: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Level in mm of an elliptic cylinder."""
    return (np.hypot((x - center[0]) / radii[0], (y - center[1]) / radii[1]) - 1) * min(radii)


class HeartAnatomy:
    """Image and labels as functions of the position at end-diastole in reference mm.

    Args:
        half: Half extents of the field of view in reference mm.
        voxel: In-plane voxel size in reference mm; the width of soft edges.
        seed: Source of all texture.
    """

    def __init__(self, half: Sequence[float], voxel: float, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self._edge = voxel
        self._fine, self._coarse = SplineNoise(rng, half, 7.0), SplineNoise(rng, half, 18.0)

    def render(self, position: Coordinates) -> tuple[np.ndarray, np.ndarray]:
        """Image (float32, about [0, 1]) and labels (uint8, see `beating_heart`) at reference mm positions."""
        level = _levels(*position)
        conditions = [level["left"] < 0, level["myocardium"] < 0, level["right"] < 0]
        labels = np.select(conditions, [3, 2, 1], default=0).astype(np.uint8)
        return self._image(position, level), labels

    def _image(self, position: Coordinates, level: dict[str, np.ndarray]) -> np.ndarray:
        """Cine-like intensity: lung 0.07, muscle 0.3, liver 0.4, fat 0.7, blood 0.85."""
        fine, coarse = self._fine(position), self._coarse(position)
        blood = 0.84 + 0.03 * coarse
        layers = [
            ("chest", 0.70 + 0.05 * fine),
            ("muscle", 0.30 + 0.04 * fine),
            ("lungs", 0.07 + 0.02 * fine + 0.10 * np.maximum(fine - 1.3, 0)),
            ("liver", 0.42 + 0.03 * fine),
            ("spine", 0.50 + 0.05 * fine),
            ("aorta", blood),
            ("pericardium", 0.62 + 0.04 * fine),
            ("atria", blood),
            ("free_wall", 0.33 + 0.03 * fine),
            ("right", blood),
            ("myocardium", 0.27 + 0.03 * fine),
            ("left", blood),
            ("papillary", 0.32 + 0.02 * fine),
        ]
        image = np.zeros(position[0].shape, dtype=np.float32)
        for name, value in layers:
            image = paint(image, soft(level[name], self._edge), value)
        return image.astype(np.float32)


def _levels(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    """Level functions in reference mm, negative inside."""
    dx, dy = x - AXIS_XY[0], y - AXIS_XY[1]
    r2 = dx * dx + dy * dy
    c, s = np.cos(RIGHT_ANGLE), np.sin(RIGHT_ANGLE)
    along, across = c * dx + s * dy, c * dy - s * dx
    # The plane of the valves is tilted: parallel to the slices, it would change the labels of whole slices at once.
    base = z - TOP - 0.10 * dx + 0.06 * dy
    height = np.minimum(z - 12, 0) / 44
    crescent = np.sqrt(((along - 28) / 31) ** 2 + (across / 38) ** 2 + height * height) - 1
    pericardium = (np.sqrt(((along - 14) / 62) ** 2 + (across / 49) ** 2 + (z / 66) ** 2) - 1) * 49
    above = ((z - TOP - 19) / 16) ** 2
    left_atrium = np.sqrt(r2 / 28**2 + above) - 1
    right_atrium = np.sqrt(((along - 44) / 18) ** 2 + (across / 24) ** 2 + above) - 1
    lungs = np.minimum(_ellipse(x, y, (-64, -14), (34, 58)), _ellipse(x, y, (72, -8), (30, 60)))
    liver = np.maximum(np.sqrt((x - 55) ** 2 + (y - 5) ** 2 + (z + 78) ** 2) - 62, lungs - 12)
    papillary = np.minimum(np.hypot(dx + 9, dy - 13), np.hypot(dx + 9, dy + 13)) - 4.5
    epicardium = _bullet(r2, z, base, EPI_RADIUS, _EPI_DEPTH)
    return {
        "chest": _ellipse(x, y, (0, -4), (104, 90)),
        "muscle": _ellipse(x, y, (0, -6), (96, 78)),
        "lungs": lungs,
        "liver": liver,
        "spine": _ellipse(x, y, (6, -74), (17, 15)),
        "aorta": _ellipse(x, y, (-20, -58), (10, 10)),
        "pericardium": pericardium,
        "atria": np.minimum(left_atrium, right_atrium) * 16,
        "free_wall": np.maximum(crescent * 31 - 3.5, base),
        "right": np.maximum(np.maximum(crescent * 31, base), -epicardium),
        "myocardium": epicardium,
        "left": _bullet(r2, z, base, RADIUS, _DEPTH),
        "papillary": np.maximum(papillary, np.maximum(-16 - z, z - 20)),
    }
