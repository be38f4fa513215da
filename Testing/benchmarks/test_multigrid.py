"""The V-cycle for the system of a step: a symmetric positive preconditioner that does not care for the grid."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.registration.newton import NewtonSystem, conjugate_gradients, symmetric_product
from SPRCore.regularization import edge_weights

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from multigrid import Cycle, coarser, halved
from preconditioners import CANDIDATES


def made(shape, seed=0, spacing=(1.0, 1.0, 1.0), curvature=1e-3, wall=None):
    """A system with weights from 1e-6 to 1 at random, or of 1e-6 in two thin walls alone, and curvature at random."""
    generator = torch.Generator().manual_seed(seed)
    weight = 10.0 ** (-6.0 * torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64))
    if wall is not None:
        weight = 0.5 + 0.5 * weight
        weight[:, :, wall : wall + 2] = weight[:, :, :, wall + 1 : wall + 3] = 1e-6
    matrix = torch.zeros(1, 6, *shape, dtype=torch.float64)
    matrix[:, [0, 3, 5]] = curvature * torch.rand(1, 3, *shape, generator=generator, dtype=torch.float64)
    return NewtonSystem.of(matrix, edge_weights(weight, spacing), damping=1e-6)


def field(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, *shape, generator=generator, dtype=torch.float64)


sizes = st.tuples(*[st.integers(1, 30)] * 3)


@given(shape=sizes, seed=st.integers(0, 99), spacing=st.sampled_from([(1.0, 1.0, 1.0), (1.0, 1.5, 6.0)]))
def test_the_cycle_is_symmetric_and_positive(shape, seed, spacing):
    cycle = Cycle.of(made(shape, seed, spacing))
    one, two = field(shape, seed + 1), field(shape, seed + 2)
    there, back = float((cycle(one) * two).sum()), float((one * cycle(two)).sum())
    size = float((cycle(one) * one).sum())
    assert size > 0.0
    assert abs(there - back) < 1e-8 * (size + float((cycle(two) * two).sum()))


@given(shape=st.tuples(*[st.integers(12, 25)] * 3))
def test_of_a_constant_weight_the_coarser_system_is_that_of_twice_the_spacing(shape):
    shape = tuple(size - size % 2 for size in shape)
    weight = torch.ones(1, 1, *shape, dtype=torch.float64)
    system = NewtonSystem.of(torch.ones(1, 6, *shape, dtype=torch.float64), edge_weights(weight), damping=0.0)
    found = coarser(system, (2, 2, 2))
    twice = edge_weights(weight[:, :, ::2, ::2, ::2], (2.0, 2.0, 2.0))
    for axis, (edge, wanted) in enumerate(zip(found.edges, twice, strict=True)):
        inside = edge.narrow(axis + 2, 0, edge.shape[axis + 2] - 1)
        # Eight voxels to a cell: sums over voxels become sums over cells.
        torch.testing.assert_close(inside, 8.0 * wanted.narrow(axis + 2, 0, inside.shape[axis + 2]))
    torch.testing.assert_close(found.curvature, torch.full_like(found.curvature, 8.0))


def test_axes_that_are_short_or_weakly_coupled_keep_their_voxels():
    assert halved(made((16, 16, 16))) == (2, 2, 2)
    assert halved(made((16, 16, 16), spacing=(1.0, 1.0, 4.0))) == (2, 2, 1)
    assert halved(made((16, 11, 16))) == (2, 1, 2)
    assert halved(made((11, 8, 3))) == ()


@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 32, 32), (48, 48, 24)])
def test_iterations_do_not_grow_with_the_grid(shape):
    system, right = made(shape, curvature=1e-3, wall=7), field(shape, 7)

    block = partial(symmetric_product, system.inverse_diagonal)
    solution = conjugate_gradients(system.apply, Cycle.of(system), right, 200, 1e-12)

    def missing(precondition, iterations):
        """Part of the decrease of the quadratic model that is still to come."""
        error = conjugate_gradients(system.apply, precondition, right, iterations, 1e-12) - solution
        return float((error * system.apply(error)).sum() / (solution * right).sum())

    assert missing(Cycle.of(system), 4) < 0.02
    assert missing(Cycle.of(system), 2) < missing(block, 12)


def test_iterations_end_at_the_solution():
    shape = (25, 13, 14)
    system, wanted = made(shape, curvature=1.0), field(shape, 3)
    found = conjugate_gradients(system.apply, Cycle.of(system), system.apply(wanted), 60, 1e-13)
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("name", CANDIDATES)
def test_all_candidates_are_symmetric_and_positive(name):
    shape = (26, 15, 14)
    precondition = CANDIDATES[name](made(shape))
    one, two = field(shape, 1), field(shape, 2)
    there, back = float((precondition(one) * two).sum()), float((one * precondition(two)).sum())
    size = float((precondition(one) * one).sum())
    assert size > 0.0
    assert abs(there - back) < 1e-3 * size  # two grids end by a tolerance
