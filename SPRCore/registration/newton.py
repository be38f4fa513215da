"""The linear system of one Gauss–Newton step: data curvature plus spatially weighted diffusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from SPRCore.regularization import laplacian_diagonal, weighted_laplacian
from SPRCore.typing import Scalars, Tensor, Vectors


@dataclass(frozen=True)
class NewtonSystem:
    r"""Symmetric positive system :math:`(H + \kappa L_w)\,\delta = b` for the update of a vector field.

    Attributes:
        curvature: Upper triangle of the 3x3 data curvature H per voxel, shape (B, 6, X, Y, Z), order 00 01 02 11 12 22.
        edges: Weights of the differences (they hold κ and the spacing), from ``edge_weights``.
        inverse_diagonal: Inverse of the 3x3 diagonal block of the system per voxel, as ``curvature``.
    """

    curvature: Tensor
    edges: Sequence[Tensor]
    inverse_diagonal: Tensor

    @classmethod
    def of(cls, curvature: Tensor, edges: Sequence[Tensor], damping: float) -> NewtonSystem:
        """Assemble the system; `damping` is added to the diagonal: no update in regions without data and weight."""
        curvature = curvature.clone()
        for index in (0, 3, 5):
            curvature[:, index] += damping
        diagonal = laplacian_diagonal(edges, curvature.shape[2:])
        return cls(curvature, edges, invert_symmetric(curvature, diagonal))

    def apply(self, field: Vectors) -> Vectors:
        """Multiply a field of shape (B, 3, X, Y, Z) by the system matrix."""
        return weighted_laplacian(field, self.edges).add_(symmetric_product(self.curvature, field))

    def solve(self, right: Vectors, iterations: int, tolerance: float = 0.03, where: Scalars | None = None) -> Vectors:
        """Solve by conjugate gradients preconditioned with the inverse of the 3x3 diagonal blocks.

        Args:
            right: Right-hand side b, shape (B, 3, X, Y, Z).
            iterations: Maximum number of iterations.
            tolerance: Stop when the preconditioned residual has fallen to this fraction of the initial one.
            where: 1 where the field may change, 0 where δ is held at 0, shape (B, 1, X, Y, Z); None for everywhere.

        Returns:
            The update δ, same shape. A truncated solution is still a descent direction.
        """
        precondition = partial(symmetric_product, self.inverse_diagonal)
        if where is None:
            return conjugate_gradients(self.apply, precondition, right, iterations, tolerance)

        def apply_within(field: Vectors) -> Vectors:
            return self.apply(field).mul_(where)  # the field is 0 elsewhere, so that the system stays symmetric

        return conjugate_gradients(apply_within, precondition, right * where, iterations, tolerance)


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    right: Tensor,
    iterations: int,
    tolerance: float = 0.03,
) -> Tensor:
    """Solve a symmetric positive system by preconditioned conjugate gradients. Truncated, it is a descent direction.

    `apply` multiplies by the matrix, `precondition` by a symmetric positive approximation of its inverse. Stops after
    `iterations`, or when the preconditioned residual has fallen to the fraction `tolerance` of the initial one.
    """
    solution = torch.zeros_like(right)
    residual = right.clone()
    direction = precondition(residual)
    rho = start = float(torch.sum(residual * direction))
    for _ in range(iterations):
        if rho <= tolerance**2 * start or start == 0.0:
            break
        image = apply(direction)
        step = rho / float(torch.sum(direction * image))
        solution.add_(direction, alpha=step)
        residual.add_(image, alpha=-step)
        z = precondition(residual)
        previous, rho = rho, float(torch.sum(residual * z))
        direction = z.add_(direction, alpha=rho / previous)
    return solution


def symmetric_product(matrix: Tensor, field: Vectors) -> Vectors:
    """Multiply vectors, shape (B, 3, X, Y, Z), by symmetric matrices, (B, 6, X, Y, Z), order 00 01 02 11 12 22."""
    a, b, c, d, e, f = matrix.unbind(1)
    x, y, z = field.unbind(1)
    result = torch.empty_like(field)
    for index, (p, q, r) in enumerate(((a, b, c), (b, d, e), (c, e, f))):
        torch.mul(p, x, out=result[:, index]).addcmul_(q, y).addcmul_(r, z)
    return result


def outer_product(vector: Vectors, scale: Scalars) -> Tensor:
    """Return the scaled outer product of vectors with themselves, shape (B, 6, X, Y, Z), order 00 01 02 11 12 22."""
    scaled = vector * scale
    return torch.cat([scaled[:, :1] * vector, scaled[:, 1:2] * vector[:, 1:], scaled[:, 2:] * vector[:, 2:]], dim=1)


def invert_symmetric(matrix: Tensor, diagonal: Scalars) -> Tensor:
    """Invert symmetric 3x3 matrices, given as upper triangles, after an addition to their diagonals."""
    a, b, c, d, e, f = matrix.unbind(1)
    shift = diagonal[:, 0]
    a, d, f = a + shift, d + shift, f + shift
    c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
    inverse_determinant = 1.0 / (a * c00 + b * c01 + c * c02)
    cofactors = [c00, c01, c02, a * f - c * c, b * c - a * e, a * d - b * b]
    return torch.stack(cofactors, dim=1).mul_(inverse_determinant.unsqueeze(1))
