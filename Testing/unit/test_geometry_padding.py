"""Padding beyond a field of view is recognised; a cleared background and anatomy are not taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter

from SPRCore.geometry.padding import padding_mask

SHAPE = (36, 40, 32)
PLACES = np.stack(np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij"))


def textured(seed=0):
    """Texture everywhere, as a scan whose anatomy reaches beyond its field of view."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 1.5)
    return (100.0 + 40.0 * noise / noise.std()).astype(np.float32)


def beyond(kind):
    """Voxels beyond a field of view."""
    x, y, z = PLACES
    return {
        "half": x < 18,
        "slab": (z < 6) | (z > 24),
        "box": (x < 5) | (x > 30) | (y < 8),
        "circle": (x - 17.5) ** 2 + (y - 19.5) ** 2 > 16**2,
        "circle cut off by the border": (x - 17.5) ** 2 + (y - 19.5) ** 2 > 21**2,
        "sheared": (y - 0.4 * z < 3) | (y - 0.4 * z > 26),
    }[kind]


@pytest.mark.parametrize("value", [-3024.0, 0.0, 100.0, 1e6])
@pytest.mark.parametrize("kind", ["half", "slab", "box", "circle", "circle cut off by the border", "sheared"])
def test_padding_of_any_value_and_shape_is_found(kind, value):
    image, outside = textured(), beyond(kind)
    image[outside] = value
    found = padding_mask(image)
    assert found is not None
    assert found[outside].all()
    assert not found[~outside].any()


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64])
def test_the_type_of_the_voxels_does_not_matter(dtype):
    image, outside = textured().clip(1).astype(dtype), beyond("circle")
    image[outside] = 0
    np.testing.assert_array_equal(padding_mask(image), outside)


def test_a_turned_field_of_view_is_found_with_the_voxels_that_interpolation_has_mixed():
    turn = np.array([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.1], [0.0, -0.1, 1.0]])
    middle = (np.array(SHAPE) - 1) / 2
    place = {"offset": middle - turn @ middle, "order": 1}
    image = affine_transform(textured(), turn, cval=-500.0, **place)
    share = affine_transform(np.ones(SHAPE), turn, **place)
    found = padding_mask(image)
    assert found[share < 0.98].all()
    assert not found[gaussian_filter(share, 1.5) > 0.999].any()


def test_two_paddings_of_different_values_are_found():
    image, left, right = textured(), beyond("half") & (PLACES[0] < 6), beyond("slab") & (PLACES[2] > 24)
    image[left], image[right] = -3024.0, 7.0
    np.testing.assert_array_equal(padding_mask(image), left | right)


def brain(seed=1):
    """A body of irregular outline on a cleared background."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    bumps = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 3.0)
    inside = sum(axis**2 for axis in axes) ** 0.5 + 1.5 * bumps / np.abs(bumps).max() * 0.2 < 0.75
    return np.where(inside, textured(seed), 0.0).astype(np.float32)


def test_a_cleared_background_is_data():
    assert padding_mask(brain()) is None


def test_a_cleared_background_that_is_cut_off_is_padding_behind_the_cut_alone():
    image = brain()
    image[:18] = 0.0
    found = padding_mask(image)
    assert found[:18].all()
    assert not found[18:].any()


@pytest.mark.parametrize("build", [lambda r: r < 0.7, lambda r: (r < 0.7) & (r > 0.4)])
def test_an_ellipsoid_on_a_background_is_data(build):
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    image = np.where(build(sum(axis**2 for axis in axes) ** 0.5), textured(), 0.0)
    assert padding_mask(image) is None


def test_a_drawn_block_on_a_background_is_data():
    image = np.zeros(SHAPE, dtype=np.float32)
    image[8:28, 10:30, 6:26] = 1.0
    image[14:20, 14:20, 10:16] = 2.0
    assert padding_mask(image) is None


def test_speckles_of_background_are_data():
    rng = np.random.default_rng(3)
    image = np.where(np.abs(PLACES[0] - 17.5) < 12, textured(), np.rint(rng.rayleigh(0.8, SHAPE))).astype(np.int16)
    assert padding_mask(image) is None


@pytest.mark.parametrize("seed", range(6))
def test_the_noise_of_a_dark_background_is_data(seed):
    """Whole numbers so few that each of them is met all over the border."""
    image = (20 * np.random.default_rng(seed).random((24, 22, 6))).astype(np.int16)
    image[8:14, 8:14, 2:4] += 700
    assert padding_mask(image) is None


def test_values_below_air_are_padding_whatever_their_shape():
    image = np.where(brain() > 0, textured(), -1000.0 + np.random.default_rng(0).normal(0, 8, SHAPE))
    rim = gaussian_filter(np.random.default_rng(5).standard_normal(SHAPE), 4.0) > 0.01
    rim &= (PLACES[0] < 4) | (PLACES[1] > 36)
    rim[0], rim[:, -1] = True, True
    image[rim] = -2000.0
    found = padding_mask(np.rint(image).astype(np.int16))
    assert found is not None
    assert found[rim].mean() > 0.9
    assert not found[~rim].any()


def test_an_image_without_padding_or_of_one_value():
    assert padding_mask(textured()) is None
    assert padding_mask(np.full(SHAPE, 5, dtype=np.int16)) is None
