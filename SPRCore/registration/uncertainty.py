"""Uncertainty of a displacement in mm, from samples of the posterior at the solution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from SPRCore.config import require
from SPRCore.functional import integrate_quickly
from SPRCore.registration.level import LevelImages, Pausing
from SPRCore.registration.posterior import VelocityPosterior, velocity_posterior
from SPRCore.regularization import Prior
from SPRCore.typing import Scalars, Tensor, Vectors

CALIBRATION = 1.9
"""Factor of every standard deviation: 68 % of the errors in phantoms are below it (docs/results/uncertainty)."""

PRIOR_FACTOR = 3.0
"""One standard deviation of the factor by which the strength of the prior may be wrong (log-normal)."""


@dataclass(frozen=True, kw_only=True)
class UncertaintyConfig:
    """Settings of the uncertainty.

    Attributes:
        voxels: Maximum number of voxels of the grid on which samples are drawn.
        samples: Number of samples, 2 or more; 16 give each standard deviation to 13 %.
        iterations: Maximum number of conjugate gradient iterations; 40 agree with the limit to 2 %.
        tolerance: Relative residual at which they end.
        seed: Seed of the samples; the same seed gives the same map.
    """

    voxels: int = 60_000
    samples: int = 24
    iterations: int = 60
    tolerance: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("voxels", 1), ("samples", 2), ("iterations", 1)):
            value = getattr(self, name)
            require(value >= least, name, value, f"{least} or more")
        require(self.tolerance > 0, "tolerance", self.tolerance, "a number above 0")

    @classmethod
    def coarse(cls) -> UncertaintyConfig:
        """Return settings for an estimate while a user waits."""
        return cls(voxels=20_000, samples=12, iterations=40)


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Samples of the error of a displacement, on a coarse grid over the field of view of the fixed image.

    Attributes:
        samples_mm: Differences from the displacement along the axes of the grid, in mm, shape (S, 3, X, Y, Z), already
            calibrated.
        residual: Mean residual 1 − S of the images, the noise that was measured.
    """

    samples_mm: Vectors
    residual: float

    @property
    def deviation_mm(self) -> Scalars:
        """One standard deviation of the displacement in mm, shape (1, 1, X, Y, Z).

        The root mean square length of the error: the root of the trace of its covariance.
        """
        return self.samples_mm.square().sum(dim=1, keepdim=True).mean(dim=0, keepdim=True).sqrt_()


@torch.no_grad()
def displacement_uncertainty(
    images: LevelImages,
    velocity_mm: Vectors,
    displacement_vox: Vectors,
    weight: Scalars,
    prior: Prior,
    config: UncertaintyConfig | None = None,
) -> Pausing[Uncertainty]:
    r"""Estimate how far a displacement may be from the true one.

    The energy of the registration, over twice its mean residual, is minus the logarithm of a posterior, whose Gaussian
    approximation at the solution is sampled (``VelocityPosterior``). The strength of the prior is a choice, so it
    differs from sample to sample, log-normally with one standard deviation of `PRIOR_FACTOR`: the spread contains the
    effect of other settings of the same prior. Not contained: a solution in a wrong minimum of the energy.

    Args:
        images: Images of the finest level.
        velocity_mm: Velocity in mm, shape (1, 3, x, y, z), at any resolution over the field of view.
        displacement_vox: Its integral on the level of the images, in its voxels.
        weight: Effective weight, on any grid over the field of view.
        prior: Prior on the weight.
        config: Settings; the defaults if None.

    Returns:
        Samples, in a computation that can be paused.
    """
    config = config or UncertaintyConfig()
    factors = prior_factors(config.samples)
    options = {"voxels": config.voxels, "factors": factors}
    posterior = yield from velocity_posterior(images, velocity_mm, displacement_vox, weight, prior, **options)
    generator = torch.Generator().manual_seed(config.seed)
    samples = []
    for part in factors.split(4):  # so that it can be paused
        differences = posterior.sampled(part, config.iterations, config.tolerance, generator)
        yield
        samples.append(_displaced(posterior, differences))
        yield
    return Uncertainty(samples_mm=torch.cat(samples).mul_(CALIBRATION), residual=posterior.residual)


def prior_factors(samples: int) -> Tensor:
    """Return the factors of the prior at equal steps of probability, shape (samples,)."""
    steps = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
    return torch.special.ndtri(steps).mul_(math.log(PRIOR_FACTOR)).exp_().float()


def _displaced(posterior: VelocityPosterior, differences_mm: Vectors) -> Vectors:
    """Return the changes of the displacement in mm by changes of the velocity, at the resolution of the images."""
    spacing = differences_mm.new_tensor(posterior.grid.spacing).view(1, 3, 1, 1, 1)
    at_solution = integrate_quickly(posterior.velocity_mm / spacing)
    changed = [
        integrate_quickly((posterior.velocity_mm + change) / spacing).sub_(at_solution).mul_(spacing)
        for change in differences_mm.split(1)
    ]
    return torch.cat(changed).mul_(posterior.refinement)


def on_shape(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Resample values on a coarse grid linearly on another one over the same field of view."""
    return F.interpolate(values, size=shape, mode="trilinear", align_corners=True)
