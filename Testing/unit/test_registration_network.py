"""A network's fields in the world: where they lie and how long they are, however the images are stored."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import compose, integrate
from SPRCore.geometry import Grid, MaskedVolume, Volume, voxel_to_ras
from SPRCore.io.cards import ModelCard, WorkingGrid
from SPRCore.networks import RegistrationOutput
from SPRCore.registration import network as by_network
from SPRCore.registration.network import beyond_training, code_of, model_prior
from SPRCore.regularization import BetaPrior, GaussianPrior, most_probable_weight

AFFINE = np.array([[-1.5, 0, 0, 30], [0, 2.0, 0, -12], [0, 0, 2.5, 4], [0, 0, 0, 1.0]])
SHAPE = (21, 18, 17)


def volume(seed, shape=SHAPE, affine=AFFINE):
    from scipy.ndimage import gaussian_filter

    return Volume(gaussian_filter(np.random.default_rng(seed).random(shape, dtype=np.float32), 1.5), affine)


def register_network(fixed, moving, *rest, **options):
    images = (MaskedVolume.whole(image) for image in (fixed, moving))
    return by_network.register_network(*images, *rest, **options)


class Stub(torch.nn.Module):
    """A network whose output is a function of its images."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, None
        self.config = SimpleNamespace(channels=1, sampling="border", integrate=True)
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, moving, fixed, code=None):
        self.seen = moving, fixed, code
        return self.answer(moving)


def constant(*vector_vox):
    return lambda image: RegistrationOutput(
        displacement=torch.tensor(vector_vox).view(1, 3, 1, 1, 1).expand(1, 3, *image.shape[2:]).contiguous()
    )


def test_voxels_of_the_working_grid_become_millimeters_of_the_world():
    card = ModelCard(name="m", architecture={}, grid=WorkingGrid(orientation="SPL", spacing_mm=(2.5, 1.0, 3.0)))
    network = Stub(constant(1.0, 2.0, -0.5))
    found = register_network(volume(0), volume(1), network, card)
    # One voxel is 2.5 mm upwards, 1 mm to the back, 3 mm to the left.
    np.testing.assert_allclose(found.displacement.array, np.broadcast_to((1.5, -2.0, 2.5), (*SHAPE, 3)), atol=1e-5)
    np.testing.assert_allclose(found.inverse.array, -found.displacement.array, atol=1e-5)
    assert found.displacement.grid.matches(Grid(SHAPE, AFFINE))
    assert network.seen[0].shape == (1, 1, 17, 36, 16)  # 10.5 voxels to the left are padded to 16
    assert found.velocity is None
    np.testing.assert_allclose(found.weight.array, 1, atol=1e-6)


def test_a_field_that_varies_keeps_its_place():
    """Displacement along an axis that grows along it: at every world point the same on all working grids."""

    def ramp(image):
        field = torch.zeros(1, 3, *image.shape[2:])
        field[:, 0] = 0.01 * torch.arange(image.shape[2]).view(-1, 1, 1)
        return RegistrationOutput(displacement=field, velocity=2 * field, inverse_displacement=3 * field)

    fixed = volume(0)
    card = ModelCard(name="m", architecture={}, grid=WorkingGrid(orientation="RAS", spacing_mm=(3.0, 2.0, 2.0)))
    found = register_network(fixed, volume(1), Stub(ramp), card)
    x_mm = voxel_to_ras(np.indices(SHAPE).transpose(1, 2, 3, 0), AFFINE)[..., 0]
    first_mm = 15.0 - 15.0  # 21 voxels of 1.5 mm about 15 mm: 11 voxels of 3 mm
    expected = 0.01 * (x_mm - first_mm)
    np.testing.assert_allclose(found.displacement.array[1:-1, ..., 0], expected[1:-1], atol=1e-4)
    np.testing.assert_allclose(found.velocity.array, 2 * found.displacement.array, atol=1e-4)
    np.testing.assert_allclose(found.inverse.array, 3 * found.displacement.array, atol=1e-4)


def test_beyond_a_grid_of_fixed_shape_the_field_goes_on():
    card = ModelCard(name="m", architecture={}, grid=WorkingGrid(orientation=None, shape=(16, 24, 16)))
    answer = dataclasses.replace(
        constant(2.0, 0.0, 0.0)(torch.zeros(1, 1, 16, 24, 16)), weight=torch.full((1, 1, 16, 24, 16), 0.25)
    )
    found = register_network(volume(0), volume(1), Stub(lambda image: answer), card)
    np.testing.assert_allclose(found.displacement.array[..., 0], -3.0, atol=1e-5)
    assert set(np.unique(found.weight.array)) == {0.25, 1.0}
    assert (found.weight.array[2:18, :, :16] == 0.25).all()


