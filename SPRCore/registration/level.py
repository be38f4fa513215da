"""The energy of a velocity field on one resolution level, its gradient and its Gauss–Newton model."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.nn import functional as F

from SPRCore.functional import (
    central_difference,
    gradient,
    integrate_quickly,
    resize,
    resize_displacement,
    vector_jacobian_product,
    warp,
)
from SPRCore.registration.newton import NewtonSystem, outer_product
from SPRCore.registration.pyramid import Level
from SPRCore.regularization import Prior, edge_weights, weighted_laplacian
from SPRCore.regularization.diffusion import TERMS
from SPRCore.regularization.most_probable import effective_weight, free_weight
from SPRCore.similarity import FixedImage
from SPRCore.typing import Images, Scalars, Tensor, Vectors

Result = TypeVar("Result")
Pausing = Generator[None, None, Result]
"""A computation that can be paused or abandoned at each yield."""


def completed(computation: Pausing[Result]) -> Result:
    """Run a computation without pauses and return its result."""
    while True:
        try:
            next(computation)
        except StopIteration as end:
            return end.value


@dataclass(frozen=True, kw_only=True)
class LevelImages:
    """Both images on one level, with all that does not depend on the velocity.

    Attributes:
        level: Shape and spacing of the images.
        grid: Shape and spacing of the velocity, the same level or a coarser one.
        fixed: Fixed image, prepared for the similarity.
        moving: What the similarity compares of the moving image (``features``), shape (1, C, X, Y, Z).
        moving_valid: Voxels of the moving image that hold data (not 0), shape (1, 1, X, Y, Z), or None for all.
        stiffness: Factor q > 0 of the weight of each voxel of the velocity grid, shape (1, 1, x, y, z), or None for 1.
    """

    level: Level
    grid: Level
    fixed: FixedImage
    moving: Tensor
    moving_valid: Tensor | None = None
    stiffness: Tensor | None = None

    @property
    def spacing(self) -> Tensor:
        """Voxel size of the velocity grid as a tensor that broadcasts over a field, in mm."""
        return self.moving.new_tensor(self.grid.spacing).view(1, 3, 1, 1, 1)

    @property
    def voxels(self) -> int:
        """Number of voxels of the images."""
        return self.moving[:, 0].numel()

    @property
    def share(self) -> float:
        """Fraction of the voxels that count in the similarity."""
        return self.fixed.total / self.voxels

    def with_full_velocity(self) -> LevelImages:
        """Return the same level with a velocity grid of the resolution of the images."""
        stiffness = None if self.stiffness is None else resize(self.stiffness.log(), self.level.shape).exp()
        return dataclasses.replace(self, grid=self.level, stiffness=stiffness)

    @torch.no_grad()
    def seen_from(self, velocity_mm: Vectors) -> LevelImages:
        """Return the same level without the voxels that a velocity in mm maps to where the moving image has no data.

        The voxels that count are constant within a level, so that energies are comparable and cannot be lowered by
        mapping voxels out of the moving image.
        """
        if self.moving_valid is None and not bool(velocity_mm.any()):
            return self
        return self.seen_at(integrate_quickly(velocity_mm / self.spacing))

    @torch.no_grad()
    def seen_at(self, displacement_vox: Vectors) -> LevelImages:
        """``seen_from`` for a displacement on any grid over the field of view, in its voxels."""
        seen = lies_inside(displacement_vox)
        if self.moving_valid is not None:
            seen &= warp(_to_shape(self.moving_valid, seen.shape[2:]), displacement_vox) > 0.5
        if bool(seen.all()):
            return self
        return dataclasses.replace(self, fixed=self.fixed.within(_to_shape(seen.float(), self.level.shape) > 0.5))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The energy at one velocity, with the terms of a Gauss–Newton step.

    Attributes:
        energy: Value of the loss (paper Eq. 19 with every term a mean over all voxels, those without data at a
            similarity of 1), with the weight minimised out.
        similarity: Mean similarity of the voxels that count, 1 at best.
        similarities: Similarity of each voxel, shape (1, 1, X, Y, Z) on the level.
        weight: Effective weight q·w of the differences, shape (1, 1, X, Y, Z) on the velocity grid.
        warped: Warped features of the moving image on the level, with the graph to ``velocity_mm``.
        data_force: Derivative of the *sum* of the similarities with respect to the warped features.
        data_curvature: Half the Gauss–Newton second derivative of minus that sum.
        velocity_mm: Velocity evaluated, a leaf that requires gradients.
    """

    energy: float
    similarity: float
    similarities: Scalars
    weight: Scalars
    warped: Images
    data_force: Images
    data_curvature: Images
    velocity_mm: Vectors


