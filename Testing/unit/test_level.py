"""The energy of one level and its derivative against difference quotients, and the curvature of its data term."""

from __future__ import annotations

import pytest
import torch

from SPRCore.functional import gradient, integrate, mirrored_box_mean, warp
from SPRCore.registration.level import LevelImages, completed, evaluation, image_curvature, newton_update
from SPRCore.registration.newton import outer_product
from SPRCore.registration.pyramid import Level
from SPRCore.regularization import (
    BetaPrior,
    GaussianPrior,
    TotalVariationPrior,
    UniformPrior,
    edge_weights,
    squared_gradient,
)
from SPRCore.regularization.diffusion import TERMS, weighted_laplacian
from SPRCore.similarity import FixedStatistics, lncc

SHAPE, SPACING = (18, 16, 14), (1.0, 1.5, 2.0)
LEVEL = Level(shape=SHAPE, spacing=SPACING)
COARSE = Level(shape=(9, 8, 7), spacing=(17 / 8, 1.5 * 15 / 7, 2.0 * 13 / 6))
PRIORS = [BetaPrior(alpha=0.001), GaussianPrior(), TotalVariationPrior(), UniformPrior()]
NAMED = {"argvalues": PRIORS, "ids": lambda prior: prior.name}


def evaluate_level(*arguments):
    return completed(evaluation(*arguments))


def newton_step(*arguments):
    return completed(newton_update(*arguments))


def velocity_on(random_displacement, grid, seed=2, length=0.8):
    return random_displacement(grid.shape, seed, length, dtype=torch.float64) * torch.tensor(grid.spacing).view(
        1, 3, 1, 1, 1
    )


@pytest.fixture
def velocity_mm(random_displacement):
    return velocity_on(random_displacement, LEVEL)


def level_of(random_image, mask=None, grid=LEVEL):
    statistics = FixedStatistics.of(random_image(SHAPE, 0, sigma=2.5), (3, 2, 2), mask)
    return LevelImages(level=LEVEL, grid=grid, fixed=statistics, moving=random_image(SHAPE, 1, sigma=2.5))


def mask_of(random_image, masked):
    return (random_image(SHAPE, 9, sigma=3.0) > 0.45) if masked else None


def data_force(images, state):
    """Derivative of minus the mean squared correlation with respect to the velocity, the graph kept."""
    (force,) = torch.autograd.grad(
        state.warped, state.velocity_mm, -state.data_force / images.fixed.total, retain_graph=True
    )
    return force


def energy_gradient(images, state, scale):
    """Derivative of the whole energy: the weight drops out of it, being the minimiser."""
    edges = edge_weights(state.weight * (2.0 * scale / TERMS), images.grid.spacing)
    smooth = weighted_laplacian(state.velocity_mm.detach(), edges) / state.velocity_mm[:, 0].numel()
    return images.share * data_force(images, state) + smooth  # voxels without data count as perfect


def quotient(function, velocity, direction, step):
    return (function(velocity + step * direction) - function(velocity - step * direction)) / (2.0 * step)


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
@pytest.mark.parametrize("grid", [LEVEL, COARSE], ids=["same grid", "coarser grid"])
@pytest.mark.parametrize("steepest", [True, False])
def test_the_force_predicts_the_change_of_similarity(random_image, random_displacement, masked, grid, steepest):
    images, velocity = (
        level_of(random_image, mask_of(random_image, masked), grid),
        velocity_on(random_displacement, grid),
    )
    force = data_force(images, evaluate_level(images, velocity, UniformPrior(), (0, 0, 0)))
    direction = -force / force.abs().amax() if steepest else velocity_on(random_displacement, grid, seed=5)
    predicted = -float((force * direction).sum())

    def similarity(field):
        return evaluate_level(images, field, UniformPrior(), (0, 0, 0)).similarity

    assert quotient(similarity, velocity, direction, 1e-5) == pytest.approx(predicted, rel=1e-3)
    assert similarity(velocity + 0.005 * direction) - similarity(velocity) == pytest.approx(0.005 * predicted, rel=0.05)


@pytest.mark.parametrize("grid", [LEVEL, COARSE], ids=["same grid", "coarser grid"])
def test_the_force_at_rest_is_that_of_both_sides(random_image, random_displacement, grid):
    # At voxel centers linear interpolation has a kink; one-sided slopes would make the first step know left from right.
    images, rest = level_of(random_image, grid=grid), torch.zeros(1, 3, *grid.shape, dtype=torch.float64)
    state = evaluate_level(images, rest, UniformPrior(), (0, 0, 0))
    torch.testing.assert_close(state.warped.detach(), images.moving)
    force = data_force(images, state)
    inner = torch.zeros_like(force)
    inner[..., 1:-1, 1:-1, 1:-1] = 1.0  # at the border there is one side only
    for direction in (-inner * force / force.abs().amax(), inner * velocity_on(random_displacement, grid, seed=5)):

        def similarity(field):
            return evaluate_level(images, field, UniformPrior(), (0, 0, 0)).similarity

        predicted = -float((force * direction).sum())
        assert quotient(similarity, rest, direction, 1e-5) == pytest.approx(predicted, rel=1e-3)


