"""Smooth steps, band-limited noise and signed distances, of which phantoms are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from SPRCore.synthetic.phantom import Coordinates

# The mean square of a uniform cubic B-spline is 151/315 per axis; this makes the noise have unit variance.
_UNIT_VARIANCE = (315.0 / 151.0) ** 1.5


def smooth_step(t: np.ndarray) -> np.ndarray:
    """C2 step: 0 for t <= 0, 1 for t >= 1, 6t^5 - 15t^4 + 10t^3 between (steepest slope 1.875)."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * t * (t * (6.0 * t - 15.0) + 10.0)


def soft(level: np.ndarray, width: float) -> np.ndarray:
    """Soft mask of the inside of a level function: from 1 below 0 to 0 above, over about `width` in its units."""
    return smooth_step(0.5 - level / (2.0 * width))


def paint(image: np.ndarray, mask: np.ndarray, value: np.ndarray | float) -> np.ndarray:
    """Blend `value` over `image` where the soft `mask` is 1."""
    return image + mask * (value - image)


class SplineNoise:
    """Smooth random function of space: a cubic B-spline with independent normal coefficients (unit variance, C2).

    Args:
        rng: Source of the coefficients.
        half_extent: Half of the domain along each axis in mm; outside the noise is mirrored.
        scale: Distance of the knots in mm; the noise has little power at wavelengths below twice that.
    """

    def __init__(self, rng: np.random.Generator, half_extent: Sequence[float], scale: float) -> None:
        counts = [int(np.ceil(2.0 * h / scale)) + 4 for h in half_extent]
        self._coefficients = rng.standard_normal(counts, dtype=np.float32) * np.float32(_UNIT_VARIANCE)
        self._scale = scale

    def __call__(self, position: Coordinates) -> np.ndarray:
        """Noise at RAS mm positions (three arrays of one shape) as float32."""
        from scipy.ndimage import map_coordinates

        centers = [0.5 * (n - 1) for n in self._coefficients.shape]
        index = [p / np.float32(self._scale) + np.float32(c) for p, c in zip(position, centers, strict=True)]
        return map_coordinates(self._coefficients, index, order=3, prefilter=False, mode="mirror", output=np.float32)


def signed_distance(level: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance in mm to the zero set of a level function (X, Y, Z), with its sign; infinite without a zero set.

    Voxels beside the zero set are projected on it by one Newton step along the gradient; every other voxel has the
    distance to the projection of the nearest of those: the error is a tenth of a voxel in the mean, half at most.
    """
    from scipy.ndimage import distance_transform_edt

    sign = np.where(level < 0, np.float32(-1), np.float32(1))
    seeds = _beside_zero(level)
    if not seeds.any():
        return sign * np.float32(np.inf)
    nearest = distance_transform_edt(~seeds, sampling=spacing, return_distances=False, return_indices=True)
    gradient = np.gradient(level, *spacing)
    slope = np.maximum(sum(g * g for g in gradient), np.finfo(np.float32).tiny)
    total = np.zeros(level.shape, dtype=np.float32)
    at = tuple(nearest)
    for axis, g in enumerate(gradient):
        own = np.arange(level.shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
        wall = (nearest[axis] - own) * spacing[axis] - (level * g / slope)[at]
        total += (wall * wall).astype(np.float32)
    return sign * np.sqrt(total)


def _beside_zero(level: np.ndarray) -> np.ndarray:
    """Voxels with a face neighbor on the other side of zero."""
    inside, seeds = level < 0, np.zeros(level.shape, dtype=bool)
    for axis in range(3):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        change = inside[low] != inside[high]
        seeds[low] |= change
        seeds[high] |= change
    return seeds


def grid_noise(
    shape: Sequence[int], spacing: Sequence[float], scale_mm: float, channels: int, generator: torch.Generator
) -> torch.Tensor:
    """Smooth noise (channels, X, Y, Z) of unit variance like `SplineNoise`, by one small matrix product per axis."""
    bases = [_spline_basis(n, float(s) / scale_mm) for n, s in zip(shape, spacing, strict=True)]
    counts = [basis.shape[1] for basis in bases]
    coefficients = torch.randn((channels, *counts), generator=generator) * _UNIT_VARIANCE
    return torch.einsum("cijk,xi,yj,zk->cxyz", coefficients, *bases)


def _spline_basis(samples: int, step: float) -> torch.Tensor:
    """Uniform cubic B-splines at `samples` points that are `step` knots apart, (samples, knots) float32."""
    position = (torch.arange(samples, dtype=torch.float64) * step)[:, None] + 1.0
    knots = int(np.ceil((samples - 1) * step)) + 4
    t = (position - torch.arange(knots, dtype=torch.float64)).abs()
    inner, outer = 2 / 3 - t * t + 0.5 * t**3, (2 - t).clamp(min=0) ** 3 / 6
    return torch.where(t < 1, inner, outer).float()
