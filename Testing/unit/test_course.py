"""Pause and resumption of a registration, and checks of a job."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from SPRCore import BetaPrior, RegistrationOptions, UniformPrior, Volume, register
from SPRCore.errors import InputError
from SPRCore.registration import InstanceConfig, register_instance
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.job import make_job, stiffness_on
from SPRCore.registration.level import completed, evaluation, newton_update
from SPRCore.registration.solver import LOW_WEIGHT, near_low_weight

SPACING = (1.0, 1.2, 1.5)
CONFIG = InstanceConfig(steps=(3, 3, 2))


@pytest.fixture(scope="module")
def pair(random_image):
    return [random_image((28, 24, 20), seed, dtype=torch.float32) for seed in (0, 1)]


def test_a_course_left_in_the_middle_and_gone_on_with_gives_the_same(pair):
    problem = InstanceProblem.of(*pair, SPACING, CONFIG)
    expected = register_instance(*pair, SPACING, BetaPrior(), CONFIG)
    course, other = problem.course(BetaPrior()), problem.course(BetaPrior(alpha=0.5))
    parts = 0
    while course.advance():
        parts += 1
        other.advance()  # a second one on the same pair, in turns
    assert torch.equal(course.result.displacement_vox, expected.displacement_vox)
    assert torch.equal(course.result.weight, expected.weight)
    assert parts > 3 * (3 + 3 + 2)  # several pauses in every step


def test_an_exception_of_the_callback_leaves_the_course_where_it_is(pair):
    course = InstanceProblem.of(*pair, SPACING, CONFIG).course(BetaPrior())

    def stop(fraction):
        if fraction > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        course.completed(stop)
    assert 0.1 < course.fraction < 1
    result = course.completed()
    expected = register_instance(*pair, SPACING, BetaPrior(), CONFIG)
    assert torch.equal(result.displacement_vox, expected.displacement_vox)


def volume(seed, shape=(20, 18, 16)):
    from scipy.ndimage import gaussian_filter

    return Volume(gaussian_filter(np.random.default_rng(seed).random(shape, dtype=np.float32), 1.5), np.eye(4))


def test_a_stiffness_reaches_the_solver_from_any_grid():
    fixed, moving = volume(0), volume(1)
    small = Volume(np.full((5, 5, 5), 7.0, dtype=np.float32), np.eye(4))
    on_fixed = stiffness_on(small, fixed.grid).array
    assert (on_fixed[:5, :5, :5] == 7).all()
    assert (on_fixed[6:] == 1).all()
    painted = Volume(np.full(fixed.shape, 30.0, dtype=np.float32), fixed.affine)
    options = {"prior": BetaPrior(alpha=0.1, lambda_max=0.2), "init": "none"}
    free, stiff = (
        register(fixed, moving, options=RegistrationOptions(stiffness=q, config=CONFIG), **options)
        for q in (None, painted)
    )
    assert stiff.weight.array.min() > 10 * free.weight.array.min()
    assert np.abs(stiff.displacement.array).mean() < 0.5 * np.abs(free.displacement.array).mean()


@pytest.mark.parametrize("wrong", [0, -2, np.nan])
def test_a_stiffness_that_is_none_is_refused(wrong):
    array = np.ones((20, 18, 16))
    array[2, 2, 2] = wrong
    with pytest.raises(InputError, match=r"stiffness.*above 0"):
        register(volume(0), volume(1), options=RegistrationOptions(stiffness=Volume(array, np.eye(4))))


def test_a_stiffness_for_a_network_alone_is_refused_with_the_reason(tiny_network, card_for):
    from SPRCore.registration import LoadedModel

    network = tiny_network("voxelmorph")
    model = LoadedModel(network=network, card=card_for(network), sha256="0")
    painted = Volume(np.ones((20, 18, 16)), np.eye(4))
    with pytest.raises(InputError, match="refine"):
        make_job(model, painted.grid, torch.device("cpu"), stiffness=painted)
    assert make_job(model, painted.grid, torch.device("cpu"), stiffness=painted, refine=3).stiffness is not None


CORRECTED = InstanceConfig(steps=(3, 6), corrections=3, velocity_voxels=1000, pool=0, tolerance=0.0)


def test_the_last_steps_correct_the_velocity_at_full_resolution_and_lower_the_energy(pair):
    result = register_instance(*pair, SPACING, BetaPrior(alpha=0.01, lambda_max=5.0), CORRECTED)
    assert result.velocity_mm.shape[2:] == pair[0].shape[2:]
    assert len(result.energies) == len(CORRECTED.steps) + 1
    last = result.energies[-1]
    assert len(last) > 1
    assert all(later < earlier for earlier, later in itertools.pairwise(last))


def test_where_the_weight_is_low_nowhere_nothing_is_corrected(pair):
    plain = dataclasses.replace(CORRECTED, corrections=0)
    result, expected = (register_instance(*pair, SPACING, UniformPrior(), config) for config in (CORRECTED, plain))
    torch.testing.assert_close(result.displacement_vox, expected.displacement_vox)
    assert result.velocity_mm.shape == expected.velocity_mm.shape


def test_a_step_that_is_held_somewhere_moves_nothing_there(pair):
    problem = InstanceProblem.of(*pair, SPACING, CORRECTED)
    images = problem.levels[-1].with_full_velocity()
    assert images.grid == images.level
    start = torch.zeros((1, 3, *images.grid.shape))
    where = torch.zeros_like(start[:, :1])
    where[:, :, 5:12] = 1.0
    update = completed(
        newton_update(images, completed(evaluation(images, start, BetaPrior(), (0, 0, 0))), 1.0, 8, 1e-3, where)
    )
    moved = update.abs().amax(dim=(0, 1, 3, 4)) > 0
    assert moved.tolist() == [5 <= plane < 12 for plane in range(images.grid.shape[0])]


NOISY = InstanceConfig(steps=(6,), pool=0, tolerance=0.0, stop_at_noise=True)


def test_two_noisy_images_of_the_same_are_left_where_they_are(random_image):
    image = random_image((28, 24, 20), 0, sigma=2.5, dtype=torch.float32)
    generator = torch.Generator().manual_seed(4)
    noise = 0.15 * image.std() * torch.randn((2, *image.shape[1:]), generator=generator)
    noisy = image + noise[:1], image + noise[1:]
    still, moved = (
        register_instance(*noisy, SPACING, UniformPrior(), dataclasses.replace(NOISY, stop_at_noise=stops))
        for stops in (True, False)
    )
    lengths = [float(result.displacement_vox.square().sum(dim=1).sqrt().mean()) for result in (still, moved)]
    assert lengths[0] < 0.3 * lengths[1]
    assert still.similarity < moved.similarity


def test_where_the_images_match_less_than_noise_allows_nothing_is_held(pair):
    found = [
        register_instance(*pair, SPACING, UniformPrior(), dataclasses.replace(NOISY, stop_at_noise=stops))
        for stops in (True, False)
    ]
    assert found[0].similarity < 0.9
    assert torch.equal(found[0].displacement_vox, found[1].displacement_vox)


def test_a_step_that_gains_nothing_ends_all_steps(pair):
    config = dataclasses.replace(NOISY, corrections=3, velocity_voxels=1000)
    result = register_instance(pair[0], pair[0], SPACING, UniformPrior(), config)
    assert result.energies == ((result.energies[0][0],),)
    assert float(result.displacement_vox.abs().amax()) == 0.0


def test_a_low_weight_reaches_one_voxel_around_and_a_painted_stiffness_makes_none_low(pair):
    images = InstanceProblem.of(*pair, SPACING, CONFIG).levels[-1]
    weight = torch.full((1, 1, *images.grid.shape), 2.0 * LOW_WEIGHT)
    weight[:, :, 5, 6, 7] = 0.4 * LOW_WEIGHT
    low = near_low_weight(images, weight)
    assert float(low.sum()) == 27
    assert float(low[:, :, 4:7, 5:8, 6:9].sum()) == 27
    painted = dataclasses.replace(images, stiffness=torch.full_like(weight, 0.1))
    assert torch.equal(near_low_weight(painted, 0.1 * weight), low)