def evaluation(images: LevelImages, velocity_mm: Vectors, prior: Prior, pool: Sequence[int]) -> Pausing[Evaluation]:
    r"""Evaluate the energy of a velocity and the terms of its derivative.

    The MAP weight of the pooled local squared gradient is pooled once more: weights that are box means of a free map
    have exactly this minimiser (the mirrored mean is its own transpose), so refreshing them can only lower the energy.
    A painted stiffness q turns the regularizer into :math:`\overline{r\,q\,w\,s}`: it multiplies the squared gradient
    before the pooling and the weight after it.

    Args:
        images: Images of the level.
        velocity_mm: Velocity on the level's velocity grid, shape (1, 3, X, Y, Z), in mm.
        prior: Prior on the weight.
        pool: Half width of the neighborhood that shares a weight, in voxels of the velocity grid.

    Returns:
        The evaluation; ``warped`` carries the graph back to ``velocity_mm``.
    """
    leaf = velocity_mm.detach().requires_grad_()
    with torch.enable_grad():
        displacement_vox = displacement_on(images.level, leaf, images.spacing)
    yield
    with torch.enable_grad():
        warped = (warp if velocity_mm.any() else _warp_at_rest)(images.moving, displacement_vox)
    yield
    comparison = images.fixed.compare(warped.detach())
    yield
    similarity = float(comparison.values.sum()) / images.fixed.total
    free, pooled = free_weight(velocity_mm, images.grid.spacing, prior, pool, images.stiffness)
    regularizer = float((prior.scale * free * pooled + prior.penalty(free)).mean())
    return Evaluation(
        energy=images.share * (1.0 - similarity) + regularizer,
        similarity=similarity,
        similarities=comparison.values,
        weight=effective_weight(free, pool, images.stiffness),
        warped=warped,
        data_force=comparison.gradient,
        data_curvature=comparison.curvature,
        velocity_mm=leaf,
    )


def newton_update(
    images: LevelImages,
    state: Evaluation,
    scale: float,
    iterations: int,
    damping: float,
    where: Scalars | None = None,
) -> Pausing[Vectors]:
    r"""Solve for the Gauss–Newton update with the weight held fixed (half-quadratic step).

    .. math:: (H + \tfrac{2r}{9} L_w)\,\delta = -(g + \tfrac{2r}{9} L_w v)

    g is the exact derivative of the data term through warp and integration; H uses the slope of the warped image
    instead of its derivative with respect to the velocity.

    Args:
        images: Images of the level.
        state: Evaluation at v; its graph is freed.
        scale: Factor r of the weighted diffusion.
        iterations: Maximum number of conjugate gradient iterations.
        damping: Added to the diagonal, as a fraction of the mean data curvature.
        where: Mask of the voxels that may change, on the velocity grid; None for all.

    Returns:
        Update δ, same shape, in mm.
    """
    velocity = state.velocity_mm.detach()
    # All terms are scaled by the number of velocity voxels. Voxels without data have a similarity of 1: they contribute
    # no force and do not change the balance of similarity and regularizer elsewhere.
    share = velocity[:, 0].numel() / images.voxels
    force = vector_jacobian_product(state.warped, state.velocity_mm, state.data_force * -share)
    yield
    curvature = image_curvature(state.warped.detach(), 2.0 * state.data_curvature, images.level.spacing)
    curvature = _restrict(curvature, images.grid)
    edges = edge_weights(state.weight * (2.0 * scale / TERMS), images.grid.spacing)
    mean_curvature = float(curvature[:, [0, 3, 5]].mean())
    system = NewtonSystem.of(curvature, edges, damping * max(mean_curvature, 1e-12))
    yield
    return system.solve(-force.add_(weighted_laplacian(velocity, edges)), iterations, where=where)


