"""The instance solver: results, guarantees and refused input. No number depends on its tuning."""

from __future__ import annotations

import itertools

import pytest
import torch

from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import compose, jacobian_determinant, warp
from SPRCore.registration import InstanceConfig, register_instance
from SPRCore.registration.instance import InstanceProblem
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior

SHAPE, SPACING = (28, 24, 20), (1.0, 1.2, 1.5)
INNER = (..., slice(4, -4), slice(4, -4), slice(4, -4))
PRIORS = [
    BetaPrior(),
    BetaPrior(alpha=1.0, lambda_max=2.0, beta=2.0),
    GaussianPrior(),
    TotalVariationPrior(),
    UniformPrior(strength=1.0),
]


@pytest.fixture(scope="module")
def truth(random_displacement):
    return random_displacement(SHAPE, seed=1, length=2.5, sigma=4.0, dtype=torch.float32)


@pytest.fixture(scope="module")
def pair(random_image, truth):
    moving = random_image(SHAPE, seed=0, dtype=torch.float32)
    return warp(moving, truth), moving


@pytest.fixture(scope="module", params=PRIORS, ids=lambda prior: prior.name)
def solved(request, pair):
    return register_instance(*pair, SPACING, request.param)


def error_vox(displacement, truth):
    return float((displacement - truth).norm(dim=1)[INNER].mean())


def test_a_known_smooth_displacement_is_found(solved, truth):
    assert error_vox(solved.displacement_vox, truth) < min(0.5, 0.5 * error_vox(0 * truth, truth))


def test_the_warped_image_is_the_fixed_one(solved, pair):
    fixed, moving = pair
    warped = warp(moving, solved.displacement_vox)
    assert (warped - fixed)[INNER].abs().mean() < 0.3 * (moving - fixed)[INNER].abs().mean()
    assert 0.8 < solved.similarity <= 1.0


def test_the_energy_never_rises(solved):
    assert solved.energies
    for level in solved.energies:
        assert all(after < before for before, after in itertools.pairwise(level))


def test_the_result_is_on_the_fixed_grid(solved):
    assert solved.displacement_vox.shape == solved.inverse_vox.shape == (1, 3, *SHAPE)
    assert solved.weight.shape == (1, 1, *SHAPE)
    for tensor in (solved.displacement_vox, solved.inverse_vox, solved.weight, solved.velocity_mm):
        assert tensor.dtype == torch.float32
        assert torch.isfinite(tensor).all()
        assert not tensor.requires_grad


def test_the_map_does_not_fold_and_its_inverse_undoes_it(solved):
    assert (jacobian_determinant(solved.displacement_vox) > 0).all()
    for first, second in (
        (solved.displacement_vox, solved.inverse_vox),
        (solved.inverse_vox, solved.displacement_vox),
    ):
        assert compose(first, second).norm(dim=1)[INNER].mean() < 0.05


def test_weights_lie_between_the_floor_and_one(solved):
    assert solved.weight.amin() > 0
    assert solved.weight.amax() <= 1 + 1e-6


def test_the_uniform_prior_has_the_weight_one(pair):
    weight = register_instance(*pair, SPACING, UniformPrior(strength=0.5)).weight
    torch.testing.assert_close(weight, torch.ones_like(weight))


def test_stronger_regularization_gives_a_smoother_field(pair):
    rough, smooth = (
        jacobian_determinant(register_instance(*pair, SPACING, UniformPrior(strength=r)).displacement_vox).std()
        for r in (0.1, 100.0)
    )
    assert smooth < 0.5 * rough


def test_a_prior_that_frees_steep_places_frees_some(pair):
    weight = register_instance(*pair, SPACING, BetaPrior(alpha=1e-4, lambda_max=2.0)).weight
    assert weight.amin() < 0.5


def test_identical_images_stay_where_they_are(pair):
    result = register_instance(pair[1], pair[1], SPACING, BetaPrior())
    assert result.displacement_vox.abs().amax() < 0.02
    assert result.inverse_vox.abs().amax() < 0.02