def test_images_reach_the_network_aligned_prepared_and_padded():
    fixed = Volume(volume(0).array[:, :, :6] * 900 - 100, AFFINE)
    shift = np.eye(4)
    shift[:3, 3] = (6.0, -4.0, 5.0)
    moved = Volume(fixed.array, shift @ AFFINE)
    network = Stub(constant(0.0, 0.0, 0.0))
    card = ModelCard(name="m", architecture={}, grid=WorkingGrid(orientation=None))
    found = register_network(fixed, moved, network, card, affine_ras=shift)
    moving, target, code = network.seen
    assert moving.shape == (1, 1, 21, 18, 16)
    assert torch.allclose(moving, target, atol=1e-5)
    assert (float(target.min()), float(target.max())) == (0, 1)
    assert torch.equal(target[..., 6:], target[..., 5:6].expand(-1, -1, -1, -1, 10))
    assert code is None
    assert found.displacement.grid.shape == (21, 18, 6)


@pytest.fixture(scope="module")
def conditioned(tiny_network, card_for):
    network = tiny_network("hyper-vxm-spr-small")
    return network, card_for(
        network, ranges={"alpha": (0.0, 0.2), "lambda_max": (0.5, 5.0)}, defaults={"alpha": 0.1, "lambda_max": 2.0}
    )


@pytest.fixture(scope="module")
def plain(tiny_network, card_for):
    network = tiny_network("voxelmorph-spr")
    return network, card_for(network)


def world(field, affine, points_mm):
    """A field's vectors at world points."""
    from scipy.ndimage import map_coordinates

    index = np.linalg.inv(affine) @ np.append(points_mm, np.ones((len(points_mm), 1)), axis=1).T
    array = field.array if field.array.ndim == 4 else field.array[..., None]
    return np.stack([map_coordinates(array[..., c], index[:3], order=1) for c in range(array.shape[-1])], axis=-1)


def stored_otherwise(image, order, flips):
    """The same image, its axes swapped and reversed."""
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for place, axis in enumerate(order):
        change[axis, place] = -1 if flips[axis] else 1
        change[axis, 3] = image.shape[axis] - 1 if flips[axis] else 0
    array = np.flip(image.array, [axis for axis in range(3) if flips[axis]]).transpose(order)
    return Volume(np.ascontiguousarray(array), image.affine @ change)


POINTS = voxel_to_ras(np.random.default_rng(5).uniform(3, 13, (200, 3)), AFFINE)


@pytest.mark.parametrize(("order", "flips"), [((0, 1, 2), (1, 0, 1)), ((2, 0, 1), (0, 0, 0)), ((1, 0, 2), (1, 1, 0))])
@pytest.mark.parametrize("spacing", [None, (1.8, 2.0, 2.2)])
def test_how_an_image_is_stored_is_no_matter(order, flips, spacing, plain):
    network, card = plain
    card = dataclasses.replace(card, grid=WorkingGrid(spacing_mm=spacing))
    fixed, moving = volume(0), volume(1, (19, 20, 18), AFFINE @ np.diag([1.1, 0.9, 1.0, 1.0]))
    first = register_network(fixed, moving, network, card)
    turned = stored_otherwise(fixed, order, flips)
    second = register_network(turned, stored_otherwise(moving, order[::-1], flips[::-1]), network, card)
    assert np.abs(first.displacement.array).max() > 0.5
    for name in ("displacement", "inverse", "velocity", "weight"):
        one, two = (world(getattr(r, name), a, POINTS) for r, a in ((first, fixed.affine), (second, turned.affine)))
        np.testing.assert_allclose(two, one, atol=2e-3, err_msg=name)


def test_turning_both_images_turns_the_field(plain):
    network, card = plain
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0.2, -0.3, 0.25]).as_matrix()
    turn[:3, 3] = (10, 20, -5)
    fixed, moving = volume(0), volume(1)
    first = register_network(fixed, moving, network, card)
    oblique = [Volume(image.array, turn @ image.affine) for image in (fixed, moving)]
    second = register_network(*oblique, network, card)
    for name in ("displacement", "inverse", "velocity"):
        expected = getattr(first, name).array @ turn[:3, :3].T
        np.testing.assert_allclose(getattr(second, name).array, expected, atol=2e-3, err_msg=name)
    np.testing.assert_allclose(second.weight.array, first.weight.array, atol=1e-3)


