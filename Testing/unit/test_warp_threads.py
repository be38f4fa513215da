"""Large grids are cut into parts for the threads of the CPU: the same values and gradients as in one piece."""

from __future__ import annotations

import pytest
import torch

from SPRCore.functional import compose, warp

EVEN, ODD = (34, 32, 31), (35, 33, 31)  # both above 32768 positions; the rows of ODD cannot be halved


@pytest.fixture
def in_threads():
    """Run a function with a given number of threads, and leave their number as it was."""
    before = torch.get_num_threads()

    def run(threads, function, *arguments):
        torch.set_num_threads(threads)
        try:
            return function(*arguments)
        finally:
            torch.set_num_threads(before)

    return run


@pytest.fixture
def parts(monkeypatch):
    """Batch sizes with which the kernel was called."""
    seen, kernel = [], torch.grid_sampler_3d

    def spy(image, grid, *options):
        seen.append(grid.shape[0])
        return kernel(image, grid, *options)

    monkeypatch.setattr(torch, "grid_sampler_3d", spy)
    return seen


def inputs(random_image, random_displacement, shape, channels):
    image = torch.cat([random_image(shape, seed) for seed in range(channels)], dim=1)
    return image.requires_grad_(), random_displacement(shape, length=3.0).requires_grad_()


def with_gradients(image, field, padding):
    warped = warp(image, field, padding=padding)
    cotangent = torch.linspace(-1.0, 2.0, warped.numel(), dtype=warped.dtype).view_as(warped)
    return warped.detach(), *torch.autograd.grad(warped, (image, field), cotangent)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("shape", "threads", "expected"), [(EVEN, 2, 2), (ODD, 2, 1), (ODD, 3, 3), (EVEN, 3, 2)])
def test_values_and_gradients_are_those_of_one_piece(
    random_image, random_displacement, in_threads, parts, shape, threads, expected, channels, padding
):
    image, field = inputs(random_image, random_displacement, shape, channels)
    split = in_threads(threads, with_gradients, image, field, padding)
    whole = in_threads(1, with_gradients, image, field, padding)
    assert parts == [expected, 1]
    assert torch.equal(split[0], whole[0])
    for part, one in zip(split[1:], whole[1:], strict=True):
        assert part.shape == one.shape
        torch.testing.assert_close(part, one)


@pytest.mark.parametrize("wanted", ["image", "field"])
def test_one_gradient_alone_is_that_of_one_piece(random_image, random_displacement, in_threads, parts, wanted):
    image, field = inputs(random_image, random_displacement, EVEN, 1)
    leaf = image if wanted == "image" else field

    def derivative():
        warped = warp(image.detach() if wanted == "field" else image, field.detach() if wanted == "image" else field)
        return torch.autograd.grad(warped.square().sum(), leaf)[0]

    torch.testing.assert_close(in_threads(2, derivative), in_threads(1, derivative))
    assert parts == [2, 1]


def test_labels_and_compositions_are_those_of_one_piece(random_image, random_displacement, in_threads, parts):
    labels = (10 * random_image(EVEN)).round()
    first, second = (random_displacement(EVEN, seed) for seed in (1, 2))
    for function in (lambda: warp(labels, first, mode="nearest"), lambda: compose(first, second)):
        assert torch.equal(in_threads(2, function), in_threads(1, function))
    assert parts == [2, 1, 2, 1]


@pytest.mark.parametrize(("shape", "batch"), [((32, 31, 33), 1), (EVEN, 2)])
def test_small_grids_and_batches_stay_in_one_piece(random_image, random_displacement, in_threads, parts, shape, batch):
    image, field = random_image(shape).expand(batch, -1, -1, -1, -1), random_displacement(shape)
    in_threads(2, warp, image, field.expand(batch, -1, -1, -1, -1))
    assert parts == [batch]
