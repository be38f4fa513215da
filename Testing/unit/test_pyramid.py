"""Resolution levels."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.registration.pyramid import make_level, pyramid_steps

SHAPES = st.tuples(*(st.integers(1, 300) for _ in range(3))).filter(lambda shape: max(shape) > 1)
SPACINGS = st.tuples(*(st.floats(0.3, 10.0) for _ in range(3)))


def test_levels_of_a_brain():
    steps = pyramid_steps((160, 192, 224), (1.0, 1.0, 1.0), 4)
    assert steps == [8.0, 4.0, 2.0, 1.0]
    coarsest = make_level((160, 192, 224), (1.0, 1.0, 1.0), steps[0])
    assert coarsest.shape == (21, 25, 29)
    assert coarsest.spacing == pytest.approx((159 / 20, 191 / 24, 223 / 28))


def test_thick_slices_are_kept_until_the_other_axes_are_as_coarse():
    assert make_level((256, 256, 10), (1.4, 1.4, 10.0), 5.6).shape == (65, 65, 10)
    assert make_level((256, 256, 10), (1.4, 1.4, 10.0), 1.4).shape == (256, 256, 10)


def test_a_small_image_has_fewer_levels():
    assert pyramid_steps((20, 20, 20), (2.0, 2.0, 2.0), 4) == [2.0]
    assert pyramid_steps((5, 4, 3), (1.0, 1.0, 1.0), 3) == [1.0]


@given(shape=SHAPES, spacing=SPACINGS, levels=st.integers(1, 5))
def test_levels_halve_and_end_at_the_full_grid(shape, spacing, levels):
    steps = pyramid_steps(shape, spacing, levels)
    assert 1 <= len(steps) <= levels
    assert all(coarse == pytest.approx(2 * fine) for coarse, fine in itertools.pairwise(steps))
    finest = make_level(shape, spacing, steps[-1])
    assert all(m == n for m, n, s in zip(finest.shape, shape, spacing, strict=True) if s <= 4 / 3 * steps[-1])


@given(shape=SHAPES, spacing=SPACINGS, step=st.floats(0.3, 40.0))
def test_a_level_keeps_its_extent_and_never_gains_voxels(shape, spacing, step):
    level = make_level(shape, spacing, step)
    for new, old, h, full in zip(level.shape, shape, level.spacing, spacing, strict=True):
        assert min(old, 2) <= new <= old
        assert (new - 1) * h == pytest.approx((old - 1) * full)
