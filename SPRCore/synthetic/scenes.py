"""Scenes: random shapes of random gray, size, texture and motion, for contrast-independent training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SPRCore.config import require
from SPRCore.functional import gaussian_smooth, integrate, resize_displacement, step_ratio, sufficient_steps, warp
from SPRCore.geometry import Field, Volume
from SPRCore.synthetic.phantom import Phantom, centered_affine, voxel_points
from SPRCore.synthetic.shapes import grid_noise
from SPRCore.typing import Scalars, Tensor, Vectors

_DETAIL = 3.0  # structures, and the motion, come in two sizes, this factor apart


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """Distribution of scenes; every pair draws its own values.

    Attributes:
        labels: Number of labels, background included.
        scale_mm: Smallest and largest size of structures and of the motion; drawn on a logarithmic scale.
        amplitude_mm: Largest of the longest displacements; drawn uniformly from 0 to this, or to half the size of the
            motion if that is less.
        same_contrast: Fraction of pairs whose images have the same gray values; the others are multi-modal.
        empty: Fraction of pairs with an empty background, as after skull stripping.
        texture: Largest contrast inside of structures, as a fraction of the range of gray.
        noise: Largest standard deviation of the noise.
    """

    labels: int = 10
    scale_mm: tuple[float, float] = (8.0, 40.0)
    amplitude_mm: float = 10.0
    same_contrast: float = 0.6
    empty: float = 0.5
    texture: float = 0.15
    noise: float = 0.05

    def __post_init__(self) -> None:
        require(2 <= self.labels <= 255, "labels", self.labels, "2 to 255")
        low, high = self.scale_mm
        require(0 < low <= high, "scale_mm", list(self.scale_mm), "two numbers above 0, the smaller first")
        require(self.amplitude_mm >= 0, "amplitude_mm", self.amplitude_mm, "0 or more")
        for name in ("same_contrast", "empty", "texture", "noise"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")


def scene(
    config: SceneConfig | None = None,
    *,
    shape: Sequence[int] = (64, 64, 64),
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    seed: int | Sequence[int] = 0,
) -> Phantom:
    """Return a pair of images of random structures with a known diffeomorphism between them.

    The label of a voxel is the largest of several noise images of two sizes, so that there are organs and details of
    them. Structures have a texture that moves with them. Each image has its own blur, shading and noise, and in a
    multi-modal pair its own gray values.

    Args:
        config: Distribution; None for the defaults.
        shape: Voxels along R, A, S, at least 8 each.
        spacing: Voxel size in mm.
        seed: Seed of all random numbers.

    Returns:
        The pair, intensities in [0, 1] before noise; landmarks are up to 100 voxel centers of structures.

    Raises:
        InputError: Shape or spacing out of range.

    References:
        After the idea of SynthMorph, Hoffmann et al., IEEE TMI 2022, doi:10.1109/TMI.2021.3116879; and of domain
        randomization, Billot et al. 2023, doi:10.1016/j.media.2023.102789. The implementation is independent.
    """
    config = config or SceneConfig()
    affine = centered_affine(shape, spacing)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    low, high = config.scale_mm
    scale, motion = (low * math.exp(rng.random() * math.log(high / low)) for _ in range(2))
    displacement_vox = smooth_motion(
        shape, spacing, motion, rng.random() * min(config.amplitude_mm, motion / 2), generator
    )
    maps, texture = _structures(config, shape, spacing, scale, rng, generator)
    gray = rng.random((2, config.labels), dtype=np.float32)
    if rng.random() < config.same_contrast:
        gray[1] = gray[0]
    if bool((maps < 0).any()):
        gray[:, 0] = 0.0
    moving_map = maps.clamp(min=0)
    fixed_map = warp(maps, displacement_vox, mode="nearest").clamp(min=0)
    sides = (fixed_map, gray[0], warp(texture, displacement_vox)), (moving_map, gray[1], texture)
    images = [_image(*side, spacing, config, rng, generator) for side in sides]
    field = Field.from_tensor_vox(displacement_vox, affine)
    indices = rng.permutation(np.argwhere(fixed_map[0, 0].numpy() > 0))[:100]
    points = voxel_points(indices, affine)
    return Phantom(
        fixed=Volume(images[0], affine),
        moving=Volume(images[1], affine),
        fixed_labels=Volume(fixed_map[0, 0].numpy().astype(np.uint8), affine),
        moving_labels=Volume(moving_map[0, 0].numpy().astype(np.uint8), affine),
        displacement=field,
        fixed_points=points,
        moving_points=points + field.array[tuple(indices.T)],
    )


def _noise(
    shape: Sequence[int], spacing: Sequence[float], scale: float, channels: int, generator: torch.Generator
) -> Tensor:
    """Noise of two sizes, the finer one weaker, shape (channels, X, Y, Z)."""
    coarse = grid_noise(shape, spacing, scale, channels, generator)
    finest = 2.0 * min(spacing)
    if scale / _DETAIL < finest:
        return coarse
    return coarse + 0.5 * grid_noise(shape, spacing, scale / _DETAIL, channels, generator)


def smooth_motion(
    shape: Sequence[int], spacing: Sequence[float], scale: float, amplitude: float, generator: torch.Generator
) -> Vectors:
    """Return a smooth random diffeomorphism in voxels, shape (1, 3, X, Y, Z), integrated at half the resolution.

    Scale and amplitude (largest speed, approximately the largest displacement) are in mm; a weaker motion of a third of
    the scale is added. It does not vanish at the border.
    """
    half = [max(8, -(-n // 2)) for n in shape]
    wide = [s * step_ratio(n, h) for n, s, h in zip(shape, spacing, half, strict=True)]
    velocity = _noise(half, wide, max(scale, 3.0 * max(wide)), 3, generator)
    longest = velocity.square().sum(dim=0).max().sqrt().clamp(min=1e-12)
    velocity_vox = (velocity * (amplitude / longest / torch.tensor(wide).view(3, 1, 1, 1)))[None].float()
    return resize_displacement(integrate(velocity_vox, steps=sufficient_steps(velocity_vox)), tuple(shape))


def _structures(
    config: SceneConfig,
    shape: Sequence[int],
    spacing: Sequence[float],
    scale: float,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[Scalars, Scalars]:
    """Label map, -1 for the empty background, and texture, both of shape (1, 1, X, Y, Z)."""
    labels = _largest(_noise(shape, spacing, scale, config.labels, generator))[None, None]
    if rng.random() < config.empty:
        extent = min(n * s for n, s in zip(shape, spacing, strict=True))
        axes = [torch.linspace(-1.0, 1.0, n) for n in shape]
        x, y, z = torch.meshgrid(*axes, indexing="ij")
        radius = 0.7 + 0.3 * rng.random()
        level = (x**2 + y**2 + z**2).sqrt() / radius - 1.0 + 0.15 * grid_noise(shape, spacing, extent / 3, 1, generator)
        labels[level[None] > 0] = -1.0
    fine = max(scale / (2.0 * _DETAIL), 2.0 * min(spacing))
    return labels, config.texture * rng.random() * grid_noise(shape, spacing, fine, 1, generator)[None]


def _largest(scores: Tensor) -> Tensor:
    """Index of the largest of several images at each voxel; five times as fast as `argmax` over the first axis."""
    best, number = scores[0].clone(), torch.zeros_like(scores[0])
    for label, score in enumerate(scores[1:], 1):
        number.masked_fill_(score > best, float(label))
        torch.maximum(best, score, out=best)
    return number


def _image(
    label_map: Scalars,
    gray: np.ndarray,
    texture: Scalars,
    spacing: Sequence[float],
    config: SceneConfig,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> np.ndarray:
    """Gray values in [0, 1], textured, blurred by up to one voxel, shaded, with their own contrast and noise."""
    values = torch.from_numpy(gray)
    tissue = values[label_map[0, 0].long()][None, None]
    image = gaussian_smooth(tissue + texture * (tissue > 0), [0.3 + 0.7 * rng.random()] * 3)
    extent = max(n * s for n, s in zip(label_map.shape[2:], spacing, strict=True))
    shade = 1 + 0.15 * rng.random() * grid_noise(label_map.shape[2:], spacing, extent / 2, 1, generator)[0].clamp(-2, 2)
    clean = (image[0, 0] * shade).clamp(0, 1) ** math.exp(rng.uniform(-0.4, 0.4))
    noise = torch.randn(clean.shape, generator=generator) * (config.noise * rng.random())
    return (clean + noise).numpy()