def test_intensities_of_any_scale_give_the_same_field(pair):
    fixed, moving = pair
    config = InstanceConfig(steps=(4, 4))
    reference = register_instance(fixed, moving, SPACING, BetaPrior(), config)
    other = register_instance(1000 * fixed - 300, 7 * moving + 40, SPACING, BetaPrior(), config)
    assert (other.displacement_vox - reference.displacement_vox).norm(dim=1).mean() < 0.02


def test_integers_and_doubles_are_taken_as_they_come(pair):
    fixed, moving = ((1000 * image).to(torch.int16) for image in pair)
    config = InstanceConfig(steps=(3,))
    reference = register_instance(fixed.float(), moving.float(), SPACING, BetaPrior(), config)
    for kind in (torch.int16, torch.float64):
        result = register_instance(fixed.to(kind), moving.to(kind), SPACING, BetaPrior(), config)
        torch.testing.assert_close(result.displacement_vox, reference.displacement_vox)


def test_the_inputs_are_left_as_they_were(pair):
    before = [image.clone() for image in pair]
    register_instance(*pair, SPACING, BetaPrior(), InstanceConfig(steps=(2,)))
    assert all(torch.equal(image, copy) for image, copy in zip(pair, before, strict=True))


def test_the_same_call_gives_the_same_result(pair):
    config = InstanceConfig(steps=(3, 3))
    first, second = (register_instance(*pair, SPACING, BetaPrior(), config) for _ in range(2))
    assert torch.equal(first.displacement_vox, second.displacement_vox)
    assert first.energies == second.energies


def test_spoiled_voxels_outside_the_mask_do_not_count(pair, truth):
    fixed, moving = pair
    mask = torch.ones_like(fixed)
    mask[:, :, 14:20] = 0.0
    spoiled = torch.where(mask > 0, fixed, fixed.flip(4))
    config = InstanceConfig(steps=(6,))  # one level: nothing of the spoiled voxels is blurred into the rest
    clean = register_instance(fixed, moving, SPACING, UniformPrior(), config, mask=mask)
    masked = register_instance(spoiled, moving, SPACING, UniformPrior(), config, mask=mask)
    unmasked = register_instance(spoiled, moving, SPACING, UniformPrior(), config)
    assert (masked.displacement_vox - clean.displacement_vox).abs().amax() < 0.05
    assert (unmasked.displacement_vox - clean.displacement_vox).abs().amax() > 0.5


def test_a_mask_helps_on_all_levels(pair, truth):
    fixed, moving = pair
    mask = torch.ones_like(fixed, dtype=torch.bool)
    mask[:, :, 14:20] = False
    spoiled = torch.where(mask, fixed, fixed.flip(4))
    with_mask = register_instance(spoiled, moving, SPACING, UniformPrior(), mask=mask).displacement_vox
    without = register_instance(spoiled, moving, SPACING, UniformPrior()).displacement_vox
    assert error_vox(with_mask, truth) < 0.8 * error_vox(without, truth)


@pytest.mark.parametrize("steps", [(3,), (5, 4, 3), (0, 2), (30, 0)])
def test_the_fraction_done_rises_to_one(pair, steps):
    fractions = []
    InstanceProblem.of(*pair, SPACING, InstanceConfig(steps=steps)).course(BetaPrior()).completed(fractions.append)
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0]
    assert fractions[-1] == 1.0


def test_an_exception_of_the_callback_stops_the_registration(pair):
    calls = []

    def stop(fraction):
        calls.append(fraction)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        InstanceProblem.of(*pair, SPACING).course(BetaPrior()).completed(stop)
    assert len(calls) == 1


@pytest.mark.parametrize("shape", [(24, 20, 1), (1, 24, 20), (9, 3, 2), (13, 12, 40)])
def test_slices_and_slabs_can_be_registered(random_image, shape):
    moving = random_image(shape, dtype=torch.float32)
    result = register_instance(moving.roll(1, dims=2), moving, (1.0, 1.0, 3.0), BetaPrior())
    assert result.displacement_vox.shape == (1, 3, *shape)
    assert torch.isfinite(result.displacement_vox).all()
    for level in result.energies:
        assert all(after < before for before, after in itertools.pairwise(level))