def test_the_velocity_in_the_world_integrates_to_the_displacement(plain):
    network, card = plain
    found = register_network(volume(0), volume(1), network, card)
    again = integrate(found.velocity.to_tensor_vox())
    inside = np.s_[..., 3:-3, 3:-3, 3:-3]
    error = (again - found.displacement.to_tensor_vox())[inside].abs().max()
    assert error < 0.15 * found.velocity.to_tensor_vox().abs().max()  # the network integrates on its pooled grid


def test_a_network_without_inverse_and_weight_gets_both(tiny_network, card_for, caplog):
    network = tiny_network("voxelmorph")
    card = card_for(network, prior="beta", defaults={"alpha": 0.02, "lambda_max": 2.0})
    fixed, moving = volume(0), volume(1)
    with caplog.at_level("INFO", logger="SPRCore"):
        found = register_network(fixed, moving, network, card)
    assert "voxels" in caplog.text
    assert found.velocity is None
    forward, back = found.displacement.to_tensor_vox(), found.inverse.to_tensor_vox()
    apart = compose(back, forward)[..., 4:-4, 4:-4, 4:-4].norm(dim=1).max()
    assert apart < 0.03 * forward.norm(dim=1).max()
    # The steeper the field, the smaller the weight; 1 where it is flat.
    assert 0 < found.weight.array.min() < found.weight.array.max() <= 1
    spacing = found.displacement.grid.spacing
    in_mm = forward * forward.new_tensor(spacing).view(1, 3, 1, 1, 1)
    likely = most_probable_weight(in_mm, spacing, BetaPrior(alpha=0.02, lambda_max=2.0))
    np.testing.assert_allclose(found.weight.array, likely[0, 0].numpy(), rtol=1e-3)


def test_the_prior_of_a_model(conditioned):
    _, card = conditioned
    assert model_prior(card) == BetaPrior(alpha=0.1, lambda_max=2.0)
    asked = BetaPrior(alpha=0.2, lambda_max=1.0)
    assert model_prior(card, asked) is asked
    np.testing.assert_allclose(code_of(card, asked), [[1.0, 0.2]])
    for prior, words in (
        (BetaPrior(alpha=0.3), "alpha: got 0.3; expected 0 to 0.24: the model .* was trained up to 0.2"),
        (BetaPrior(alpha=0.1, lambda_max=0.1), "lambda_max: got 0.1; expected 0.5 to 6"),
        (BetaPrior(alpha=0.1, lambda_max=6.01), "lambda_max: got 6.01; expected 0.5 to 6"),
        (GaussianPrior(), "prior: got gaussian; expected beta"),
    ):
        with pytest.raises(InputError, match=words):
            model_prior(card, prior)


def test_settings_beyond_training(conditioned):
    network, card = conditioned
    asked = BetaPrior(alpha=0.24, lambda_max=5.4)
    np.testing.assert_allclose(code_of(card, model_prior(card, asked)), [[1.2, 1.08]])
    assert beyond_training(card, asked) == {"alpha": 0.2, "lambda_max": 5.0}
    assert beyond_training(card, BetaPrior(alpha=0.2, lambda_max=5.4)) == {"lambda_max": 5.0}
    assert beyond_training(card, BetaPrior(alpha=0.2, lambda_max=5.0)) == {}
    field = register_network(volume(0), volume(1), network, card, prior=asked).displacement.array
    assert np.abs(field - register_network(volume(0), volume(1), network, card).displacement.array).max() > 1e-3


def test_a_model_of_one_setting_takes_no_other():
    card = ModelCard(name="fixed", architecture={}, defaults={"alpha": 0.175, "lambda_max": 3.354})
    assert code_of(card, model_prior(card)) is None
    assert model_prior(card, BetaPrior(alpha=0.175, lambda_max=3.354)) == model_prior(card)
    with pytest.raises(InputError, match="trained at this value"):
        model_prior(card, BetaPrior(alpha=0.2, lambda_max=3.354))


def test_the_code_changes_the_field(conditioned):
    network, card = conditioned
    soft, hard = (
        register_network(
            volume(0), volume(1), network, card, prior=BetaPrior(alpha=alpha, lambda_max=2.0)
        ).displacement.array
        for alpha in (0.0, 0.2)
    )
    assert np.abs(soft - hard).max() > 1e-3


def test_a_network_of_several_channels_is_refused(tiny_network, card_for):
    network = tiny_network("vxm-spr-small", channels=2)
    with pytest.raises(InputError, match="2 channels"):
        register_network(volume(0), volume(1), network, card_for(network))


def test_what_is_no_number_goes_no_further():
    card = ModelCard(name="m", architecture={})
    with pytest.raises(ConvergenceError, match="model"):
        register_network(volume(0), volume(1), Stub(constant(0.0, float("nan"), 0.0)), card)
