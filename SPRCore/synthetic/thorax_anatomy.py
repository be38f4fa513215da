"""Anatomy of the sliding thorax: organs as level functions and CT-like intensities of the moving position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SPRCore.synthetic.phantom import Coordinates
from SPRCore.synthetic.shapes import SplineNoise, paint, soft


def taper(z: np.ndarray) -> np.ndarray:
    """Relative width of a hemithorax at the height z (units of the half extent): 1 at the base, 0 at the apex."""
    t = np.clip((z + 0.75) / 1.6, 0, 1) ** 2
    return np.sqrt(np.maximum(1 - t * t, 0))


@dataclass(frozen=True)
class _Hemithorax:
    """The column in which one lung and the organs below it slide.

    Args:
        ellipse: Center x, center y, semi-axes a, b in units of the half extent.
        dents: (angle, depth, sharpness) of dents of the outline, angle in the ellipse's own frame (0 is +x).
    """

    ellipse: tuple[float, float, float, float]
    dents: tuple[tuple[float, float, float], ...]

    def level(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Level function of the pleura at normalized positions: negative inside, smooth, zero on the wall."""
        cx, cy, a, b = self.ellipse
        ex, ey = (x - cx) / a, (y - cy) / b
        angle, outline = np.arctan2(ey, ex), 1.0
        for direction, depth, sharpness in self.dents:
            outline = outline - depth * np.exp(sharpness * (np.cos(angle - direction) - 1))
        t = np.clip((z + 0.75) / 1.6, 0, None) ** 2
        return np.sqrt((ex * ex + ey * ey) / (outline * outline) + t * t) - 1


# +x is the patient's right: the left lung has a deeper dent for the heart.
HEMITHORACES = {
    1: _Hemithorax((0.45, -0.06, 0.345, 0.64), ((2.75, 0.24, 3.0), (-2.4, 0.14, 4.0))),
    -1: _Hemithorax((-0.46, -0.06, 0.335, 0.64), ((0.50, 0.42, 3.0), (-0.75, 0.14, 4.0))),
}


