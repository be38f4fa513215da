"""Values, errors and gradients of the similarities."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from SPRCore import similarity as sim
from SPRCore.errors import InputError

SHAPE = (6, 5, 7)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_gradient_of_lncc(random_image, masked):
    fixed, warped = random_image(SHAPE, 0), random_image(SHAPE, 1).requires_grad_()
    mask = random_image(SHAPE, 2) > 0.45 if masked else None
    assert gradcheck(lambda m: sim.lncc(fixed, m, 5, mask=mask), (warped,))


def test_lncc_of_an_image_with_a_linear_function_of_itself_is_one(random_image):
    image = random_image(SHAPE)
    for other in (image, 3 * image - 7, -image):
        assert float(sim.lncc(image, other, 3)) == pytest.approx(1.0, abs=1e-6)


def test_lncc_with_a_flat_image_is_zero_and_has_no_gradient(random_image):
    image, flat = random_image(SHAPE), torch.full((1, 1, *SHAPE), 0.4, dtype=torch.float64, requires_grad=True)
    value = sim.lncc(image, flat)
    value.backward()
    assert float(value.detach()) == 0.0
    assert torch.isfinite(flat.grad).all()
    assert float(sim.lncc(flat.detach(), image)) == 0.0


def test_lncc_keeps_one_volume(random_image):
    fixed, warped = random_image(SHAPE), random_image(SHAPE, 1).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        sim.lncc(fixed, warped)
    assert kept == [warped.shape]


def test_statistics_of_the_fixed_image_can_be_used_again(random_image):
    fixed, mask = random_image(SHAPE), random_image(SHAPE, 2) > 0.4
    statistics = sim.FixedStatistics.of(fixed, sim.window_radius(5), mask)
    for seed in (3, 4):
        warped = random_image(SHAPE, seed)
        assert torch.equal(sim.lncc(statistics, warped), sim.lncc(fixed, warped, 5, mask=mask))


@pytest.mark.parametrize("kind", ["truth", "bytes", "labels"])
def test_every_nonzero_voxel_of_a_mask_counts_once(random_image, kind):
    fixed, warped, inside = random_image(SHAPE), random_image(SHAPE, 1), random_image(SHAPE, 2) > 0.45
    mask = {"truth": inside, "bytes": inside.to(torch.uint8) * 255, "labels": inside * 3.0}[kind]
    expected = sim.lncc(fixed, warped, 5, mask=inside.double())
    torch.testing.assert_close(sim.lncc(fixed, warped, 5, mask=mask), expected)


def test_what_lies_outside_the_mask_does_not_count(random_image):
    fixed, warped, mask = random_image(SHAPE), random_image(SHAPE, 1), random_image(SHAPE, 2) > 0.45
    spoiled = torch.where(mask, warped, 100 * random_image(SHAPE, 3))
    torch.testing.assert_close(sim.lncc(fixed, spoiled, 5, mask=mask), sim.lncc(fixed, warped, 5, mask=mask))


def test_an_empty_mask_gives_zero(random_image):
    image = random_image(SHAPE)
    assert float(sim.lncc(image, image, mask=torch.zeros_like(image))) == 0.0


@pytest.mark.parametrize("window", [1, 4, 0, -3])
def test_an_even_or_tiny_window_is_refused(window):
    with pytest.raises(InputError, match=f"got {window}"):
        sim.window_radius(window)


def test_a_window_covers_the_same_length_along_each_axis():
    assert sim.window_radius(9) == (4, 4, 4)
    assert sim.window_radius(9, (1.0, 2.0, 8.0)) == (4, 2, 1)


@pytest.mark.parametrize("deviation", [0.006, 0.012])
def test_the_floor_of_a_smooth_image_follows_its_noise(random_image, deviation):
    smooth = 0.3 * random_image((40, 36, 30), 0, sigma=4.0)
    noisy = smooth + deviation * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(1))
    assert sim.variance_floor(noisy) == pytest.approx(6 * deviation**2, rel=0.2)
    cleared = noisy.clone()
    cleared[..., :12] = 0.0
    assert sim.variance_floor(cleared) == pytest.approx(6 * deviation**2, rel=0.25)


@pytest.mark.parametrize("deviation", [0.02, 0.05])
def test_the_attainable_correlation_is_that_of_a_perfect_match_with_as_much_noise(random_image, deviation):
    image = random_image((40, 36, 32), 3, sigma=2.0)
    noise = deviation * torch.randn((2, *image.shape), generator=torch.Generator().manual_seed(1))
    first, second = image / (image.amax() - image.amin()) + noise
    fixed = sim.FixedStatistics.of(first, (4, 4, 4))
    found = sim.correlate(fixed, second, derivatives=False).squared
    assert float(found.mean()) < 0.95
    assert float(sim.attainable_correlation(fixed).mean()) == pytest.approx(float(found.mean()), abs=0.02)


def test_without_noise_a_perfect_match_is_attainable(random_image):
    fixed = sim.FixedStatistics.of(random_image((24, 20, 22), 3, sigma=3.0), (4, 4, 4))
    assert float(sim.attainable_correlation(fixed).amin()) > 0.97


def test_texture_as_fine_as_the_voxels_is_not_taken_for_noise_alone(random_image):
    texture = torch.rand((1, 1, 24, 20, 22), generator=torch.Generator().manual_seed(1))
    fixed = sim.FixedStatistics.of(texture, (4, 4, 4))
    assert float(sim.attainable_correlation(fixed).amin()) > 0.9


def test_the_floor_is_bounded(random_image):
    assert sim.variance_floor(torch.zeros(1, 1, 8, 8, 8)) == 1e-5
    assert sim.variance_floor(torch.zeros(1, 1, 1, 1, 1)) == 1e-5
    assert sim.variance_floor((random_image((12, 12, 12)) > 0.5).float()) == 1.5e-3


def test_gradient_of_lncc_above_a_floor(random_image):
    fixed, warped = random_image(SHAPE, 0), random_image(SHAPE, 1).requires_grad_()
    statistics = sim.FixedStatistics.of(fixed, (2, 2, 2), floor=0.9 * float(warped.detach().var()))
    assert gradcheck(lambda m: sim.lncc(statistics, m), (warped,))
    assert sim.lncc(statistics, warped.detach()) < sim.lncc(fixed, warped.detach(), 5)
