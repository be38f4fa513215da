"""Multigrid for the linear system of a step: a V-cycle that preconditions conjugate gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from SPRCore.registration.newton import NewtonSystem, symmetric_product
from SPRCore.typing import Tensor, Vectors

LEAST_SIZE = 12
"""An axis with fewer voxels is not halved."""

WEAK = 0.25
"""An axis coupled less than this part of the strongest one is not halved yet: coarse slices keep their voxels, since
errors across them are not smooth along them."""

DAMPING = 0.8
"""Factor of the block diagonal as a smoother. Its product with the system has eigenvalues up to 2, so that any factor
below 1 converges; 0.8 damps those from 0.25 upwards to 0.8 at most in one sweep."""

_COARSEST_DEGREE, _COARSEST_SPAN = 8, 100.0


@dataclass(frozen=True)
class Cycle:
    r"""A symmetric V-cycle, to be used as a preconditioner of ``conjugate_gradients``.

    Coarser systems live on cells of two voxels along each strongly coupled axis. Corrections are constant over a cell,
    and its curvature is the sum over its voxels, :math:`P^T H P`. The weight between two cells is half the sum of the
    weights across the face between them: for a constant weight that is the Laplacian of twice the spacing, where
    :math:`P^T L P` would be twice as stiff. One damped sweep of the block diagonal before and after the correction; a
    Chebyshev polynomial on the coarsest grid. All parts are symmetric and positive.

    Attributes:
        systems: The system and its coarser ones.
        factors: Voxels of a cell along each axis, from each system to the next.

    References:
        Briggs, Henson, McCormick, A Multigrid Tutorial, 2000 (semi-coarsening, chapter 7); Braess, Towards
        algebraic multigrid for elliptic problems of second order, Computing 1995, doi:10.1007/BF02238488 (constant
        corrections, and the factor that makes up for their stiffness).
    """

    systems: tuple[NewtonSystem, ...]
    factors: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, system: NewtonSystem) -> Cycle:
        """Build the coarser systems; they have about a seventh of the voxels of the first in all.

        Args:
            system: The system of a step.

        Returns:
            The cycle.
        """
        systems, factors = [system], []
        while any(found := halved(systems[-1])):
            factors.append(found)
            systems.append(coarser(systems[-1], found))
        return cls(tuple(systems), tuple(factors))

    def __call__(self, residual: Vectors, level: int = 0) -> Vectors:
        """Apply the cycle to a residual.

        Args:
            residual: Shape (B, 3, X, Y, Z).
            level: System to begin with.

        Returns:
            Approximate solution, same shape.
        """
        system = self.systems[level]
        if level == len(self.factors):
            return chebyshev(system, residual, _COARSEST_DEGREE, _COARSEST_SPAN)
        solution = symmetric_product(system.inverse_diagonal, residual).mul_(DAMPING)
        left = residual - system.apply(solution)
        coarse = self(_summed(left, self.factors[level]), level + 1)
        solution += _spread(coarse, self.factors[level], residual.shape[2:])
        left = torch.sub(residual, system.apply(solution), out=left)
        return solution.add_(symmetric_product(system.inverse_diagonal, left), alpha=DAMPING)


def halved(system: NewtonSystem) -> tuple[int, ...]:
    """Return the voxels of a cell along each axis, 2 where it is long and strongly coupled, else 1; () if nowhere."""
    shape = system.curvature.shape[2:]
    means = [float(edge.mean()) if edge.numel() else 0.0 for edge in system.edges]
    rows = zip(shape, means, strict=True)
    strongest = max((mean for size, mean in zip(shape, means, strict=True) if size >= LEAST_SIZE), default=0.0)
    factors = tuple(2 if size >= LEAST_SIZE and mean >= WEAK * strongest else 1 for size, mean in rows)
    return factors if 2 in factors else ()


def coarser(system: NewtonSystem, factors: Sequence[int]) -> NewtonSystem:
    """Return the system on cells.

    Args:
        system: A system.
        factors: Voxels of a cell along each axis, 1 or 2; the last cell of an axis may have one.

    Returns:
        The coarser system.
    """
    edges = []
    for axis, edge in enumerate(system.edges):
        across = [1 if i == axis else factor for i, factor in enumerate(factors)]
        if factors[axis] == 2:
            edge = edge[(*(slice(None),) * (axis + 2), slice(1, None, 2))] * 0.5
        edges.append(_summed(edge, across))
    return NewtonSystem.of(_summed(system.curvature, factors), edges, damping=0.0)


def _summed(field: Tensor, factors: Sequence[int]) -> Tensor:
    """Sums over cells, the transpose of ``_spread``."""
    for axis, factor in enumerate(factors):
        if factor == 2:
            dim, before = axis + 2, (slice(None),) * (axis + 2)
            second = field[(*before, slice(1, None, 2))]
            field = field[(*before, slice(0, None, 2))].clone()
            field.narrow(dim, 0, second.shape[dim]).add_(second)
    return field


def _spread(field: Tensor, factors: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The value of its cell at every voxel."""
    sizes = [size * factor for size, factor in zip(field.shape[2:], factors, strict=True)]
    x, y, z = shape
    return F.interpolate(field, size=sizes, mode="nearest")[:, :, :x, :y, :z]


def chebyshev(system: NewtonSystem, residual: Tensor, degree: int, span: float) -> Tensor:
    """Chebyshev's polynomial in the system times the inverse block diagonal, for eigenvalues from 2/span to 2."""
    middle, half = 1.0 + 1.0 / span, 1.0 - 1.0 / span
    rho = half / middle
    step = symmetric_product(system.inverse_diagonal, residual) / middle
    solution = step.clone()
    for _ in range(degree - 1):
        left = symmetric_product(system.inverse_diagonal, residual - system.apply(solution))
        following = 1.0 / (2.0 * middle / half - rho)
        step = step * (following * rho) + left * (2.0 * following / half)
        solution, rho = solution + step, following
    return solution
