"""Mean squares of images and of MIND descriptors against the literal formula, and derivatives in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from SPRCore import similarity as sim

SHAPE, SPACING = (7, 6, 8), (1.0, 1.5, 3.0)


def sides(random_image, similarity, channels=1, masked=False):
    """The fixed side, the features of two images and the mask."""
    images = [
        torch.cat([random_image(SHAPE, 10 * side + number) for number in range(channels)], dim=1) for side in (1, 2)
    ]
    mask = torch.ones(1, 1, *SHAPE, dtype=torch.float64)
    if masked:
        mask[..., 2:5, 3:] = 0.0
    fixed, warped = (sim.features(similarity, image, SPACING) for image in images)
    return sim.fixed_side(similarity, fixed, SPACING, 5, mask if masked else None), fixed, warped, mask


def local_variance(image, mask, radius, floor):
    """Mean of the variances in the windows, cut at the border, that are above the floor."""
    found = []
    for voxel in np.argwhere(mask > 0):
        window = tuple(slice(max(v - r, 0), v + r + 1) for v, r in zip(voxel, radius, strict=True))
        variance = image[window][mask[window] > 0].var()
        found += [variance] if variance > floor else []
    return np.mean(found)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("similarity", "channels"), [("mse", 1), ("mse", 2), ("mind", 1)])
def test_the_similarity_is_that_of_the_formula(random_image, similarity, channels, masked):
    side, fixed, warped, mask = sides(random_image, similarity, channels, masked)
    parts, inside = fixed[0].numpy(), mask[0, 0].numpy()
    floor = 1e-4 if similarity == "mind" else 1e-5
    variance = np.mean([local_variance(part, inside, (2, 1, 1), floor) for part in parts])
    expected = inside * (1.0 - ((parts - warped[0].numpy()) ** 2).mean(axis=0) / (2.0 * variance))
    np.testing.assert_allclose(side.compare(warped).values[0, 0].numpy(), expected, atol=1e-9)
    assert side.total == inside.sum()


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("similarity", "channels"), [("lncc", 1), ("lncc", 2), ("mse", 2), ("mind", 1)])
def test_the_gradient_is_the_derivative_of_the_sum(random_image, similarity, channels, masked):
    side, _, warped, _ = sides(random_image, similarity, channels, masked)
    direction = torch.randn(warped.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    up, down = (side.compare(warped + s * direction, derivatives=False).values.sum() for s in (1e-5, -1e-5))
    found = side.compare(warped)
    assert float((found.gradient * direction).sum()) == pytest.approx(float(up - down) / 2e-5, rel=1e-5)
    if similarity != "lncc":  # exactly quadratic
        bend = (up + down - 2 * side.compare(warped, derivatives=False).values.sum()) / 1e-10
        expected = -2.0 * (found.curvature * direction.square()).sum()
        assert float(bend) == pytest.approx(float(expected), rel=1e-2)


def test_two_channels_are_the_mean_of_each(random_image):
    side, fixed, warped, _ = sides(random_image, "lncc", 2)
    singles = [
        sim.fixed_side("lncc", fixed[:, [n]], SPACING, 5).compare(warped[:, [n]], derivatives=False).values
        for n in range(2)
    ]
    torch.testing.assert_close(side.compare(warped, derivatives=False).values, (singles[0] + singles[1]) / 2)
    torch.testing.assert_close(sim.lncc(fixed, warped, 5, SPACING), torch.stack(singles).mean())


def test_the_descriptors_of_channels_are_those_of_each_with_near_neighbors_along_coarse_axes(random_image):
    one, other = random_image(SHAPE, 1), random_image(SHAPE, 2)
    both = sim.mind_ssc(torch.cat([one, other], dim=1), spacing=SPACING)
    torch.testing.assert_close(both, torch.cat([sim.mind_ssc(part, spacing=SPACING) for part in (one, other)], dim=1))
    stretched = one.repeat_interleave(2, dim=2)  # two voxels where there was one: neighbors two voxels away are its own
    coarse = sim.mind_ssc(one, radius=0, dilation=2, spacing=(2.0, 1.0, 1.0))
    fine = sim.mind_ssc(stretched, radius=0, dilation=2, spacing=(1.0, 1.0, 1.0))
    torch.testing.assert_close(fine[:, :, ::2], coarse)


@pytest.mark.parametrize("similarity", sim.SIMILARITIES)
def test_training_minimizes_minus_the_similarity_of_the_solver(random_image, similarity):
    fixed, warped = random_image(SHAPE, 1), random_image(SHAPE, 2)
    value = sim.dissimilarity(similarity, fixed, warped, SPACING, 5)
    side = sim.fixed_side(similarity, sim.features(similarity, fixed, SPACING), SPACING, 5)
    solver = side.compare(sim.features(similarity, warped, SPACING), derivatives=False)
    assert float(value) == pytest.approx(-float(solver.values.sum()) / side.total)
    leaf = warped.clone().requires_grad_()
    assert gradcheck(lambda image: sim.dissimilarity(similarity, fixed, image, SPACING, 5), leaf, fast_mode=True)


def test_unrelated_images_have_a_similarity_near_zero_and_equal_ones_of_one(random_image):
    shape = (24, 24, 24)
    fixed, other = (random_image(shape, seed, sigma=1.0) for seed in (1, 2))
    for similarity in ("mse", "mind"):
        assert float(sim.dissimilarity(similarity, fixed, fixed, (1, 1, 1))) == pytest.approx(-1.0)
        assert abs(float(sim.dissimilarity(similarity, fixed, other, (1, 1, 1)))) < 0.25
