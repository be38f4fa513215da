"""Laws of the functional core: groups, symmetries, constants, batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from SPRCore import functional as fn

SEEDS = st.integers(0, 2**31 - 1)
SHAPES = st.tuples(*(st.integers(2, 9) for _ in range(3)))
RADII = st.tuples(*(st.integers(0, 5) for _ in range(3)))
ORDERS = st.sampled_from(list(itertools.permutations(range(3))))
AXES = st.sampled_from(range(3))


def reorder(image, order):
    """Permute the spatial axes."""
    return image.permute(0, 1, *(axis + 2 for axis in order)).contiguous()


def reorder_field(field, order):
    """Permute the spatial axes and the components with them."""
    return reorder(field, order)[:, list(order)]


def mirror_field(field, axis):
    """Mirror one spatial axis and its component."""
    mirrored = field.flip(axis + 2).clone()
    mirrored[:, axis] *= -1
    return mirrored


@given(shape=SHAPES, seed=SEEDS)
def test_a_warp_by_zero_is_the_identity(random_image, shape, seed):
    image = random_image(shape, seed)
    zero = torch.zeros(1, 3, *shape, dtype=image.dtype)
    for padding in ("border", "zeros"):
        torch.testing.assert_close(fn.warp(image, zero, padding=padding), image)


@given(shape=SHAPES, seed=SEEDS)
def test_a_warp_keeps_constants_and_the_range(random_image, random_displacement, shape, seed):
    field = random_displacement(shape, seed, length=4.0)
    constant = torch.full((1, 2, *shape), 0.7, dtype=field.dtype)
    torch.testing.assert_close(fn.warp(constant, field), constant)
    image = random_image(shape, seed)
    warped = fn.warp(image, field)
    assert warped.amin() >= image.amin() - 1e-12
    assert warped.amax() <= image.amax() + 1e-12


@given(shape=SHAPES, seed=SEEDS, order=ORDERS)
def test_a_warp_does_not_know_the_order_of_axes(random_image, random_displacement, shape, seed, order):
    image, field = random_image(shape, seed), random_displacement(shape, seed, length=2.5)
    torch.testing.assert_close(
        fn.warp(reorder(image, order), reorder_field(field, order)), reorder(fn.warp(image, field), order)
    )


@given(shape=SHAPES, seed=SEEDS, axis=AXES)
def test_a_warp_does_not_know_left_from_right(random_image, random_displacement, shape, seed, axis):
    image, field = random_image(shape, seed), random_displacement(shape, seed, length=2.5)
    torch.testing.assert_close(
        fn.warp(image.flip(axis + 2), mirror_field(field, axis)), fn.warp(image, field).flip(axis + 2)
    )


@given(shape=SHAPES, seed=SEEDS)
def test_a_batch_equals_its_members(random_image, random_displacement, shape, seed):
    images = torch.cat([random_image(shape, seed), random_image(shape, seed + 1)])
    fields = torch.cat([random_displacement(shape, seed), random_displacement(shape, seed + 1)])
    for function in (
        lambda m, u: fn.warp(m, u),
        lambda _, u: fn.compose(u, 0.5 * u),
        lambda _, u: fn.integrate(u, 4),
        lambda m, _: fn.box_mean(m, (2, 1, 0)),
        lambda m, _: fn.mirrored_box_mean(m, (2, 1, 0)),
        lambda m, _: fn.gaussian_smooth(m, (1.0, 0.0, 2.0)),
        lambda _, u: fn.jacobian_determinant(u),
        lambda m, _: fn.resize(m, (3, 5, 4)),
    ):
        together = function(images, fields)
        singles = torch.cat([function(images[i : i + 1], fields[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(together, singles)


@given(shape=SHAPES, seed=SEEDS)
def test_composition_with_nothing_changes_nothing(random_displacement, shape, seed):
    field = random_displacement(shape, seed)
    zero = torch.zeros_like(field)
    torch.testing.assert_close(fn.compose(zero, field), field)
    torch.testing.assert_close(fn.compose(field, zero), field)


@given(seed=SEEDS)
def test_composition_is_one_warp_after_another(random_displacement, random_image, seed):
    shape = (16, 15, 14)
    first, second = random_displacement(shape, seed, 1.0), random_displacement(shape, seed + 1, 1.0)
    image = random_image(shape, seed, sigma=3.0)
    twice = fn.warp(fn.warp(image, second), first)
    assert (twice - fn.warp(image, fn.compose(first, second))).abs().mean() < 0.02 * image.std()


@given(seed=SEEDS)
def test_the_inverse_undoes_a_displacement_on_both_sides(random_displacement, seed):
    field = random_displacement((16, 15, 14), seed, length=1.2)
    inverse, residual = fn.invert(field)
    inner = (..., *[slice(3, -3)] * 3)
    assert residual < 1e-2
    assert fn.compose(inverse, field)[inner].abs().amax() < 1e-2
    assert fn.compose(field, inverse)[inner].abs().amax() < 0.05


@given(seed=SEEDS)
def test_integrals_of_opposite_velocities_are_inverse(random_displacement, seed):
    velocity = random_displacement((16, 15, 14), seed, length=1.5)
    there, back = fn.integrate(velocity), fn.integrate(-velocity)
    assert fn.compose(there, back)[..., 3:-3, 3:-3, 3:-3].abs().amax() < 0.05
    assert (fn.jacobian_determinant(there) > 0).all()


@given(seed=SEEDS)
def test_a_velocity_goes_half_the_way_in_half_the_time(random_displacement, seed):
    velocity = random_displacement((12, 11, 10), seed, length=2.0)
    half = fn.integrate(0.5 * velocity, 6)
    torch.testing.assert_close(fn.integrate(velocity, 7), fn.compose(half, half))


@given(seed=SEEDS)
def test_squaring_converges(random_displacement, seed):
    velocity = random_displacement((12, 11, 10), seed, length=3.0)
    results = [fn.integrate(velocity, steps) for steps in (3, 5, 7, 9)]
    changes = [float((b - a).abs().amax()) for a, b in itertools.pairwise(results)]
    assert changes[1] < 0.6 * changes[0]
    assert changes[2] < 0.6 * changes[1]


@given(seed=SEEDS, length=st.floats(0.1, 3.0))
def test_quick_integration_finds_the_same_map(random_displacement, seed, length):
    velocity = random_displacement((24, 22, 20), seed, length, sigma=4.0)
    steps = fn.sufficient_steps(velocity, 1.5)
    exact, quick, plain = fn.integrate(velocity, 10), fn.integrate_quickly(velocity), fn.integrate(velocity, steps)
    inner = (..., *[slice(6, -6)] * 3)
    # Near the border the flow enters from outside, where the velocity is only continued.
    assert (quick - exact).norm(dim=1).amax() < 0.1 * length
    assert (quick - exact)[inner].norm(dim=1).amax() < 0.02 * length
    assert (quick - exact)[inner].norm(dim=1).mean() < 0.5 * (plain - exact)[inner].norm(dim=1).mean()


@given(seed=SEEDS)
def test_quick_integrals_of_opposite_velocities_are_inverse(random_displacement, seed):
    velocity = random_displacement((24, 22, 20), seed, length=2.0, sigma=4.0)
    there, back = fn.integrate_quickly(velocity), fn.integrate_quickly(-velocity)
    for first, second in ((there, back), (back, there)):
        assert fn.compose(first, second)[..., 4:-4, 4:-4, 4:-4].norm(dim=1).amax() < 0.05
    assert (fn.jacobian_determinant(there) > 0).all()


@given(seed=SEEDS, order=ORDERS, axis=AXES)
def test_integration_does_not_know_the_axes(random_displacement, seed, order, axis):
    velocity = random_displacement((6, 7, 5), seed, length=2.0)
    result = fn.integrate(velocity, 5)
    torch.testing.assert_close(fn.integrate(reorder_field(velocity, order), 5), reorder_field(result, order))
    torch.testing.assert_close(fn.integrate(mirror_field(velocity, axis), 5), mirror_field(result, axis))
    quick = fn.integrate_quickly(velocity)
    torch.testing.assert_close(fn.integrate_quickly(reorder_field(velocity, order)), reorder_field(quick, order))
    torch.testing.assert_close(fn.integrate_quickly(mirror_field(velocity, axis)), mirror_field(quick, axis))


@given(shape=SHAPES, seed=SEEDS, order=ORDERS, axis=AXES)
def test_volume_change_does_not_know_the_axes(random_displacement, shape, seed, order, axis):
    field = random_displacement(shape, seed)
    result = fn.jacobian_determinant(field)
    torch.testing.assert_close(fn.jacobian_determinant(reorder_field(field, order)), reorder(result, order))
    torch.testing.assert_close(fn.jacobian_determinant(mirror_field(field, axis)), result.flip(axis + 2))


@given(shape=SHAPES, seed=SEEDS, spacing=st.tuples(*(st.floats(0.2, 6.0) for _ in range(3))))
def test_volume_change_is_the_same_in_voxels_and_in_millimeters(random_displacement, shape, seed, spacing):
    field_vox = random_displacement(shape, seed)
    field_mm = field_vox * field_vox.new_tensor(spacing).view(1, 3, 1, 1, 1)
    torch.testing.assert_close(fn.jacobian_determinant(field_mm, spacing), fn.jacobian_determinant(field_vox))


@given(shape=SHAPES, seed=SEEDS, radius=RADII)
def test_a_box_sum_is_the_sum_over_a_box(random_image, shape, seed, radius):
    image = random_image(shape, seed)
    total, count = fn.box_sum(image, radius), fn.box_count(image, radius)
    for index in itertools.product(*((0, size // 2, size - 1) for size in shape)):
        box = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(index, radius, strict=True))
        torch.testing.assert_close(total[0, 0][index], image[0, 0][box].sum())
        assert count[0, 0][index] == image[0, 0][box].numel()


@given(shape=SHAPES, seed=SEEDS, radius=st.tuples(*(st.integers(0, 20) for _ in range(3))))
def test_a_mirrored_mean_is_its_own_transpose(random_image, shape, seed, radius):
    a, b = random_image(shape, seed), random_image(shape, seed + 1)
    mean_a, mean_b = fn.mirrored_box_mean(a, radius), fn.mirrored_box_mean(b, radius)
    torch.testing.assert_close((mean_a * b).sum(), (a * mean_b).sum())
    torch.testing.assert_close(mean_a.mean(), a.mean())
    assert mean_a.amin() >= a.amin() - 1e-12
    assert mean_a.amax() <= a.amax() + 1e-12


@given(shape=SHAPES, seed=SEEDS, radius=RADII)
def test_a_mirrored_mean_is_the_mean_of_the_mirrored_image(random_image, shape, seed, radius):
    image = random_image(shape, seed)
    half = [min(r, n - 1) for r, n in zip(radius, shape, strict=True)]
    mirrored = torch.from_numpy(np.pad(image[0, 0].numpy(), [(h, h) for h in half], mode="symmetric"))
    inner = (..., *(slice(h, h + n) for h, n in zip(half, shape, strict=True)))
    torch.testing.assert_close(fn.mirrored_box_mean(image, radius), fn.box_mean(mirrored[None, None], half)[inner])


@given(shape=SHAPES, radius=RADII, sigma=st.tuples(*(st.floats(0.0, 3.0) for _ in range(3))), new=SHAPES)
def test_filters_and_resizing_keep_constants(shape, radius, sigma, new):
    constant = torch.full((1, 1, *shape), 2.5, dtype=torch.float64)
    torch.testing.assert_close(fn.box_mean(constant, radius), constant)
    torch.testing.assert_close(fn.mirrored_box_mean(constant, [3 * r for r in radius]), constant)
    torch.testing.assert_close(fn.gaussian_smooth(constant, sigma), constant)
    torch.testing.assert_close(fn.resize(constant, new), torch.full((1, 1, *new), 2.5, dtype=torch.float64))


@given(shape=SHAPES, seed=SEEDS, factor=st.integers(1, 4))
def test_enlarging_keeps_every_voxel_in_its_place(random_image, shape, seed, factor):
    image = random_image(shape, seed)
    larger = fn.resize(image, [(n - 1) * factor + 1 for n in shape])
    torch.testing.assert_close(larger[..., ::factor, ::factor, ::factor], image)


@given(shape=SHAPES, new=SHAPES, seed=SEEDS)
def test_a_resized_displacement_moves_the_corners_as_far(random_displacement, shape, new, seed):
    field = random_displacement(shape, seed)
    resized = fn.resize_displacement(field, new)
    for corner in itertools.product((0, -1), repeat=3):
        for axis in range(3):
            part = field[(0, axis, *corner)] / (shape[axis] - 1)
            torch.testing.assert_close(resized[(0, axis, *corner)] / (new[axis] - 1), part)


@pytest.mark.parametrize("shape", [(1, 5, 4), (5, 1, 4), (5, 4, 1), (1, 1, 1)])
def test_axes_of_one_voxel_are_no_obstacle(random_image, random_displacement, shape):
    image, field = random_image(shape), random_displacement(shape)
    for result in (
        fn.warp(image, field),
        fn.integrate(field, 3),
        fn.integrate_quickly(field),
        fn.box_mean(image, (2, 2, 2)),
        fn.mirrored_box_mean(image, (2, 2, 2)),
        fn.gaussian_smooth(image, (1.0, 1.0, 1.0)),
        fn.jacobian_determinant(field),
        fn.resize(image, (3, 2, 4)),
        fn.resize_displacement(field, (3, 2, 4)),
    ):
        assert torch.isfinite(result).all()
