"""The energy of one level and its linearisation against difference quotients."""

from __future__ import annotations

import pytest
import torch

from SPRCore.functional import box_mean, integrate, resize_displacement, warp
from SPRCore.registration.level import LevelImages, evaluate_level, newton_step
from SPRCore.registration.pyramid import Level
from SPRCore.regularization import BetaPrior, GaussianPrior, UniformPrior, edge_weights, squared_gradient
from SPRCore.regularization.diffusion import TERMS, weighted_laplacian
from SPRCore.similarity import FixedStatistics, lncc

SHAPE, SPACING = (18, 16, 14), (1.0, 1.5, 2.0)
PRIORS = [BetaPrior(alpha=0.001), GaussianPrior(), UniformPrior()]
NAMED = {"argvalues": PRIORS, "ids": lambda prior: prior.name}


@pytest.fixture
def velocity_mm(random_displacement):
    spacing = torch.tensor(SPACING).view(1, 3, 1, 1, 1)
    return random_displacement(SHAPE, seed=2, length=0.8, dtype=torch.float64) * spacing


def level_of(random_image, mask=None, grid=None):
    level = Level(shape=SHAPE, spacing=SPACING)
    statistics = FixedStatistics.of(random_image(SHAPE, 0, sigma=2.5), (3, 2, 2), mask)
    return LevelImages(level=level, grid=grid or level, fixed=statistics, moving=random_image(SHAPE, 1, sigma=2.5))


@pytest.mark.parametrize("prior", **NAMED)
def test_the_energy_is_that_of_the_paper(random_image, velocity_mm, prior):
    images = level_of(random_image)
    state = evaluate_level(images, velocity_mm, prior, (0, 0, 0))
    displacement = integrate(velocity_mm / images.spacing, 7)
    similarity = float(lncc(images.fixed, warp(images.moving, displacement)))
    assert state.similarity == pytest.approx(similarity, abs=2e-3)
    profile = float(prior.profile(squared_gradient(velocity_mm, SPACING)).mean())
    assert state.energy == pytest.approx(1.0 - state.similarity + profile, rel=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_the_force_predicts_the_change_of_similarity(random_image, random_displacement, masked):
    mask = (random_image(SHAPE, 9, sigma=3.0) > 0.45) if masked else None
    images, zero = level_of(random_image, mask), torch.zeros(1, 3, *SHAPE, dtype=torch.float64)
    state = evaluate_level(images, zero, UniformPrior(), (0, 0, 0))
    direction = -state.force / state.force.norm(dim=1).amax()
    length = 0.02
    predicted = -float((state.force * direction).sum()) * length / zero[0, 0].numel()
    moved = evaluate_level(images, length * direction, UniformPrior(), (0, 0, 0))
    assert moved.similarity - state.similarity == pytest.approx(predicted, rel=0.1)


def test_the_force_on_a_coarser_grid_predicts_it_too(random_image):
    grid = Level(shape=(9, 8, 7), spacing=tuple(17 / 8 * s for s in SPACING))
    images, zero = level_of(random_image, grid=grid), torch.zeros(1, 3, 9, 8, 7, dtype=torch.float64)
    state = evaluate_level(images, zero, UniformPrior(), (0, 0, 0))
    direction = -state.force / state.force.norm(dim=1).amax()
    predicted = -float((state.force * direction).sum()) * 0.02 / zero[0, 0].numel()
    displacement = resize_displacement(0.02 * direction / images.spacing, SHAPE)
    moved = float(lncc(images.fixed, warp(images.moving, displacement)))
    # Means over coarse cells are nearly, not exactly, the transpose of interpolation.
    assert moved - state.similarity == pytest.approx(predicted, rel=0.5)


@pytest.mark.parametrize("pool", [(0, 0, 0), (1, 1, 0)])
@pytest.mark.parametrize("prior", **NAMED)
def test_the_weighted_laplacian_is_the_gradient_of_the_profile(velocity_mm, prior, pool):
    inner = torch.zeros_like(velocity_mm)
    inner[..., 4:-4, 4:-4, 4:-4] = 1.0  # box means are their own transpose away from the border
    velocity = velocity_mm * inner

    def regularizer(field):
        return float(prior.profile(box_mean(squared_gradient(field, SPACING), pool)).sum())

    free = prior.map_weight(box_mean(squared_gradient(velocity, SPACING), pool))
    edges = edge_weights(box_mean(free, pool) * (2.0 * prior.strength / TERMS), SPACING)
    direction = velocity.roll(1, dims=2) * inner
    predicted = float((weighted_laplacian(velocity, edges) * direction).sum())
    step = 1e-5
    change = regularizer(velocity + step * direction) - regularizer(velocity - step * direction)
    assert change / (2 * step) == pytest.approx(predicted, rel=1e-3)


@pytest.mark.parametrize("prior", **NAMED)
def test_a_small_newton_step_lowers_the_energy(random_image, velocity_mm, prior):
    images = level_of(random_image)
    state = evaluate_level(images, velocity_mm, prior, (1, 1, 1))
    update = newton_step(images, velocity_mm, state, prior.strength, 10, 1e-3)
    assert update.shape == velocity_mm.shape
    after = evaluate_level(images, velocity_mm + 0.1 * update, prior, (1, 1, 1))
    assert after.energy < state.energy


def test_the_curvature_is_positive(random_image, velocity_mm):
    state = evaluate_level(level_of(random_image), velocity_mm, UniformPrior(), (0, 0, 0))
    assert (state.curvature[:, [0, 3, 5]] >= 0).all()
    a, b, _, d, _, _ = state.curvature.unbind(1)
    assert (a * d - b * b >= -1e-12 * (a * d).amax()).all()