@pytest.mark.parametrize("pool", [(0, 0, 0), (1, 1, 0), (2, 30, 1)])
@pytest.mark.parametrize("grid", [LEVEL, COARSE], ids=["same grid", "coarser grid"])
@pytest.mark.parametrize("prior", **NAMED)
def test_the_gradient_predicts_the_change_of_energy(random_image, random_displacement, prior, grid, pool):
    images, velocity = level_of(random_image, grid=grid), velocity_on(random_displacement, grid)
    slope = energy_gradient(images, evaluate_level(images, velocity, prior, pool), prior.scale)
    for direction in (slope / slope.abs().amax(), velocity_on(random_displacement, grid, seed=5)):

        def energy(field):
            return evaluate_level(images, field, prior, pool).energy

        predicted = float((slope * direction).sum())
        assert quotient(energy, velocity, direction, 1e-5) == pytest.approx(predicted, rel=1e-3)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("grid", [LEVEL, COARSE], ids=["same grid", "coarser grid"])
def test_a_strongly_damped_newton_step_goes_down_the_gradient(random_image, random_displacement, grid, masked):
    images, velocity = (
        level_of(random_image, mask_of(random_image, masked), grid),
        velocity_on(random_displacement, grid),
    )
    prior = BetaPrior(alpha=0.001)
    state = evaluate_level(images, velocity, prior, (1, 1, 1))
    expected = -energy_gradient(images, state, prior.scale)
    update = newton_step(images, state, prior.scale, 30, 1e8)
    torch.testing.assert_close(update / update.norm(), expected / expected.norm(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("grid", [LEVEL, COARSE], ids=["same grid", "coarser grid"])
@pytest.mark.parametrize("prior", **NAMED)
def test_a_small_newton_step_lowers_the_energy(random_image, random_displacement, prior, grid):
    images, velocity = level_of(random_image, grid=grid), velocity_on(random_displacement, grid)
    before = velocity.clone()
    state = evaluate_level(images, velocity, prior, (1, 1, 1))
    update = newton_step(images, state, prior.scale, 10, 1e-3)
    assert update.shape == velocity.shape
    assert not update.requires_grad
    assert evaluate_level(images, velocity + 0.1 * update, prior, (1, 1, 1)).energy < state.energy
    assert torch.equal(velocity, before)
    assert not velocity.requires_grad


@pytest.mark.parametrize("pool", [(0, 0, 0), (1, 1, 1)])
def test_an_update_of_the_weight_never_raises_the_energy(random_image, random_displacement, pool):
    # With the weight held fixed the regularizer is quadratic in v and touches the profile from above.
    prior, images = BetaPrior(alpha=0.001), level_of(random_image)
    first, second = (velocity_on(random_displacement, LEVEL, seed) for seed in (2, 3))
    state, other = (evaluate_level(images, v, prior, pool) for v in (first, second))

    def held(field):
        return float((prior.scale * state.weight * squared_gradient(field, SPACING)).mean())

    free = prior.map_weight(mirrored_box_mean(squared_gradient(first, SPACING), pool))
    penalty = float(prior.penalty(free).mean())
    assert state.energy == pytest.approx(1.0 - state.similarity + held(first) + penalty, rel=1e-9)
    assert other.energy <= 1.0 - other.similarity + held(second) + penalty


def test_the_curvature_is_positive_and_no_less_than_that_of_the_central_slope(random_image):
    image, scale = random_image(SHAPE, 1, sigma=0.6), random_image(SHAPE, 2).abs()
    curvature = image_curvature(image, scale, SPACING)
    order = torch.tensor([0, 1, 2, 1, 3, 4, 2, 4, 5])
    for matrix in (curvature, curvature - outer_product(gradient(image, SPACING), scale)):
        full = matrix[:, order].movedim(1, -1).unflatten(-1, (3, 3))
        assert torch.linalg.eigvalsh(full).amin() >= -1e-12 * curvature.amax()


def test_the_curvature_of_a_ramp_is_its_squared_slope():
    points = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SHAPE), indexing="ij"))
    slope = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    image = torch.einsum("i,ixyz->xyz", slope * torch.tensor(SPACING), points)[None, None]
    curvature = image_curvature(image, torch.full_like(image, 2.0), SPACING)
    expected = torch.stack([2.0 * slope[i] * slope[j] for i in range(3) for j in range(i, 3)]).view(1, 6, 1, 1, 1)
    torch.testing.assert_close(curvature, expected.expand_as(curvature))


def test_a_ridge_has_curvature_where_its_central_slope_vanishes():
    image = torch.zeros(1, 1, 7, 3, 3)
    image[:, :, 3] = 1.0
    curvature = image_curvature(image, torch.ones_like(image), (0.5, 1.0, 1.0))
    assert (gradient(image)[:, 0, 3] == 0).all()
    assert (curvature[:, 0, 3] == 4.0).all()
    assert (curvature[:, 1:, 3] == 0).all()
