"""The energy of a velocity field on one resolution level, its gradient and its Gauss–Newton model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch.nn import functional as F

from SPRCore.functional import box_mean, gradient, integrate, resize_displacement, sufficient_steps, warp
from SPRCore.registration.newton import NewtonSystem, outer_product
from SPRCore.registration.pyramid import Level
from SPRCore.regularization import Prior, edge_weights, squared_gradient, weighted_laplacian
from SPRCore.regularization.diffusion import TERMS
from SPRCore.similarity import FixedStatistics, correlate
from SPRCore.typing import Scalars, Tensor, Vectors


@dataclass(frozen=True, kw_only=True)
class LevelImages:
    """Both images on one level and what is computed of them once.

    Attributes:
        level: Shape and spacing of the images.
        grid: Shape and spacing of the velocity, the same level or a coarser one.
        fixed: Statistics of the fixed image.
        moving: Moving image, shape (1, 1, X, Y, Z).
    """

    level: Level
    grid: Level
    fixed: FixedStatistics
    moving: Tensor

    @property
    def spacing(self) -> Tensor:
        """Voxel size of the velocity grid as a tensor that broadcasts over a field, in mm."""
        return self.moving.new_tensor(self.grid.spacing).view(1, 3, 1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The energy at one velocity, and what a Gauss–Newton step from there needs.

    Attributes:
        energy: Value of the loss (paper Eq. 19 with every term a mean), with the weight minimised out.
        similarity: Mean squared local correlation.
        weight: Effective weight w of the differences, shape (1, 1, X, Y, Z) on the velocity grid.
        force: Derivative of the data term with respect to the velocity in mm, times the number of voxels.
        curvature: Its Gauss–Newton second derivative, upper triangles, shape (1, 6, X, Y, Z).
    """

    energy: float
    similarity: float
    weight: Scalars
    force: Vectors
    curvature: Tensor


def evaluate_level(images: LevelImages, velocity_mm: Vectors, prior: Prior, pool: Sequence[int]) -> Evaluation:
    r"""Evaluate the energy of a velocity and linearise its data term.

    The update δ of the velocity acts as :math:`m \circ \exp(v) \circ (id + \delta)` (first order of
    Baker–Campbell–Hausdorff), whose derivative is the gradient of the *warped* image. The MAP weight of the pooled
    local squared gradient is pooled once more: weights that are box means of a free map have exactly this minimiser, so
    refreshing them can only lower the energy.

    Args:
        images: Images of the level.
        velocity_mm: Velocity on the level's velocity grid, shape (1, 3, X, Y, Z), in mm.
        prior: Prior on the weight.
        pool: Half width of the neighborhood that shares a weight, in voxels of the velocity grid.

    Returns:
        Energy, weight, force and curvature.
    """
    displacement_vox = displacement_on(images.level, velocity_mm, images.spacing)
    warped = warp(images.moving, displacement_vox)
    correlation = correlate(images.fixed, warped)
    similarity = float(correlation.squared.sum()) / images.fixed.total
    slope = gradient(warped, images.level.spacing)
    share = correlation.squared.numel() / images.fixed.total  # the data term is a mean over the mask
    force = _restrict(slope * (-share * correlation.gradient), images.grid)
    curvature = _restrict(outer_product(slope, 2.0 * share * correlation.curvature), images.grid)
    pooled = box_mean(squared_gradient(velocity_mm, images.grid.spacing), pool)
    free = prior.map_weight(pooled)
    regularizer = float((prior.strength * free * pooled + prior.penalty(free)).mean())
    return Evaluation(
        energy=1.0 - similarity + regularizer,
        similarity=similarity,
        weight=box_mean(free, pool),
        force=force,
        curvature=curvature,
    )


def newton_step(
    images: LevelImages, velocity_mm: Vectors, state: Evaluation, strength: float, iterations: int, damping: float
) -> Vectors:
    r"""Solve for the Gauss–Newton update with the weight held fixed (half-quadratic step).

    .. math:: (H + \tfrac{2r}{9} L_w)\,\delta = -(g + \tfrac{2r}{9} L_w v)

    Args:
        images: Images of the level.
        velocity_mm: Velocity v, shape (1, 3, X, Y, Z), in mm.
        state: Evaluation at v.
        strength: Factor r of the weighted diffusion.
        iterations: Largest number of conjugate gradient iterations.
        damping: Added to the diagonal, as a part of the mean data curvature.

    Returns:
        Update δ, same shape, in mm.
    """
    edges = edge_weights(state.weight * (2.0 * strength / TERMS), images.grid.spacing)
    mean_curvature = float(state.curvature[:, [0, 3, 5]].mean())
    system = NewtonSystem.of(state.curvature, edges, damping * max(mean_curvature, 1e-12))
    return system.solve(-(state.force + weighted_laplacian(velocity_mm, edges)), iterations)


def displacement_on(level: Level, velocity_mm: Vectors, spacing: Tensor) -> Vectors:
    """Integrate a velocity and bring its displacement to a level.

    Args:
        level: Level wanted.
        velocity_mm: Velocity in mm, shape (1, 3, X, Y, Z).
        spacing: Voxel size of the velocity's grid, shape (1, 3, 1, 1, 1), in mm.

    Returns:
        Displacement in voxels of the level.
    """
    velocity_vox = velocity_mm / spacing
    return resize_displacement(integrate(velocity_vox, sufficient_steps(velocity_vox)), level.shape)


def _restrict(field: Tensor, grid: Level) -> Tensor:
    # Means over the voxels of the coarser cell: the transpose of interpolation up to its small overlap.
    return field if tuple(field.shape[2:]) == grid.shape else F.adaptive_avg_pool3d(field, grid.shape)
