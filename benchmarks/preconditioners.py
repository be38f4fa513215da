"""Candidates for the linear system of a step: preconditioners of conjugate gradients beside the block diagonal.

Each is made of a system, once, and called on a residual; all are symmetric and positive, so that conjugate gradients
stay valid.
"""

from __future__ import annotations

import math
from functools import partial

import multigrid
import torch
from torch.nn import functional as F

from SPRCore.registration.newton import NewtonSystem, invert_symmetric, symmetric_product
from SPRCore.regularization import laplacian_diagonal

LEAST = 6
"""An axis with fewer voxels is not halved any more."""
DAMPED = 0.8
"""Factor of the block diagonal as a smoother: its eigenvalues against the system reach 2."""


def block_diagonal(system):
    """What the solver has: the inverse of the 3x3 diagonal blocks."""
    return partial(symmetric_product, system.inverse_diagonal)


def coarser(system, mean, scale):
    """The system on cells of two voxels along each axis that is coupled strongly, or None without such cells.

    Curvature is summed over the cell, which is Galerkin's product for interpolation by a constant. A difference between
    two cells takes the weights of the lines that join their middles, added up: of the face between them alone
    ("face"), or in series with the halves that lead to it ("series", the harmonic mean, which a thin soft layer within
    a cell survives). `scale` is 1 for Galerkin's product, 0.5 for the weights of a grid of twice the spacing.
    """
    shape = system.curvature.shape[2:]
    strength = [float(edge.mean()) for edge in system.edges]
    factors = [
        2 if size >= 2 * LEAST and own > 0.25 * max(strength) else 1 for size, own in zip(shape, strength, strict=True)
    ]
    if factors == [1, 1, 1]:
        return None
    cells = [math.ceil(size / factor) for size, factor in zip(shape, factors, strict=True)]
    volume = math.prod(factors)
    curvature = F.avg_pool3d(_padded(system.curvature, shape, factors), factors) * volume
    edges = []
    for axis, edge in enumerate(system.edges):
        line = _joined(edge, axis, mean, scale) if factors[axis] == 2 else edge
        across = [1 if i == axis else factor for i, factor in enumerate(factors)]
        sizes = [line.shape[i + 2] for i in range(3)]
        edges.append(F.avg_pool3d(_padded(line, sizes, across), across) * math.prod(across))
    diagonal = laplacian_diagonal(edges, cells)
    made = NewtonSystem(curvature, edges, invert_symmetric(curvature, diagonal))
    return made, factors


def _padded(field, sizes, factors):
    """Padding by zeros behind the last voxel to whole cells; a cell at the border may have one voxel."""
    more = [-size % factor for size, factor in zip(sizes, factors, strict=True)]
    return F.pad(field, [0, more[2], 0, more[1], 0, more[0]]) if any(more) else field


def _joined(edge, axis, mean, scale):
    dim, size = axis + 2, edge.shape[axis + 2]
    crossing = edge.index_select(dim, torch.arange(1, size, 2, device=edge.device))
    if mean == "face":
        return crossing * scale
    count = crossing.shape[dim]
    before = edge.index_select(dim, torch.arange(0, 2 * count, 2, device=edge.device))
    behind = torch.arange(2, 2 * count + 1, 2, device=edge.device).clamp(max=size - 1)
    after = edge.index_select(dim, behind)
    tiny = torch.finfo(edge.dtype).tiny
    return 2.0 * scale / (0.5 / before.clamp(min=tiny) + 1.0 / crossing.clamp(min=tiny) + 0.5 / after.clamp(min=tiny))


def hierarchy(system, mean, scale, levels):
    """The system and its coarser ones, each with the factors that lead to the next."""
    made, factors = [system], []
    while len(made) < levels:
        found = coarser(made[-1], mean, scale)
        if found is None:
            break
        made.append(found[0])
        factors.append(found[1])
    return made, factors


def _restricted(field, factors):
    return F.avg_pool3d(_padded(field, field.shape[2:], factors), factors) * math.prod(factors)


def _prolonged(field, shape, factors):
    for axis, factor in enumerate(factors):
        if factor == 2:
            field = field.repeat_interleave(2, dim=axis + 2).narrow(axis + 2, 0, shape[axis])
    return field