def image_curvature(image: Images, scale: Images, spacing: Sequence[float]) -> Images:
    """Curvature of a squared difference under small shifts of an image: scale times slope times its transpose.

    That of several channels is the sum.

    On the diagonal the mean square of both one-sided slopes is used where it is larger, since these are the slopes of
    linear interpolation: at a ridge or in noise the central slope vanishes while the force does not.

    Args:
        image: Image, shape (B, C, X, Y, Z).
        scale: Factor ≥ 0, same shape, or (B, 1, X, Y, Z) for all channels.
        spacing: Voxel size along each axis.

    Returns:
        Upper triangles of positive semidefinite matrices, shape (B, 6, X, Y, Z), order 00 01 02 11 12 22.
    """
    if image.shape[1] > 1:
        total, scales = None, scale.expand_as(image)
        for channel, factor in zip(image.split(1, dim=1), scales.split(1, dim=1), strict=True):
            part = image_curvature(channel, factor, spacing)
            total = part if total is None else total.add_(part)
        return total
    curvature = outer_product(gradient(image, spacing), scale)
    for axis, index in enumerate((0, 3, 5)):
        steps = torch.diff(image, dim=axis + 2).square_().mul_(0.5 / spacing[axis] ** 2)
        size = steps.shape[axis + 2]
        sided = torch.zeros_like(image)
        sided.narrow(axis + 2, 0, size).add_(steps)
        sided.narrow(axis + 2, 1, size).add_(steps)
        entry = curvature[:, index : index + 1]
        torch.maximum(entry, sided.mul_(scale), out=entry)
    return curvature


def displacement_on(level: Level, velocity_mm: Vectors, spacing: Tensor) -> Vectors:
    """Integrate a velocity in mm and resample the displacement on a level, in its voxels.

    ``spacing`` is the voxel size of the velocity grid in mm, shape (1, 3, 1, 1, 1).
    """
    return resize_displacement(integrate_quickly(velocity_mm / spacing), level.shape)


def _to_shape(mask: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(mask.shape[2:]) == tuple(shape):
        return mask
    return F.interpolate(mask, size=tuple(shape), mode="trilinear", align_corners=True)


def lies_inside(displacement_vox: Vectors) -> Tensor:
    """Return a mask, shape (B, 1, X, Y, Z), of the voxels that a displacement in voxels maps into the grid."""
    inside = torch.ones_like(displacement_vox[:, :1], dtype=torch.bool)
    for axis, size in enumerate(displacement_vox.shape[2:]):
        ticks = torch.arange(size, device=inside.device).view([size if i == axis else 1 for i in range(3)])
        position = displacement_vox[:, axis : axis + 1] + ticks
        inside &= (position >= -0.5) & (position <= size - 0.5)
    return inside


def _warp_at_rest(image: Images, displacement_vox: Vectors) -> Images:
    # Linear interpolation is not differentiable at voxel centers: the derivative of warp would be the one-sided slope
    # chosen by rounding. The first step of a registration uses the mean of both slopes.
    return image + sum(central_difference(image, axis) * displacement_vox[:, axis : axis + 1] for axis in range(3))


def _restrict(field: Tensor, grid: Level) -> Tensor:
    # Means over the voxels of the coarser cell: the transpose of interpolation up to its small overlap.
    return field if tuple(field.shape[2:]) == grid.shape else F.adaptive_avg_pool3d(field, grid.shape)
