"""Slider fidelity: agreement of changes between settings, whatever the fields have in common."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.metrics import slider_fidelity


def fields(seed, count=3):
    return np.random.default_rng(seed).normal(size=(count, 3, 4, 5, 6))


def test_it_is_the_share_of_all_differences_between_two_settings_that_is_explained():
    found, wanted = fields(0, 4), fields(1, 4)
    pairs = list(itertools.combinations(range(4), 2))
    changes = [(found[i] - found[j], wanted[i] - wanted[j]) for i, j in pairs]
    power = sum((b**2).sum() for _, b in changes)
    result = slider_fidelity(found, wanted)
    assert result["slider_fidelity"] == pytest.approx(1 - sum(((a - b) ** 2).sum() for a, b in changes) / power)
    assert result["slider_gain"] == pytest.approx(sum((a * b).sum() for a, b in changes) / power)
    own = sum((a**2).sum() for a, _ in changes)
    common = sum((a * b).sum() for a, b in changes)
    assert result["slider_correlation"] == pytest.approx(common / (own * power) ** 0.5)


def test_what_settings_have_in_common_does_not_count():
    wanted = fields(2)
    moved = slider_fidelity(wanted + fields(3, 1), wanted)
    assert moved == pytest.approx({"slider_fidelity": 1, "slider_correlation": 1, "slider_gain": 1})


def test_a_model_that_does_not_change_has_none():
    expected = {"slider_fidelity": 0, "slider_correlation": 0, "slider_gain": 0}
    assert slider_fidelity(np.ones((3, 3, 4, 5, 6)), fields(4)) == pytest.approx(expected)


def test_without_a_change_of_the_reference_there_is_no_answer():
    assert np.isnan(list(slider_fidelity(fields(5), np.ones((3, 3, 4, 5, 6))).values())).all()


@pytest.mark.parametrize(("first", "second"), [(fields(0, 1), fields(0, 1)), (fields(0, 2), fields(0, 3))])
def test_shapes_that_do_not_fit_are_refused(first, second):
    with pytest.raises(InputError, match="two settings or more"):
        slider_fidelity(first, second)
