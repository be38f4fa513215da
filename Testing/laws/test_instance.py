"""Laws of a whole registration: it knows neither the order and sense of the axes nor the unit of length."""

from __future__ import annotations

import itertools

import pytest
import torch

from SPRCore.functional import warp
from SPRCore.registration import InstanceConfig, register_instance
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior

SHAPE, SPACING = (20, 18, 16), (1.0, 1.0, 1.5)
CONFIG = InstanceConfig(steps=(4, 4))


@pytest.fixture(scope="module")
def pair(random_image, random_displacement):
    moving = random_image(SHAPE, seed=3, dtype=torch.float32)
    return warp(moving, random_displacement(SHAPE, seed=4, length=2.0, sigma=4.0, dtype=torch.float32)), moving


@pytest.fixture(scope="module")
def reference(pair):
    return register_instance(*pair, SPACING, BetaPrior(alpha=0.01), CONFIG)


def assert_same_field(field, expected):
    # Sums in another order may end a line search elsewhere: the same solution, not the same bits.
    assert (field - expected).norm(dim=1).mean() < 0.01
    assert expected.norm(dim=1).mean() > 0.3


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_permuted_axes_give_the_permuted_field(pair, reference, order):
    axes = (0, 1, *(axis + 2 for axis in order))
    fixed, moving = (image.permute(axes).contiguous() for image in pair)
    result = register_instance(fixed, moving, [SPACING[i] for i in order], BetaPrior(alpha=0.01), CONFIG)
    assert_same_field(result.displacement_vox, reference.displacement_vox.permute(axes)[:, list(order)])
    torch.testing.assert_close(result.weight, reference.weight.permute(axes), atol=0.1, rtol=0)


@pytest.mark.parametrize("axis", range(3))
def test_mirrored_images_give_the_mirrored_field(pair, reference, axis):
    fixed, moving = (image.flip(axis + 2) for image in pair)
    result = register_instance(fixed, moving, SPACING, BetaPrior(alpha=0.01), CONFIG)
    expected = reference.displacement_vox.flip(axis + 2).clone()
    expected[:, axis] *= -1
    assert_same_field(result.displacement_vox, expected)


@pytest.mark.parametrize("factor", [0.001, 10.0])
@pytest.mark.parametrize(
    "prior", [BetaPrior(alpha=0.01), GaussianPrior(), TotalVariationPrior(lambda_max=5.0)], ids=lambda prior: prior.name
)
def test_the_unit_of_length_does_not_matter(pair, prior, factor):
    in_mm = register_instance(*pair, SPACING, prior, CONFIG)
    scaled = register_instance(*pair, [factor * s for s in SPACING], prior, CONFIG)
    assert_same_field(scaled.displacement_vox, in_mm.displacement_vox)
    torch.testing.assert_close(scaled.weight, in_mm.weight, atol=0.05, rtol=0)
    assert [len(level) for level in scaled.energies] == [len(level) for level in in_mm.energies]
