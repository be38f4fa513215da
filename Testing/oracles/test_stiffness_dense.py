"""Painted stiffness against dense matrices: the energy, its minimizing weight, and the Newton system of one level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.functional import warp
from SPRCore.registration import register_instance
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.level import (
    LevelImages,
    completed,
    evaluation,
    image_curvature,
    newton_update,
)
from SPRCore.registration.pyramid import Level
from SPRCore.regularization import (
    BetaPrior,
    GaussianPrior,
    TotalVariationPrior,
    UniformPrior,
    most_probable_weight,
    squared_gradient,
)
from SPRCore.similarity import FixedStatistics

SHAPE, SPACING = (5, 4, 3), (1.0, 0.5, 2.5)
LEVEL = Level(shape=SHAPE, spacing=SPACING)
VOXELS = list(itertools.product(*(range(n) for n in SHAPE)))
INDEX = {voxel: i for i, voxel in enumerate(VOXELS)}
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
PRIORS = [
    BetaPrior(alpha=0.01),
    BetaPrior(alpha=0.3, beta=1.5),
    GaussianPrior(),
    TotalVariationPrior(tv=0.3, lambda_max=2.0),
    UniformPrior(),
]
NAMED = {"argvalues": PRIORS, "ids": lambda prior: f"{prior.name}-{prior.scale:g}"}


@pytest.fixture
def stiffness():
    return torch.as_tensor(np.exp(np.random.default_rng(7).normal(0, 1.5, (1, 1, *SHAPE))))


@pytest.fixture
def images(random_image, stiffness):
    statistics = FixedStatistics.of(random_image(SHAPE, 0), (1, 1, 1))
    return LevelImages(level=LEVEL, grid=LEVEL, fixed=statistics, moving=random_image(SHAPE, 1), stiffness=stiffness)


@pytest.fixture
def velocity(random_displacement):
    return random_displacement(SHAPE, 3, 0.6) * torch.tensor(SPACING).view(1, 3, 1, 1, 1)


def evaluate_level(*arguments):
    return completed(evaluation(*arguments))


def newton_step(*arguments):
    return completed(newton_update(*arguments))


def box_matrix(pool):
    """The mean over a box with the border mirrored, as a matrix."""
    matrix = np.zeros((len(VOXELS), len(VOXELS)))
    for voxel in VOXELS:
        offsets = itertools.product(*(range(-r, r + 1) for r in pool))
        cells = [tuple(mirrored(v + o, n) for v, o, n in zip(voxel, step, SHAPE, strict=True)) for step in offsets]
        for cell in cells:
            matrix[INDEX[voxel], INDEX[cell]] += 1 / len(cells)
    return matrix


def mirrored(index, size):
    return -index - 1 if index < 0 else 2 * size - 1 - index if index >= size else index


def differences(field):
    """All differences of a field of one component over the spacing: pairs of voxels and values."""
    for voxel, axis in itertools.product(VOXELS, range(3)):
        other = tuple(v + (i == axis) for i, v in enumerate(voxel))
        if other in INDEX:
            yield voxel, other, (field[other] - field[voxel]) / SPACING[axis]


def oracle(velocity, stiffness, prior, pool):
    """Weight times stiffness, regularizer and dense Laplacian for it, from loops and matrices alone."""
    local = np.zeros(len(VOXELS))
    for component in velocity[0].numpy():
        for one, other, value in differences(component):
            for end in (one, other):
                local[INDEX[end]] += value**2 / 18
    mean, q = box_matrix(pool), stiffness.numpy().ravel()
    pooled = mean @ (q * local)
    free = prior.map_weight(torch.as_tensor(pooled)).numpy()
    weight = q * (mean @ free)
    energy = prior.scale * (weight * local) + prior.penalty(torch.as_tensor(free)).numpy()
    laplacian = np.zeros((len(VOXELS), len(VOXELS)))
    for one, other, _ in differences(np.zeros(SHAPE)):
        axis = int(np.argmax(np.subtract(other, one)))
        i, j = INDEX[one], INDEX[other]
        edge = 0.5 * (weight[i] + weight[j]) / SPACING[axis] ** 2
        laplacian[[i, j, i, j], [i, j, j, i]] += edge, edge, -edge, -edge
    return weight, energy.mean(), laplacian


@pytest.mark.parametrize("pool", [(0, 0, 0), (1, 1, 1), (1, 0, 1)])
@pytest.mark.parametrize("prior", **NAMED)
def test_energy_and_weight_are_those_of_dense_sums(images, velocity, stiffness, prior, pool):
    weight, regularizer, _ = oracle(velocity, stiffness, prior, pool)
    state = evaluate_level(images, velocity, prior, pool)
    np.testing.assert_allclose(state.weight.numpy().ravel(), weight, rtol=1e-9)
    found = most_probable_weight(velocity, SPACING, prior, pool=pool, stiffness=images.stiffness)
    np.testing.assert_allclose(found.numpy().ravel(), weight, rtol=1e-9)
    assert state.energy == pytest.approx(1 - state.similarity + regularizer, rel=1e-9)


@pytest.mark.parametrize("prior", PRIORS[:4])
def test_no_other_weight_has_less_energy(images, velocity, stiffness, prior):
    """The weight in closed form minimizes r·q·w·s + penalty(w) in every voxel, found here by trying many."""
    state = evaluate_level(images, velocity, prior, (0, 0, 0))
    w = torch.linspace(1e-4, 0.9999, 4001, dtype=torch.float64)
    local = squared_gradient(velocity, SPACING)
    costs = prior.scale * w * (stiffness * local).view(-1, 1) + prior.penalty(w)
    best = w[costs.argmin(dim=1)]
    np.testing.assert_allclose((state.weight / stiffness).numpy().ravel(), best, atol=4e-4)


@pytest.mark.parametrize("prior", **NAMED)
def test_the_step_solves_the_dense_system(images, velocity, stiffness, prior):
    pool, damping = (1, 1, 1), 1e-3
    state = evaluate_level(images, velocity, prior, pool)
    (force,) = torch.autograd.grad(state.warped, state.velocity_mm, -state.data_force, retain_graph=True)
    _, _, laplacian = oracle(velocity, stiffness, prior, pool)
    laplacian = np.kron(2 * prior.scale / 9 * laplacian, np.eye(3))
    curvature = image_curvature(state.warped.detach(), 2 * state.data_curvature, SPACING)
    matrix = laplacian + damping * float(curvature[:, [0, 3, 5]].mean()) * np.eye(3 * len(VOXELS))
    for i, voxel in enumerate(VOXELS):
        for value, (a, b) in zip(curvature[(0, slice(None), *voxel)].tolist(), PAIRS, strict=True):
            matrix[3 * i + a, 3 * i + b] += value
            matrix[3 * i + b, 3 * i + a] += value if a != b else 0
    right = -(flat(force) + laplacian @ flat(velocity))
    left = right - matrix @ flat(newton_step(images, state, prior.scale, 2000, damping))
    blocks = np.kron(np.eye(len(VOXELS)), np.ones((3, 3))) * matrix
    # The solver ends when its residual, preconditioned by the blocks of the diagonal, is 3 % of the first.
    assert left @ np.linalg.solve(blocks, left) < 0.0302**2 * (right @ np.linalg.solve(blocks, right))


def flat(field):
    return field[0].permute(1, 2, 3, 0).reshape(-1).numpy()


def test_a_stiffness_of_one_number_is_another_strength(random_image):
    """q·r instead of r; the weight that comes back is q·w, λ over the strength of the prior."""
    fixed, moving = (random_image((16, 14, 12), seed, dtype=torch.float32) for seed in (0, 1))
    painted = register_instance(fixed, moving, (1, 1, 1), UniformPrior(strength=0.5), stiffness=fixed * 0 + 4)
    stronger = register_instance(fixed, moving, (1, 1, 1), UniformPrior(strength=2.0))
    torch.testing.assert_close(painted.displacement_vox, stronger.displacement_vox, atol=2e-3, rtol=0)
    torch.testing.assert_close(painted.weight, 4 * stronger.weight)


def test_what_is_painted_stiff_deforms_less_and_what_is_soft_more(random_image, random_displacement):
    shape = (24, 20, 18)
    moving = random_image(shape, 0, dtype=torch.float32)
    fixed = warp(moving, random_displacement(shape, 1, 2.5, dtype=torch.float32))
    region = torch.zeros_like(fixed)
    region[:, :, 6:18, 6:14, 6:12] = 1

    def strain(factor):
        prior = BetaPrior(alpha=0.1, lambda_max=1.0)
        found = register_instance(fixed, moving, (1, 1, 1), prior, stiffness=1 + (factor - 1) * region)
        return float(squared_gradient(found.displacement_vox)[region > 0].mean())

    assert strain(100.0) < 0.5 * strain(1.0) < strain(0.05)


def test_levels_average_factors_by_their_logarithms(random_image):
    fixed, moving = (random_image((48, 48, 48), seed, dtype=torch.float32) for seed in (0, 1))
    factors = torch.where(torch.arange(48).view(-1, 1, 1) % 2 == 0, 10.0, 0.1).expand(1, 1, 48, 48, 48)
    problem = InstanceProblem.of(fixed, moving, (1.0, 1.0, 1.0), stiffness=factors)
    assert torch.allclose(problem.levels[-1].stiffness, factors)
    coarsest = problem.levels[0].stiffness
    assert coarsest.shape[2:] == problem.levels[0].grid.shape
    assert coarsest.log()[:, :, 1:-1].abs().max() < 0.3  # without smoothing it would be log 10 = 2.3
    assert problem.stiffened(None).levels[0].stiffness is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_factors_that_are_not_above_zero_are_refused(random_image, wrong):
    fixed, moving = (random_image((16, 14, 12), seed, dtype=torch.float32) for seed in (0, 1))
    painted = torch.ones_like(fixed)
    painted[..., 3, 3, 3] = wrong
    with pytest.raises(InputError, match="stiffness"):
        register_instance(fixed, moving, (1, 1, 1), UniformPrior(), stiffness=painted)
    with pytest.raises(InputError, match="stiffness"):
        register_instance(fixed, moving, (1, 1, 1), UniformPrior(), stiffness=painted[..., :-1])
