import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SPRCore import metrics
from SPRCore.geometry import Field, Volume

seeds = st.integers(0, 2**32 - 1)
permutations = st.sampled_from(list(itertools.permutations(range(3))))
flips = st.tuples(st.booleans(), st.booleans(), st.booleans())


def label_maps(seed, shape=(6, 7, 8)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, shape), rng.integers(0, 4, shape)


def turned(array, affine, order, flip):
    """The same object in space, stored along other axes and directions."""
    shape = np.array(array.shape[:3])
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, old in enumerate(order):
        matrix[old, new] = -1 if flip[new] else 1
        matrix[old, 3] = shape[old] - 1 if flip[new] else 0
    stored = array.transpose(*order, *range(3, array.ndim))
    return np.flip(stored, [a for a in range(3) if flip[a]]).copy(), affine @ matrix


def rough_field(seed, sigma=0.5):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    return Field(np.random.default_rng(seed).normal(0, sigma, (5, 6, 7, 3)) * [1, 2, 3], affine)


@given(seeds)
def test_dice_and_hd95_are_symmetric_and_perfect_on_themselves(seed):
    a, b = label_maps(seed)
    assert metrics.dice(a, b) == metrics.dice(b, a)
    assert metrics.hd95_mm(a, b, (1, 2, 3)) == pytest.approx(metrics.hd95_mm(b, a, (1, 2, 3)), nan_ok=True)
    assert set(metrics.dice(a, a).values()) == {1.0}
    assert set(metrics.hd95_mm(a, a, (1, 2, 3)).values()) == {0.0}
    assert all(0 <= value <= 1 for value in metrics.dice(a, b).values())


@given(seeds, permutations, flips)
def test_labels_measure_the_same_however_they_are_stored(seed, order, flip):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    a, b = label_maps(seed)
    one = (Volume(a, affine), Volume(b, affine))
    other = tuple(Volume(*turned(x, affine, order, flip)) for x in (a, b))
    assert metrics.dice(*one) == metrics.dice(*other)
    assert metrics.hd95_mm(*one) == pytest.approx(metrics.hd95_mm(*other), nan_ok=True)


@given(seeds, permutations, flips)
def test_fields_measure_the_same_however_they_are_stored(seed, order, flip):
    field = rough_field(seed)
    other = Field(*turned(field.array, field.affine, order, flip))
    assert metrics.folding_percent(field) == pytest.approx(metrics.folding_percent(other), abs=1e-3)
    assert metrics.jacobian_summary(field) == pytest.approx(metrics.jacobian_summary(other), abs=1e-4)
    assert metrics.displacement_summary(field) == pytest.approx(metrics.displacement_summary(other), rel=1e-5)
    points = np.random.default_rng(seed).uniform(0, 1, (9, 3)) * [4, 10, 18]
    np.testing.assert_allclose(metrics.tre_mm(points, points, field), metrics.tre_mm(points, points, other), atol=1e-3)
    if not any(flip):  # the two central tetrahedra are tied to one diagonal of the cube, which a flip changes
        assert metrics.ndv_percent(field) == pytest.approx(metrics.ndv_percent(other), rel=1e-3, abs=1e-4)


@given(seeds, st.floats(0.1, 50))
def test_another_unit_of_length_scales_lengths_and_nothing_else(seed, factor):
    field = rough_field(seed)
    scale = np.diag([factor, factor, factor, 1.0])
    other = Field(field.array * np.float32(factor), scale @ field.affine)
    assert metrics.folding_percent(field) == pytest.approx(metrics.folding_percent(other), abs=1.0)
    assert metrics.ndv_percent(field) == pytest.approx(metrics.ndv_percent(other), rel=1e-3, abs=1e-4)
    for name, value in metrics.displacement_summary(field).items():
        assert metrics.displacement_summary(other)[name] == pytest.approx(factor * value, rel=1e-4)
    ours, theirs = (metrics.inverse_consistency_mm(f, f)["mean"] for f in (field, other))
    assert theirs == pytest.approx(factor * ours, rel=1e-2)


@given(seeds)
def test_no_folding_where_the_field_is_gentle(seed):
    field = rough_field(seed, sigma=1.0)
    gentle = Field(np.clip(field.array / [1, 2, 3], -0.15, 0.15) * [1, 2, 3], field.affine)
    assert metrics.folding_percent(gentle) == metrics.ndv_percent(gentle) == 0.0
