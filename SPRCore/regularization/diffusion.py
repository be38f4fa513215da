"""Spatially weighted diffusion of a vector field, its weighted Laplacian, and the local squared gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from SPRCore.errors import InputError
from SPRCore.typing import Scalars, Tensor, Vectors

UNIT = (1.0, 1.0, 1.0)
TERMS = 9
"""Three components times three directions: the paper's reference code takes the mean over both."""


def squared_gradient(field: Vectors, spacing: Sequence[float] = UNIT) -> Scalars:
    r"""Local mean squared gradient, each difference divided between the two voxels at its ends.

    .. math:: s(p) = \tfrac{1}{9} \sum_{i,j} \tfrac12 \left((\partial_j^+ u_i)^2 + (\partial_j^- u_i)^2\right)(p)

    so that :math:`\sum_p w(p)\,s(p)` is the weighted diffusion whose weight is averaged over both ends of a difference.
    A field (B, 3, X, Y, Z) in the unit of ``spacing`` gives a dimensionless result (B, 1, X, Y, Z), independent of the
    resolution.
    """
    total = torch.zeros_like(field[:, :1])
    for axis, step in enumerate(spacing):
        edge = _edges(field, axis).square().sum(dim=1, keepdim=True) * (0.5 / (TERMS * step**2))
        size = edge.shape[axis + 2]
        total.narrow(axis + 2, 0, size).add_(edge)
        total.narrow(axis + 2, 1, size).add_(edge)
    return total


def edge_weights(weight: Scalars, spacing: Sequence[float] = UNIT) -> list[Tensor]:
    """Weights of the differences along each axis: the mean of both ends over the squared voxel size.

    Each of the three tensors is one voxel shorter than ``weight`` along its axis.
    """
    result = []
    for axis, step in enumerate(spacing):
        size = weight.shape[axis + 2] - 1
        ends = weight.narrow(axis + 2, 0, size) + weight.narrow(axis + 2, 1, size)
        result.append(ends * (0.5 / step**2))
    return result


def weighted_laplacian(field: Vectors, edges: Sequence[Tensor]) -> Vectors:
    r"""Apply the weighted graph Laplacian: :math:`(L_w u)(p) = \sum_q w_{pq} (u(p) - u(q))` over the six neighbors.

    With the weights of ``edge_weights``, :math:`u^T L_w u` is the weighted sum of squared differences. Paper Eq. 9–12.
    """
    result = torch.zeros_like(field)
    for axis, edge in enumerate(edges):
        flux = _edges(field, axis).mul_(edge)
        size = flux.shape[axis + 2]
        result.narrow(axis + 2, 0, size).sub_(flux)
        result.narrow(axis + 2, 1, size).add_(flux)
    return result


def laplacian_diagonal(edges: Sequence[Tensor], shape: Sequence[int]) -> Scalars:
    """Diagonal of the weighted Laplacian, shape (B, 1, X, Y, Z): the sum of the ``edge_weights`` at each voxel."""
    result = edges[0].new_zeros((edges[0].shape[0], 1, *shape))
    for axis, edge in enumerate(edges):
        size = edge.shape[axis + 2]
        result.narrow(axis + 2, 0, size).add_(edge)
        result.narrow(axis + 2, 1, size).add_(edge)
    return result


class _WeightedDiffusion(torch.autograd.Function):
    """Keeps field and weight only, while the naive graph keeps every difference and its square."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, weight: Tensor, spacing: tuple[float, float, float]) -> Tensor:
        ctx.save_for_backward(field, weight)
        ctx.spacing = spacing
        return (weight * squared_gradient(field, spacing)).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        field, weight = ctx.saved_tensors
        voxels = field.numel() // 3
        for_field = for_weight = None
        if ctx.needs_input_grad[0]:
            for_field = weighted_laplacian(field, edge_weights(weight, ctx.spacing)) * (2.0 * grad / (TERMS * voxels))
        if ctx.needs_input_grad[1]:
            for_weight = squared_gradient(field, ctx.spacing) * (grad / voxels)
        return for_field, for_weight, None


def weighted_diffusion(
    field: Vectors, weight: Scalars, spacing: Sequence[float] = UNIT, convention: str = "mean"
) -> Tensor:
    r"""Spatially weighted diffusion regularizer :math:`\sum_p \lambda(p) |\nabla u(p)|^2`, paper Eq. 12.

    The weight of a difference is the mean of the weights at its two ends. Differentiable with respect to both
    arguments (analytic).

    Args:
        field: Displacement or velocity, shape (B, 3, X, Y, Z), in the unit of ``spacing``.
        weight: Weight per voxel, shape (B, 1, X, Y, Z), ≥ 0.
        spacing: Voxel size along each axis; with it the value does not depend on the resolution.
        convention: ``"mean"`` (default, the reference code's: mean over voxels, 3 components and 3 directions) or
            ``"frobenius"`` (mean over voxels of the squared Frobenius norm, 9 times as large).

    Returns:
        Scalar ≥ 0.

    Raises:
        InputError: Unknown convention.
    """
    if convention not in ("mean", "frobenius"):
        raise InputError("convention", got=repr(convention), expected="mean | frobenius")
    value = _WeightedDiffusion.apply(field, weight, tuple(float(s) for s in spacing))
    return value if convention == "mean" else TERMS * value


def _edges(field: Tensor, axis: int) -> Tensor:
    size = field.shape[axis + 2] - 1
    return field.narrow(axis + 2, 1, size) - field.narrow(axis + 2, 0, size)
