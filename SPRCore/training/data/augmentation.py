"""Random augmentation of a training pair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.functional import warp
from SPRCore.io.samples import Sample
from SPRCore.synthetic.scenes import smooth_motion
from SPRCore.training.config import AugmentationConfig


def augmented(
    moving: Sample, fixed: Sample, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[Sample, Sample]:
    """Augment a pair: the same flips and deformation for both images, separate intensities and noise of each channel.

    Raises:
        InputError: A pair with landmarks or displacements would be deformed.
    """
    axes = [axis for axis in config.flip if rng.random() < 0.5]
    pair = [_flipped(sample, axes) for sample in (moving, fixed)]
    if config.bend_mm:
        pair = _bent(pair, config, rng)
    first, second = (_gray(sample, config, rng) for sample in pair)
    return first, second


def _bent(pair: list[Sample], config: AugmentationConfig, rng: np.random.Generator) -> list[Sample]:
    """Deform both samples by the same random diffeomorphism."""
    if any(sample.points is not None or sample.displacements_vox is not None for sample in pair):
        got = "data with landmarks, or with a teacher"
        raise InputError("augmentation.bend_mm", got=got, expected="0", remedy="set it to 0")
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    shape, spacing, amplitude = pair[0].image.shape, pair[0].spacing_mm, config.bend_mm * rng.random()
    displacement_vox = smooth_motion(shape, spacing, config.bend_scale_mm, amplitude, generator)

    def moved(array: np.ndarray, mode: str) -> np.ndarray:
        image = torch.from_numpy(np.array(array, dtype=np.float32))[None, None]
        return warp(image, displacement_vox, mode=mode)[0, 0].numpy().astype(array.dtype)

    modes = {"image": "linear", "labels": "nearest", "second_channel": "linear"}
    return [
        replace(sample, **{name: moved(getattr(sample, name), modes[name]) for name in _maps(sample)})
        for sample in pair
    ]


def _maps(sample: Sample) -> list[str]:
    """Names of the arrays of the shape of the image."""
    return [name for name in ("image", "labels", "second_channel") if getattr(sample, name) is not None]


def _flipped(sample: Sample, axes: list[int]) -> Sample:
    if not axes:
        return sample
    points = None
    if sample.points is not None:
        points = sample.points.copy()
        points[:, axes] = np.array(sample.image.shape)[axes] - 1 - points[:, axes]
    parts = {name: np.flip(getattr(sample, name), axes) for name in _maps(sample)}
    fields = sample.displacements_vox
    if fields is not None:
        signs = np.array([-1 if axis in axes else 1 for axis in range(3)], dtype=fields.dtype)
        fields = np.flip(fields, [axis + 2 for axis in axes]) * signs.reshape(1, 3, 1, 1, 1)
    return replace(sample, **parts, points=points, displacements_vox=fields)


def _gray(sample: Sample, config: AugmentationConfig, rng: np.random.Generator) -> Sample:
    if not config.gamma and not config.noise:
        return sample
    image = _varied(sample.image, config, rng)
    second = None if sample.second_channel is None else _varied(sample.second_channel, config, rng)
    return replace(sample, image=image, second_channel=second)


def _varied(image: np.ndarray, config: AugmentationConfig, rng: np.random.Generator) -> np.ndarray:
    if config.gamma:
        image = image ** np.float32(math.exp(rng.uniform(-config.gamma, config.gamma)))
    if config.noise:
        image = image + np.float32(config.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image, 0.0, 1.0)
