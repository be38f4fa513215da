"""MIND-SSC and the mean squared difference: laws, gradients, a brute-force reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from SPRCore.errors import InputError
from SPRCore.similarity import mind_ssc, mind_ssc_distance, mse
from SPRCore.similarity.mind import PAIRS

SHAPE = (6, 5, 7)
SEEDS = st.integers(0, 2**31 - 1)


def brute_force(image, radius, dilation):
    """The formula voxel by voxel; neighbors clamped to the image, patches cut at its border."""
    shape = image.shape

    def value(voxel, offset):
        return image[tuple(min(max(v + dilation * o, 0), n - 1) for v, o, n in zip(voxel, offset, shape, strict=True))]

    voxels = list(itertools.product(*(range(n) for n in shape)))
    squared = np.zeros((12, *shape))
    for (index, (a, b)), voxel in itertools.product(enumerate(PAIRS), voxels):
        squared[(index, *voxel)] = (value(voxel, a) - value(voxel, b)) ** 2
    distances = np.zeros_like(squared)
    for voxel in voxels:
        patch = tuple(slice(max(v - radius, 0), v + radius + 1) for v in voxel)
        distances[(slice(None), *voxel)] = squared[(slice(None), *patch)].mean(axis=(1, 2, 3))
    noise = distances.mean(axis=0)
    return np.exp(-distances / np.clip(noise, 1e-3 * noise.mean(), 1e3 * noise.mean()))


def test_the_twelve_pairs_are_side_by_side():
    assert len(PAIRS) == len(set(PAIRS)) == 12
    for a, b in PAIRS:
        assert np.abs(a).sum() == np.abs(b).sum() == 1
        assert np.dot(a, b) == 0


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (0, 1), (2, 1)])
def test_the_descriptor_is_that_of_the_formula(random_image, radius, dilation):
    image = random_image(SHAPE)
    image[..., :3] = 0.5  # a flat part: the noise estimate is clamped there
    expected = brute_force(image[0, 0].numpy(), radius, dilation)
    np.testing.assert_allclose(mind_ssc(image, radius, dilation)[0].numpy(), expected, atol=1e-12)


@given(seed=SEEDS, scale=st.floats(0.01, 100.0), offset=st.floats(-100.0, 100.0), inverted=st.booleans())
def test_linear_changes_of_intensity_do_not_matter(random_image, seed, scale, offset, inverted):
    image = random_image(SHAPE, seed)
    changed = (-scale if inverted else scale) * image + offset
    torch.testing.assert_close(mind_ssc(changed), mind_ssc(image), atol=1e-6, rtol=0)
    assert float(mind_ssc_distance(image, changed)) < 1e-9


@given(seed=SEEDS)
def test_values_lie_between_zero_and_one_and_equal_images_have_no_distance(random_image, seed):
    image, other = random_image(SHAPE, seed), random_image(SHAPE, seed + 1)
    descriptor = mind_ssc(image)
    assert descriptor.shape == (1, 12, *SHAPE)
    assert ((descriptor > 0) & (descriptor <= 1)).all()
    assert float(mind_ssc_distance(image, image)) == 0.0
    assert 0 < float(mind_ssc_distance(image, other)) <= 1
    torch.testing.assert_close(mind_ssc_distance(image, other), mind_ssc_distance(other, image))


@given(seed=SEEDS, order=st.permutations(range(3)), axis=st.sampled_from((2, 3, 4)))
def test_the_distance_does_not_know_the_axes(random_image, seed, order, axis):
    images = [random_image(SHAPE, seed + i) for i in range(2)]
    expected = mind_ssc_distance(*images)
    axes = (0, 1, *(i + 2 for i in order))
    torch.testing.assert_close(mind_ssc_distance(*(image.permute(axes) for image in images)), expected)
    torch.testing.assert_close(mind_ssc_distance(*(image.flip(axis) for image in images)), expected)


@given(seed=SEEDS)
def test_a_batch_equals_its_members(random_image, seed):
    images = [random_image(SHAPE, seed), 50 * random_image(SHAPE, seed + 1)]
    torch.testing.assert_close(mind_ssc(torch.cat(images)), torch.cat([mind_ssc(image) for image in images]))


def test_an_image_of_one_value_is_like_itself_everywhere():
    flat = torch.full((1, 1, *SHAPE), 7.0, requires_grad=True)
    descriptor = mind_ssc(flat)
    assert (descriptor == 1).all()
    descriptor.sum().backward()
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (0, 1)])
@pytest.mark.parametrize("flat", [False, True], ids=["texture", "partly flat"])
def test_gradient_of_the_descriptor(random_image, radius, dilation, flat):
    image = random_image((3, 2, 5), sigma=0.8)
    if flat:
        image[..., :2] = 0.5 + 1e-3 * image[..., :2]  # the clamp holds there, and does not jump
    assert gradcheck(lambda m: mind_ssc(m, radius, dilation), (image.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_the_distance(random_image, masked):
    fixed, warped = random_image((3, 2, 3), 0).requires_grad_(), random_image((3, 2, 3), 1).requires_grad_()
    mask = random_image((3, 2, 3), 2) > 0.4 if masked else None
    assert gradcheck(lambda f, m: mind_ssc_distance(f, m, mask=mask), (fixed, warped), fast_mode=True)


def test_the_descriptor_keeps_the_image_alone(random_image):
    image, kept = random_image(SHAPE).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        mind_ssc(image)
    assert kept == [image.shape]


@pytest.mark.parametrize("options", [{"radius": -1}, {"dilation": 0}])
def test_what_cannot_be_described_is_refused(random_image, options):
    with pytest.raises(InputError, match=r"MIND.*expected"):
        mind_ssc(random_image(SHAPE), **options)


def test_mean_squared_difference(random_image):
    fixed, warped, mask = random_image(SHAPE, 0), random_image(SHAPE, 1), random_image(SHAPE, 2) > 0.5
    torch.testing.assert_close(mse(fixed, warped), ((fixed - warped) ** 2).mean())
    inside = ((fixed - warped) ** 2)[mask].mean()
    for kind in (mask, mask * 255, mask.double()):
        torch.testing.assert_close(mse(fixed, warped, kind), inside)
    both = mse(torch.cat([fixed, fixed], 1), torch.cat([warped, fixed], 1), mask)
    torch.testing.assert_close(both, 0.5 * inside)
    assert float(mse(fixed, warped, torch.zeros_like(mask))) == 0.0


def test_gradient_of_the_mean_squared_difference(random_image):
    fixed, warped = random_image((3, 2, 4), 0).requires_grad_(), random_image((3, 2, 4), 1).requires_grad_()
    mask = random_image((3, 2, 4), 2) > 0.5
    assert gradcheck(mse, (fixed, warped))
    assert gradcheck(lambda f, m: mse(f, m, mask), (fixed, warped))
