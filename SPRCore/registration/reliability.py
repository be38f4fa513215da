"""How reproducible the weight map of a pair is: with both images swapped, and with noise added to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from SPRCore.geometry import MaskedVolume, Volume, resample
from SPRCore.metrics.agreement import correlation, intraclass_correlation
from SPRCore.registration.job import RegistrationJob
from SPRCore.registration.pair import register_pair
from SPRCore.registration.result import RegistrationResult
from SPRCore.similarity.lncc import noise_variance

NOISY = 2
"""Registrations with added noise, beside the one with swapped images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightReliability:
    """Agreement of the weight maps of repeated registrations over the voxels with data.

    Attributes:
        sd: Standard deviation of the weight of each voxel over the registrations, on the fixed grid.
        registrations: Number of registrations that are compared, the one in question included.
        icc: Intraclass correlation of all maps; None if the maps are constant.
        swapped: Correlation with the map of the swapped images, carried over by the displacement; None likewise.
        noisy: Correlation with the map of each registration with noise; None likewise.
        median: Median of `sd` over the voxels with data.
        p95: 95th percentile of it.
        noise: Standard deviation of the noise added to the fixed and the moving image, in units of their intensities.
    """

    sd: Volume
    registrations: int
    icc: float | None
    swapped: float | None
    noisy: tuple[float | None, ...]
    median: float
    p95: float
    noise: tuple[float, float]

    def report(self) -> dict[str, Any]:
        """Return the entry ``metrics.after.weight.reliability`` of a report."""
        return {
            "registrations": self.registrations,
            "icc": self.icc,
            "correlation": {"swapped": self.swapped, "noise": list(self.noisy)},
            "sd": {"median": self.median, "p95": self.p95},
            "noise_sd": dict(zip(("fixed", "moving"), self.noise, strict=True)),
        }


def weight_reliability(
    pair: tuple[MaskedVolume, MaskedVolume],
    result: RegistrationResult,
    where: np.ndarray,
    job: RegistrationJob,
    *,
    seed: int = 0,
    callback: Callable[[float], None] | None = None,
) -> WeightReliability:
    """Register the pair again, swapped once and with noise `NOISY` times, and compare the weight maps.

    It takes `NOISY` + 1 times as long as the registration. The noise is that of the images themselves, so that it is
    1.4 times as large as before.

    Args:
        pair: Fixed and moving image.
        result: Their registration.
        where: Voxels with data, bool, on the fixed grid.
        job: The job of the registration.
        seed: Seed of the noise.
        callback: Called with the fraction done, 0 to 1.
    """
    fixed, moving = pair
    job = dataclasses.replace(job, uncertainty=None)
    steps = [_part(callback, index) for index in range(NOISY + 1)]
    maps = [result.weight.array, _swapped_weight(fixed, moving, result, job, steps[0])]
    noise = noise_sd(fixed), noise_sd(moving)
    random = np.random.default_rng(seed)
    for step in steps[1:]:
        images = (noisy(image, level, random) for image, level in zip(pair, noise, strict=True))
        maps.append(register_pair(*images, result.affine_ras, job, step).weight.array)
    counted = where & moving.known_on(fixed.grid, displacement=result.displacement)
    counted = counted if counted.any() else where
    sd = np.std(maps, axis=0, ddof=1, dtype=np.float64).astype(np.float32)
    first, swapped, *others = (each[counted] for each in maps)
    median, high = np.percentile(sd[counted], (50, 95))
    return WeightReliability(
        sd=result.weight.with_array(sd),
        registrations=len(maps),
        icc=intraclass_correlation(np.stack([first, swapped, *others], axis=1)),
        swapped=correlation(first, swapped),
        noisy=tuple(correlation(first, other) for other in others),
        median=float(median),
        p95=float(high),
        noise=tuple(float(np.max(level)) for level in noise),
    )


def noise_sd(image: MaskedVolume) -> list[float]:
    """Return the standard deviation of the noise of an image, and of its second channel if there is one.

    A robust estimate from second differences, see ``similarity.lncc.noise_variance``.
    """
    parts = [image.volume, *([] if image.channel is None else [image.channel])]
    return [noise_variance(part.to_tensor()) ** 0.5 for part in parts]


def noisy(image: MaskedVolume, levels: list[float], random: np.random.Generator) -> MaskedVolume:
    """Return an image with white Gaussian noise added, of a standard deviation for each channel."""
    parts = {"volume": image.volume, "channel": image.channel}
    given = {name: part for name, part in parts.items() if part is not None}
    added = {}
    for (name, part), level in zip(given.items(), levels, strict=True):
        noise = random.standard_normal(part.shape, dtype=np.float32) * np.float32(level)
        added[name] = part.with_array(part.array.astype(np.float32) + noise)
    return dataclasses.replace(image, **added)


def _swapped_weight(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    result: RegistrationResult,
    job: RegistrationJob,
    callback: Callable[[float], None] | None,
) -> np.ndarray:
    """Weight map of the swapped pair, at the points to which the displacement maps the voxels of the fixed grid."""
    affine_ras = None if result.affine_ras is None else np.linalg.inv(result.affine_ras)
    if job.stiffness is not None:
        painted = resample(job.stiffness, moving.grid, displacement=result.inverse, outside=1.0)
        job = dataclasses.replace(job, stiffness=painted)
    weight = register_pair(moving, fixed, affine_ras, job, callback).weight
    return resample(weight, fixed.grid, displacement=result.displacement, continued=True).array


def _part(callback: Callable[[float], None] | None, index: int) -> Callable[[float], None] | None:
    if callback is None:
        return None
    return lambda done: callback((index + done) / (NOISY + 1))
