"""Random changes of a training pair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..config import AugmentationConfig
from .cases import Sample


def augmented(
    moving: Sample, fixed: Sample, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[Sample, Sample]:
    """Change a pair at random.

    Args:
        moving: Moving sample.
        fixed: Fixed sample.
        config: What may change.
        rng: Source of all that is random.

    Returns:
        The pair: flipped along the same axes, each with a gray scale and noise of its own.
    """
    axes = [axis for axis in config.flip if rng.random() < 0.5]
    first, second = (_gray(_flipped(sample, axes), config, rng) for sample in (moving, fixed))
    return first, second


def _flipped(sample: Sample, axes: list[int]) -> Sample:
    if not axes:
        return sample
    points = None
    if sample.points is not None:
        points = sample.points.copy()
        points[:, axes] = np.array(sample.image.shape)[axes] - 1 - points[:, axes]
    labels = None if sample.labels is None else np.flip(sample.labels, axes)
    return replace(sample, image=np.flip(sample.image, axes), labels=labels, points=points)


def _gray(sample: Sample, config: AugmentationConfig, rng: np.random.Generator) -> Sample:
    image = sample.image
    if config.gamma:
        image = image ** np.float32(math.exp(rng.uniform(-config.gamma, config.gamma)))
    if config.noise:
        image = image + np.float32(config.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    return sample if image is sample.image else replace(sample, image=np.clip(image, 0.0, 1.0))
