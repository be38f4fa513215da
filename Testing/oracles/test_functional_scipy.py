"""The functional core against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg, ndimage

from SPRCore import functional as fn

SHAPE = (9, 8, 7)


def positions(shape):
    return np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij"))


@pytest.mark.parametrize(("padding", "mode"), [("border", "nearest"), ("zeros", "grid-constant")])
def test_warp_is_map_coordinates(random_image, random_displacement, padding, mode):
    image, field = random_image(SHAPE), random_displacement(SHAPE, length=4.0)
    expected = ndimage.map_coordinates(
        image[0, 0].numpy(), positions(SHAPE) + field[0].numpy(), order=1, mode=mode, cval=0.0
    )
    np.testing.assert_allclose(fn.warp(image, field, padding=padding)[0, 0].numpy(), expected, atol=1e-12)


def test_warp_in_single_precision_loses_little(random_image, random_displacement):
    image, field = random_image(SHAPE), random_displacement(SHAPE, length=4.0)
    single = fn.warp(image.float(), field.float()).double()
    torch.testing.assert_close(single, fn.warp(image, field), atol=5e-6, rtol=0)


def test_sample_is_map_coordinates(random_image):
    image = random_image(SHAPE)
    points = np.random.default_rng(0).uniform(-2, 10, (50, 3))
    expected = ndimage.map_coordinates(image[0, 0].numpy(), points.T, order=1, mode="nearest")
    np.testing.assert_allclose(fn.sample(image, torch.as_tensor(points))[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("radius", [(1, 2, 3), (0, 4, 1), (12, 0, 0)])
def test_box_sum_is_a_uniform_filter(random_image, radius):
    image = random_image(SHAPE)
    window = [2 * r + 1 for r in radius]
    expected = ndimage.uniform_filter(image[0, 0].numpy(), window, mode="constant") * np.prod(window)
    np.testing.assert_allclose(fn.box_sum(image, radius)[0, 0].numpy(), expected, atol=1e-11)


@pytest.mark.parametrize("sigma", [(1.0, 0.0, 0.7), (0.4, 2.0, 1.3)])
def test_gaussian_smoothing_is_that_of_scipy(random_image, sigma):
    image = random_image(SHAPE)
    expected = image[0, 0].numpy()
    for axis, value in enumerate(sigma):
        if value:
            half = max(1, int(np.ceil(3 * value)))
            expected = ndimage.gaussian_filter1d(expected, value, axis, mode="nearest", radius=half)
    np.testing.assert_allclose(fn.gaussian_smooth(image, sigma)[0, 0].numpy(), expected, atol=1e-12)


def test_an_affine_velocity_integrates_to_the_matrix_exponential():
    # It points inward, so that no trajectory leaves the grid, where the border value would end its linearity.
    generator = np.array([[-0.5, 0.2, 0.0], [-0.1, -0.4, 0.1], [0.05, 0.0, -0.6]])
    center = (np.array(SHAPE) - 1) / 2
    offsets = positions(SHAPE) - center.reshape(3, 1, 1, 1)
    velocity = torch.as_tensor(np.einsum("ij,jxyz->ixyz", generator, offsets))[None]

    def displaced(matrix):
        return np.einsum("ij,jxyz->ixyz", matrix - np.eye(3), offsets)

    errors = {}
    for steps in (4, 7, 12):
        result = fn.integrate(velocity, steps)[0].numpy()
        squared = np.linalg.matrix_power(np.eye(3) + generator / 2**steps, 2**steps)
        np.testing.assert_allclose(result, displaced(squared), atol=1e-10)
        errors[steps] = np.abs(result - displaced(linalg.expm(generator))).max()
    assert errors[7] < 0.01
    assert errors[12] < 1e-3
    assert errors[7] / errors[4] == pytest.approx(1 / 8, rel=0.1)


def test_volume_change_of_a_known_map():
    # phi = x + a sin(kx), separable: the determinant is the product of 1 + a k cos(kx).
    shape, amplitude, rate = (48, 40, 44), 2.0, 2 * np.pi / 48
    points = positions(shape)
    field = torch.as_tensor(amplitude * np.sin(rate * points))[None]
    inner = (slice(1, -1),) * 3
    result = fn.jacobian_determinant(field)[0, 0].numpy()[inner]
    # A central difference of sin(kx) is sin(k) cos(kx) exactly, and k cos(kx) nearly.
    central = np.prod(1 + amplitude * np.sin(rate) * np.cos(rate * points), axis=0)[inner]
    np.testing.assert_allclose(result, central, atol=1e-12)
    analytic = np.prod(1 + amplitude * rate * np.cos(rate * points), axis=0)[inner]
    np.testing.assert_allclose(result, analytic, rtol=5e-3)


def test_the_inverse_of_a_known_map():
    # Contraction toward the middle by q = -u/(1+s): u = s (x - c) has the inverse -s/(1+s) (x - c).
    offsets = positions(SHAPE) - ((np.array(SHAPE) - 1) / 2).reshape(3, 1, 1, 1)
    field = torch.as_tensor(0.25 * offsets)[None]
    inverse, residual = fn.invert(field, tolerance_vox=1e-6)
    assert residual < 1e-5
    np.testing.assert_allclose(inverse[0].numpy(), -0.2 * offsets, atol=1e-5)
