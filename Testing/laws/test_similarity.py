"""Laws of the similarities."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from SPRCore import similarity as sim

SEEDS = st.integers(0, 2**31 - 1)
SHAPES = st.tuples(*(st.integers(3, 9) for _ in range(3)))
ORDERS = st.sampled_from(list(itertools.permutations(range(3))))
WINDOWS = st.sampled_from([3, 5, 9])


def lncc_map(fixed, warped, window=9, spacing=None, mask=None):
    statistics = sim.FixedStatistics.of(fixed, sim.window_radius(window, spacing), mask)
    return sim.correlate(statistics, warped, derivatives=False).squared


def reorder(image, order):
    return image.permute(0, 1, *(axis + 2 for axis in order))


@given(shape=SHAPES, seed=SEEDS, window=WINDOWS)
def test_local_correlation_lies_between_zero_and_one(random_image, shape, seed, window):
    values = lncc_map(random_image(shape, seed), random_image(shape, seed + 1), window)
    assert values.amin() >= 0.0
    assert values.amax() <= 1.0


@given(shape=SHAPES, seed=SEEDS, scale=st.floats(0.3, 30.0), offset=st.floats(-5.0, 5.0), inverted=st.booleans())
def test_local_correlation_ignores_linear_changes_of_intensity(random_image, shape, seed, scale, offset, inverted):
    # Rough images: each window holds more contrast than the floor of the variance, which has the unit of the images.
    fixed, warped = random_image(shape, seed, sigma=0.5), random_image(shape, seed + 1, sigma=0.5)
    changed = (-scale if inverted else scale) * warped + offset
    torch.testing.assert_close(sim.lncc(fixed, changed, 3), sim.lncc(fixed, warped, 3), atol=1e-4, rtol=0)


@given(shape=SHAPES, seed=SEEDS, window=WINDOWS)
def test_local_correlation_is_symmetric_where_there_is_texture(random_image, shape, seed, window):
    a, b = random_image(shape, seed, sigma=0.5), random_image(shape, seed + 1, sigma=0.5)
    torch.testing.assert_close(sim.lncc(a, b, window), sim.lncc(b, a, window), atol=1e-4, rtol=0)


@given(shape=SHAPES, seed=SEEDS, order=ORDERS, axis=st.sampled_from((2, 3, 4)))
def test_local_correlation_does_not_know_the_axes(random_image, shape, seed, order, axis):
    fixed, warped, spacing = random_image(shape, seed), random_image(shape, seed + 1), (1.0, 2.0, 1.4)
    expected = lncc_map(fixed, warped, 5, spacing)
    reordered = lncc_map(reorder(fixed, order), reorder(warped, order), 5, [spacing[i] for i in order])
    torch.testing.assert_close(reordered, reorder(expected, order))
    torch.testing.assert_close(lncc_map(fixed.flip(axis), warped.flip(axis), 5, spacing), expected.flip(axis))


@given(shape=SHAPES, seed=SEEDS, factor=st.floats(0.01, 100.0))
def test_local_correlation_does_not_know_the_unit_of_length(random_image, shape, seed, factor):
    fixed, warped, spacing = random_image(shape, seed), random_image(shape, seed + 1), (1.0, 2.0, 1.25)
    scaled = sim.lncc(fixed, warped, 9, [factor * s for s in spacing])
    torch.testing.assert_close(scaled, sim.lncc(fixed, warped, 9, spacing))


@given(shape=SHAPES, seed=SEEDS)
def test_a_batch_has_the_mean_of_its_members(random_image, shape, seed):
    fixed = torch.cat([random_image(shape, seed), 5 + random_image(shape, seed + 1)])
    warped = torch.cat([random_image(shape, seed + 2), random_image(shape, seed + 3) - 2])
    singles = torch.stack([sim.lncc(fixed[i : i + 1], warped[i : i + 1], 5) for i in range(2)])
    torch.testing.assert_close(sim.lncc(fixed, warped, 5), singles.mean())