def test_a_velocity_of_half_the_resolution_finds_the_same(pair, truth):
    result = register_instance(*pair, SPACING, BetaPrior(), InstanceConfig(velocity_voxels=2000))
    assert result.velocity_mm.numel() < 0.5 * truth.numel()
    assert result.displacement_vox.shape == truth.shape
    assert error_vox(result.displacement_vox, truth) < 0.5


@pytest.mark.parametrize("image", ["fixed", "moving", "both"])
def test_images_of_one_value_are_refused(pair, image):
    flat = torch.full_like(pair[0], 3.0)
    fixed = pair[0] if image == "moving" else flat
    moving = pair[1] if image == "fixed" else flat
    with pytest.raises(InputError, match=r"image.*one value"):
        register_instance(fixed, moving, SPACING, BetaPrior())


def test_images_with_nan_do_not_give_a_field(pair):
    fixed = pair[0].clone()
    fixed[..., 3, 3, 3] = float("nan")
    with pytest.raises((InputError, ConvergenceError)):
        register_instance(fixed, pair[1], SPACING, BetaPrior())


def test_images_of_unequal_shape_are_refused(pair):
    with pytest.raises(InputError, match=r"moving image.*shape.*expected.*fixed"):
        register_instance(pair[0], pair[1][..., :-1], SPACING, BetaPrior())


def test_a_mask_of_another_shape_is_refused(pair):
    with pytest.raises(InputError, match=r"mask.*shape"):
        register_instance(*pair, SPACING, BetaPrior(), mask=torch.ones_like(pair[0])[..., :-1])


@pytest.mark.parametrize(
    "options",
    [
        {"steps": ()},
        {"steps": (3, -1)},
        {"window": 4},
        {"inner": 0},
        {"velocity_voxels": 0},
        {"longest_step_vox": -1.0},
        {"pool": -1},
        {"tolerance": float("nan")},
        {"squarings": -2},
        {"damping": -1.0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_in_one_line(options):
    with pytest.raises(InputError, match="expected") as caught:
        InstanceConfig(**options)
    assert "\n" not in str(caught.value)


def test_a_start_near_the_solution_is_kept(pair):
    fixed, moving = pair
    solved = register_instance(fixed, moving, SPACING, BetaPrior())
    nothing = InstanceConfig(steps=(0, 0, 0, 0))
    kept = InstanceProblem.of(fixed, moving, SPACING, nothing).course(BetaPrior(), solved.velocity_mm).completed()
    assert (kept.displacement_vox - solved.displacement_vox).abs().max() < 1e-4
    assert kept.energies == ()
    assert abs(kept.similarity - solved.similarity) < 1e-3


def test_refinement_of_a_start_goes_further_than_both(pair):
    fixed, moving = pair
    alone = register_instance(fixed, moving, SPACING, BetaPrior(), InstanceConfig(steps=(2, 2, 1, 1)))
    problem = InstanceProblem.of(fixed, moving, SPACING, InstanceConfig.refining(20))
    refined = problem.course(BetaPrior(), alone.velocity_mm).completed()
    assert refined.similarity > alone.similarity
    assert refined.similarity > register_instance(fixed, moving, SPACING, BetaPrior()).similarity - 1e-3


@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 50])
def test_refinement_takes_as_many_steps_as_asked(total):
    steps = InstanceConfig.refining(total).steps
    assert sum(steps) == total
    assert steps[-1] >= max(1, total // 4)


@pytest.mark.parametrize(
    "start", [torch.zeros(1, 2, 4, 4, 4), torch.zeros(3, 4, 4, 4), torch.full((1, 3, 4, 4, 4), torch.nan)]
)
def test_a_start_that_is_no_field_is_refused(pair, start):
    with pytest.raises(InputError, match="start"):
        InstanceProblem.of(*pair, SPACING).course(BetaPrior(), start)
    with pytest.raises(InputError, match="refinement"):
        InstanceConfig.refining(0)
