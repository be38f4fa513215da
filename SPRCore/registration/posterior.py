"""Gaussian approximation of the posterior of a velocity at the solution, and samples from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F

from SPRCore.functional import mirrored_box_mean, resize, warp
from SPRCore.registration.level import LevelImages, Pausing, image_curvature
from SPRCore.registration.newton import conjugate_gradients, invert_symmetric, symmetric_product
from SPRCore.registration.pyramid import Level, make_level
from SPRCore.regularization import Prior, edge_weights, laplacian_diagonal, weighted_laplacian
from SPRCore.regularization.diffusion import TERMS
from SPRCore.typing import Scalars, Tensor, Vectors

RESOLUTION_VOX = 3.0
"""Length over which the uncertainty is that of the mean displacement, in voxels of the finest axis: a third of the
correlation window. Without a resolution the variance under a diffusion prior has no limit."""

_LEAST_RESIDUAL = 0.1  # of a neighborhood, relative to the mean of the pair
_LEAST_WEIGHT = 1e-3  # relative to the mean weight: keeps voxels without data and weight determined
_LEAST_PIVOT = 1e-6
_LATTICE = 0.2527  # variance of a difference-penalized field on a cubic lattice with unit weight and spacing


@dataclass(frozen=True, kw_only=True)
class VelocityPosterior:
    r"""Gaussian posterior of a velocity, with a factor f on the strength of its prior that is not known exactly.

    For one factor the precision is :math:`H + f L_w`: the curvature H of the data term over twice the local residual
    :math:`1 - S`, and the weighted Laplacian over twice the mean residual. The mean moves with the factor,
    :math:`\delta(f) = -(f - 1) (H + f L_w)^{-1} L_w v`, which is 0 at the factor of the solution, 1.

    Attributes:
        curvature: Upper triangle of H for each voxel, shape (1, 6, X, Y, Z), order 00 01 02 11 12 22, per mm².
        edges: Precision of the differences along each axis, from ``edge_weights``.
        velocity_mm: Velocity at the solution, in mm, shape (1, 3, X, Y, Z).
        grid: Shape and spacing of the velocity.
        refinement: Standard deviation at the resolution of the images relative to that on this grid, for each voxel.
        residual: Mean residual 1 − S of the voxels that inform.
    """

    curvature: Tensor
    edges: Sequence[Tensor]
    velocity_mm: Vectors
    grid: Level
    refinement: Scalars
    residual: float

    def sampled(self, factors: Tensor, iterations: int, tolerance: float, generator: torch.Generator) -> Vectors:
        """Draw one sample of the difference to the velocity for each factor, by perturbing and solving.

        The right-hand side is noise whose covariance is the precision; the solution has its inverse as covariance.

        Args:
            factors: Factor of the prior of each sample, shape (S,).
            iterations: Maximum number of conjugate gradient iterations.
            tolerance: As for ``conjugate_gradients``.
            generator: Random numbers, on the CPU, so that all devices draw the same.

        Returns:
            Differences in mm, shape (S, 3, X, Y, Z).
        """
        factor = factors.to(self.curvature).view(-1, 1, 1, 1, 1)
        edges = [edge * factor for edge in self.edges]
        right = _root_product(self.curvature, self._noise(len(factors), self.grid.shape, generator))
        for axis, edge in enumerate(edges):
            flux = self._noise(len(factors), edge.shape[2:], generator).mul_(edge.sqrt())
            size = edge.shape[axis + 2]
            right.narrow(axis + 2, 0, size).sub_(flux)
            right.narrow(axis + 2, 1, size).add_(flux)
        right.sub_(weighted_laplacian(self.velocity_mm, self.edges) * (factor - 1.0))
        inverse = invert_symmetric(self.curvature, laplacian_diagonal(edges, self.grid.shape))

        def apply(field: Vectors) -> Vectors:
            return weighted_laplacian(field, edges).add_(symmetric_product(self.curvature, field))

        return conjugate_gradients(apply, partial(symmetric_product, inverse), right, iterations, tolerance)

    def _noise(self, samples: int, shape: Sequence[int], generator: torch.Generator) -> Vectors:
        return torch.randn((samples, 3, *shape), generator=generator).to(self.curvature)


@torch.no_grad()
def velocity_posterior(
    images: LevelImages,
    velocity_mm: Vectors,
    displacement_vox: Vectors,
    weight: Scalars,
    prior: Prior,
    voxels: int,
    factors: Tensor,
) -> Pausing[VelocityPosterior]:
    """Return the posterior of a velocity on a grid with at most about a number of voxels.

    Args:
        images: Images of the finest level.
        velocity_mm: Velocity at the solution, in mm, shape (1, 3, x, y, z) over the same field of view.
        displacement_vox: Its integral on the level of the images, in its voxels.
        weight: Effective weight of the solution, on any grid over the field of view.
        prior: Prior, for the scale of the weight.
        voxels: Maximum number of voxels of the velocity.
        factors: Factors of the prior that will be sampled.
    """
    level = images.level
    finest, grid = (make_level(level.shape, level.spacing, step) for step in _steps(level, voxels))
    images = images.seen_at(displacement_vox)
    yield
    warped = warp(images.moving, displacement_vox)
    yield
    comparison = images.fixed.compare(warped)
    yield
    local, residual = _residuals(images, comparison.values)
    yield
    curvature = image_curvature(warped, comparison.curvature / local, level.spacing)
    yield
    # Sums over the voxels of the images that a voxel of the velocity covers.
    share = images.voxels / math.prod(grid.shape)
    curvature = F.adaptive_avg_pool3d(curvature, grid.shape).mul_(share)
    strength = resize(weight, grid.shape)
    strength = strength.clamp(min=_LEAST_WEIGHT * float(strength.mean())) * (prior.scale / TERMS * share / residual)
    return VelocityPosterior(
        curvature=curvature,
        edges=edge_weights(strength, grid.spacing),
        velocity_mm=resize(velocity_mm, grid.shape),
        grid=grid,
        refinement=_refinement(curvature, strength, grid, finest, factors),
        residual=residual,
    )


def _steps(level: Level, voxels: int) -> tuple[float, float]:
    """Return the voxel size at the resolution of the images, and that of the velocity, in mm."""
    finest = min(step for step, size in zip(level.spacing, level.shape, strict=True) if size > 1)
    step = finest = RESOLUTION_VOX * finest
    while math.prod(make_level(level.shape, level.spacing, step).shape) > voxels:
        step *= 1.05
    return finest, step


def _residuals(images: LevelImages, similarities: Scalars) -> tuple[Scalars, float]:
    """Return the residual around each voxel and its mean over all voxels that inform."""
    informs, radius = images.fixed.informs, images.fixed.radius
    residual = (1.0 - similarities) * informs
    mean = max(float(residual.sum() / informs.sum().clamp(min=1.0)), 1e-6)
    near = mirrored_box_mean(informs, radius).clamp_(min=1e-3)
    return (mirrored_box_mean(residual, radius) / near).clamp_(min=_LEAST_RESIDUAL * mean), mean


def _refinement(curvature: Tensor, strength: Scalars, grid: Level, finest: Level, factors: Tensor) -> Scalars:
    r"""Ratio of the standard deviations of a voxel on two grids, from the local precision of data and prior.

    With H and κ the precisions of a unit of volume, a voxel of size h has the variance
    :math:`(H h^3 + \kappa h / 0.2527)^{-1}`: exact without data and, on a coarse grid, without prior.
    """
    volume, fine = math.prod(grid.spacing), math.prod(finest.spacing)
    if volume <= 1.001 * fine:
        return torch.ones_like(strength)
    data, prior = curvature[:, [0, 3, 5]].mean(dim=1, keepdim=True) / volume, strength / (volume * _LATTICE)
    variances = [torch.zeros_like(strength) for _ in range(2)]
    for factor in factors.tolist():
        for total, size in zip(variances, (fine, volume), strict=True):
            total += 1.0 / (data * size + prior * (factor * size ** (1 / 3)))
    return (variances[0] / variances[1]).sqrt_()


def _root_product(matrix: Tensor, field: Vectors) -> Vectors:
    """Multiply vectors by the Cholesky factors of positive semidefinite matrices, (1, 6, X, Y, Z).

    Pivots are at least `_LEAST_PIVOT` of the trace: images with edges along one direction have singular matrices.
    """
    a, b, c, d, e, f = matrix.unbind(1)
    least = _LEAST_PIVOT * (a + d + f) + torch.finfo(matrix.dtype).tiny
    l00 = torch.maximum(a, least).sqrt()
    l10, l20 = b / l00, c / l00
    l11 = torch.maximum(d - l10.square(), least).sqrt()
    l21 = (e - l20 * l10) / l11
    l22 = torch.maximum(f - l20.square() - l21.square(), least).sqrt()
    x, y, z = field.unbind(1)
    return torch.stack([l00 * x, l10 * x + l11 * y, l20 * x + l21 * y + l22 * z], dim=1)