class Cycle:
    """A V-cycle: damped block diagonal, or Chebyshev of degree 2 on it, before and after the coarser correction."""

    def __init__(self, system, *, mean="series", scale=0.5, levels=8, smoothing=1):
        self.systems, self.factors = hierarchy(system, mean, scale, levels)
        self.smoothing = smoothing

    def __call__(self, residual, level=0):
        system = self.systems[level]
        if level == len(self.factors) == 1:
            return system.solve(residual, 60, 1e-4)  # two grids: what the coarser one gives at the best
        if level == len(self.factors):
            return chebyshev(system, residual, degree=8, span=100.0)
        smooth = partial(chebyshev, system, degree=self.smoothing)
        found = smooth(residual)
        left = residual - system.apply(found)
        right = _restricted(left, self.factors[level])
        found += _prolonged(self(right, level + 1), residual.shape[2:], self.factors[level])
        return found + smooth(residual - system.apply(found))


class Additive:
    """The sum of the inverse block diagonals of all levels (Bramble, Pasciak and Xu): no further products."""

    def __init__(self, system, *, mean="series", scale=0.5, levels=8):
        self.systems, self.factors = hierarchy(system, mean, scale, levels)

    def __call__(self, residual):
        parts = [residual]
        for factors in self.factors:
            parts.append(_restricted(parts[-1], factors))
        found = None
        for level in reversed(range(len(parts))):
            own = symmetric_product(self.systems[level].inverse_diagonal, parts[level])
            found = own if found is None else own + _prolonged(found, parts[level].shape[2:], self.factors[level])
        return found


def chebyshev(system, residual, *, degree, span=4.0):
    """Chebyshev's polynomial in the system times the inverse block diagonal, for eigenvalues from 2/span to 2."""
    if degree == 1:
        return symmetric_product(system.inverse_diagonal, residual) * DAMPED
    return multigrid.chebyshev(system, residual, degree, span)


class Cosine:
    """A system of constant coefficients between scalings by the diagonal, solved by cosine transforms."""

    def __init__(self, system):
        own = system.curvature[:, [0, 3, 5]].mean(dim=1, keepdim=True)
        diagonal = own + laplacian_diagonal(system.edges, own.shape[2:])
        self.scaling = diagonal.rsqrt()
        shape = own.shape[2:]
        self.bases = [_cosines(size, own) for size in shape]
        steps = [float(edge.mean()) for edge in system.edges]
        values = own.new_full(shape, float(own.mean()))
        for axis, (size, step) in enumerate(zip(shape, steps, strict=True)):
            line = 2.0 - 2.0 * torch.cos(math.pi * torch.arange(size, device=own.device) / size)
            values += step * line.view([size if i == axis else 1 for i in range(3)])
        self.inverse = float(diagonal.mean()) / values

    def __call__(self, residual):
        found = self._turned(residual * self.scaling, forward=True) * self.inverse
        return self._turned(found, forward=False) * self.scaling

    def _turned(self, field, forward):
        for axis, basis in enumerate(self.bases):
            matrix = basis if forward else basis.T
            field = torch.tensordot(field, matrix, dims=([axis + 2], [1])).movedim(-1, axis + 2)
        return field


def _cosines(size, like):
    """Orthonormal cosine basis, shape (size, size), a row for each frequency."""
    index = torch.arange(size, device=like.device, dtype=like.dtype)
    basis = torch.cos(math.pi / size * index[:, None] * (index[None] + 0.5)) * math.sqrt(2.0 / size)
    basis[0] /= math.sqrt(2.0)
    return basis


CANDIDATES = {
    "block diagonal": block_diagonal,
    "V-cycle": multigrid.Cycle.of,
    "V-cycle, series": Cycle,
    "V-cycle, face": partial(Cycle, mean="face"),
    "V-cycle, Galerkin": partial(Cycle, mean="face", scale=1.0),
    "V-cycle, Chebyshev 2": partial(Cycle, smoothing=2),
    "two grids, series": partial(Cycle, levels=2),
    "additive, series": Additive,
    "additive, Galerkin": partial(Additive, mean="face", scale=1.0),
    "Chebyshev 4": lambda system: partial(chebyshev, system, degree=4, span=30.0),
    "cosines": Cosine,
}