def _ellipsoid(p: Coordinates, center: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Level of an ellipsoid; a radius of infinity makes a cylinder."""
    return np.sqrt(sum(((q - c) / r) ** 2 for q, c, r in zip(p, center, radii, strict=True))) - 1


def _at(position: Coordinates, mask: np.ndarray) -> Coordinates:
    """The positions where the mask holds, so that texture is computed only where it is visible."""
    x, y, z = (p[mask] for p in position)
    return x, y, z


class ThoraxAnatomy:
    """Image and labels of the thorax as functions of the position at inspiration (RAS mm).

    Args:
        half: Half extents of the field of view in mm.
        voxel: Largest voxel size in mm; the width of soft edges.
        rng: Source of all texture.
    """

    def __init__(self, half: tuple[float, float, float], voxel: float, rng: np.random.Generator) -> None:
        self._half = half
        self._edge = voxel / min(half)
        size = float(np.mean(half))
        self._texture = SplineNoise(rng, half, size / 14)
        self._vessels = [SplineNoise(rng, half, size / 8), SplineNoise(rng, half, size / 8)]

    def _normalized(self, position: Coordinates) -> Coordinates:
        x, y, z = (p / np.float32(h) for p, h in zip(position, self._half, strict=True))
        return x, y, z

    def _levels(self, p: Coordinates) -> dict[str, np.ndarray]:
        """Level functions of the organs, about the normalized distance near their surfaces."""
        x, y, z = p
        flat = np.zeros((), dtype=np.float32)
        right, left = (HEMITHORACES[s].level(x, y, z) * 0.33 for s in (1, -1))
        column = np.minimum(right, left)
        ex, ey = (np.abs(x) - 0.42) / 0.36, (y + 0.02) / 0.66
        dome = z + 0.62 - 0.26 * np.clip(1 - ex * ex - ey * ey, 0, None) - 0.05 * (x > 0)
        cage = np.sqrt((x / 0.87) ** 2 + ((y + 0.02) / 0.81) ** 2)
        gap = 0.035 - 0.045 * (1 + np.cos(2 * np.pi * (z + 0.30 * y) / 0.27))
        ribs = np.maximum(np.abs(cage - 1) * 0.8 - 0.040, gap)
        spine = _ellipsoid((x, y, flat), (0, -0.64, 0), (0.14, 0.15, 1)) * 0.14
        disc = 0.04 - 0.08 * np.abs(np.sin(np.pi * z / 0.24))
        process = _ellipsoid((x, y, flat), (0, -0.84, 0), (0.05, 0.13, 1)) * 0.05
        canal = _ellipsoid((x, y, flat), (0, -0.80, 0), (0.06, 0.05, 1)) * 0.05
        chambers = [
            _ellipsoid(p, (-0.22, 0.20, -0.24), (0.17, 0.21, 0.22)) * 0.17,
            _ellipsoid(p, (0.04, 0.36, -0.20), (0.15, 0.17, 0.20)) * 0.15,
        ]
        aorta = np.maximum(_ellipsoid((x, y, flat), (-0.10, -0.40, 0), (0.075, 0.085, 1)) * 0.075, z - 0.45)
        arch = _ellipsoid(p, (0.02, 0.08, 0.22), (0.12, 0.13, 0.30)) * 0.12
        sternum = np.maximum(_ellipsoid((x, y, flat), (0, 0.785, 0), (0.12, 0.045, 1)) * 0.045, -0.45 - z)
        bones = np.minimum.reduce([ribs, np.maximum(spine, disc), process, sternum])
        return {
            "body": ((np.abs(x) / 0.97) ** 2.4 + (np.abs(y) / 0.95) ** 2.4) ** (1 / 2.4) - 1,
            "muscle": np.sqrt((x / 0.93) ** 2 + ((y + 0.02) / 0.88) ** 2) - 1,
            "mediastinum": np.maximum(cage - 0.93, -0.45 - z),
            "right": right,
            "left": left,
            "column": column,
            "dome": dome,
            "bones": np.maximum(np.maximum(bones, -canal), -column),
            "heart": np.maximum(_ellipsoid(p, (-0.12, 0.22, -0.20), (0.38, 0.40, 0.36)) * 0.36, -column),
            "blood": np.minimum.reduce([*chambers, aorta, arch]),
            "trachea": np.maximum(_ellipsoid((x, y, flat), (0.0, -0.18, 0), (0.06, 0.07, 1)) * 0.06, 0.12 - z),
        }

    def render(self, position: Coordinates) -> tuple[np.ndarray, np.ndarray]:
        """Image (float32, about [0, 1]) and labels (uint8, see `sliding_thorax`) at RAS mm positions."""
        p = self._normalized(position)
        level = self._levels(p)
        return self._image(position, p, level), _labels(level)

    def _image(self, position: Coordinates, p: Coordinates, level: dict[str, np.ndarray]) -> np.ndarray:
        """CT-like intensity: air 0, lung 0.15, fat 0.35, organs 0.5-0.7, bone 0.9."""
        texture = np.zeros(p[0].shape, dtype=np.float32)
        body, column = level["body"] < self._edge, level["column"] < self._edge
        texture[body] = self._texture(_at(position, body))
        slides = np.zeros(p[0].shape, dtype=np.float32)
        slides[column] = self._inside(_at(position, column), _at(p, column), level["dome"][column], texture[column])
        fat = 0.36 + 0.02 * texture
        layers = [
            ("body", fat),
            ("muscle", 0.52 + 0.03 * texture),
            ("mediastinum", fat + 0.04),
            ("heart", 0.56 + 0.02 * texture),
            ("blood", 0.70 + 0.02 * texture),
            ("trachea", 0.02),
            ("bones", 0.88 + 0.04 * texture),
            ("column", slides),
        ]
        image = np.zeros(p[0].shape, dtype=np.float32)
        for name, value in layers:
            image = paint(image, soft(level[name], self._edge), value)
        return image.astype(np.float32)

    def _inside(self, position: Coordinates, p: Coordinates, dome: np.ndarray, texture: np.ndarray) -> np.ndarray:
        """Lung above the dome with vessels that become thinner away from the hilum; liver or abdomen below it."""
        n1, n2 = (noise(position) for noise in self._vessels)
        hilum = np.sqrt(((np.abs(p[0]) - 0.18) / 0.5) ** 2 + (p[1] / 0.6) ** 2 + ((p[2] - 0.02) / 0.6) ** 2)
        width = 0.34 + 0.30 * np.exp(-((hilum / 0.6) ** 2))
        # Two smooth functions vanish together along curves: tubes around them look like vessels.
        tubes = np.exp(-(n1 * n1 + n2 * n2) / (width * width))
        lung = 0.15 + 0.035 * texture + 0.45 * tubes
        liver = 0.58 + 0.035 * texture + 0.08 * tubes
        abdomen = 0.50 + 0.05 * texture + 0.10 * np.tanh(2 * n1)
        below = np.where(p[0] > 0, liver, abdomen)
        return paint(lung, soft(dome, self._edge), below)


def _labels(level: dict[str, np.ndarray]) -> np.ndarray:
    """Labels from level functions; sliding organs first, so that the wall is where the field jumps."""
    right, left, lung = level["right"] < 0, level["left"] < 0, level["dome"] > 0
    conditions = [right & lung, left & lung, right, left, level["bones"] < 0, level["heart"] < 0, level["body"] < 0]
    return np.select(conditions, [2, 3, 5, 6, 7, 4, 1], default=0).astype(np.uint8)
