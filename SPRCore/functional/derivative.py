"""Finite differences of scalar and vector fields, and Jacobians of deformations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from SPRCore.typing import Images, Jacobians, Scalars, Tensor, Vectors


class _Pairing(torch.autograd.Function):
    """A scalar whose derivative with respect to the output is a given factor; its value is not computed."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return output.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return factor * grad, None


def vector_jacobian_product(output: Tensor, leaf: Tensor, factor: Tensor) -> Tensor:
    """Return the derivative of ``sum(output * factor)`` with respect to a leaf, the factor held fixed.

    The same as ``torch.autograd.grad(output, leaf, factor)``, which on its first call with a factor loads a library of
    symbolic algebra: more than a second in each process. The graph is freed.
    """
    with torch.enable_grad():
        paired = _Pairing.apply(output, factor)
    return torch.autograd.grad(paired, leaf)[0]


def central_difference(field: Images, axis: int, spacing: float = 1.0) -> Images:
    r"""Central difference :math:`(a_{p+1} - a_{p-1})/2h` along one spatial axis (0 to 2), one-sided at both ends.

    The voxel size along that axis is h; zero if the axis has one voxel.
    """
    dim, size = axis + 2, field.shape[axis + 2]
    if size < 2:
        return torch.zeros_like(field)
    first = field.narrow(dim, 1, 1) - field.narrow(dim, 0, 1)
    last = field.narrow(dim, size - 1, 1) - field.narrow(dim, size - 2, 1)
    inner = 0.5 * (field.narrow(dim, 2, size - 2) - field.narrow(dim, 0, size - 2))
    return torch.cat([first, inner, last], dim=dim) / spacing


def gradient(field: Scalars, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Vectors:
    """Gradient of a scalar field by central differences.

    Shape (B, 3, X, Y, Z), component order = axis order, per unit of ``spacing``.
    """
    return torch.cat([central_difference(field, axis, spacing[axis]) for axis in range(3)], dim=1)


def jacobian(displacement: Vectors, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Jacobians:
    r"""Jacobian matrix of the deformation :math:`x + u(x)` by central differences, one-sided at the border.

    The displacement is in the unit of ``spacing`` (voxels by default). Shape (B, 3, 3, X, Y, Z): entry (i, j) is
    :math:`\delta_{ij} + \partial u_i / \partial x_j`.
    """
    columns = torch.stack([central_difference(displacement, axis, spacing[axis]) for axis in range(3)], dim=2)
    for axis in range(3):
        columns[:, axis, axis] += 1.0
    return columns


def jacobian_determinant(displacement: Vectors, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Scalars:
    """Determinant of the Jacobian of :math:`x + u(x)`: local volume change, at or below 0 where the map folds.

    The displacement is in the unit of ``spacing`` (voxels by default). Shape (B, 1, X, Y, Z), dimensionless.
    """
    return _determinant_3x3(jacobian(displacement, spacing))


def _determinant_3x3(matrix: Jacobians) -> Scalars:
    """Determinant of 3x3 matrices, shape (B, 3, 3, X, Y, Z), by cofactors; shape (B, 1, X, Y, Z)."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(1) for row in matrix.unbind(1))
    return (a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)).unsqueeze(1)
