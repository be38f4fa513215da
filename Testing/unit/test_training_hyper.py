"""Hyperparameters drawn for every pair."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.training.hyper import Settings

RANGES = {"alpha": (0.0, 0.2), "lambda_max": (0.5, 5.0)}
VALUES = {"alpha": 0.05, "lambda_max": 2.0}


def test_draws_fill_the_ranges_and_the_code_is_the_share_of_the_maximum():
    settings = Settings(prior="beta", values=VALUES, ranges=RANGES)
    drawn = [settings.draw(3, index) for index in range(400)]
    for name, place in (("alpha", 0), ("lambda_max", 1)):
        low, high = RANGES[name]
        values = np.array([getattr(setting.prior, name) for setting in drawn])
        assert low <= values.min() < low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, rel=0.1)
        assert np.allclose([setting.code[place] for setting in drawn], values / high)
    assert all(setting.data_weight == 1.0 for setting in drawn)


def test_a_draw_depends_on_seed_and_index_alone():
    settings = Settings(prior="beta", values=VALUES, ranges=RANGES)
    assert settings.draw(1, 5) == settings.draw(1, 5)
    assert settings.draw(1, 5) != settings.draw(1, 6)
    assert settings.draw(1, 5) != settings.draw(2, 5)


def test_without_ranges_nothing_changes():
    settings = Settings(prior="gaussian", values={"sigma": 0.3, "lambda_mean": 1.5}, ranges={})
    assert settings.draw(0, 9) == settings.usual()
    assert settings.usual().code == ()
    assert settings.usual().prior.sigma == 0.3


def test_one_hyperparameter_may_be_fixed():
    settings = Settings(prior="beta", values=VALUES, ranges={"lambda_max": (0.5, 5.0)})
    drawn = settings.draw(0, 1)
    assert drawn.prior.alpha == 0.05
    assert drawn.code == (drawn.prior.lambda_max / 5.0,)
    assert settings.usual().code == (0.4,)


def test_hypermorph_weighs_similarity_against_regularization():
    settings = Settings(prior="uniform", values={"lambda": 0.25}, ranges={"lambda": (0.0, 1.0)}, hypermorph=True)
    assert settings.usual().data_weight == 0.75
    assert settings.usual().prior.strength == 0.25
    drawn = settings.draw(0, 0)
    assert drawn.data_weight + drawn.prior.strength == pytest.approx(1.0)
    assert drawn.code == (drawn.prior.strength,)


def test_the_lowest_strength_is_still_a_prior():
    settings = Settings(prior="uniform", values={"lambda": 0.0 + 1e-9}, ranges={"lambda": (0.0, 1.0)}, hypermorph=True)
    assert settings.usual().prior.strength > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranges": {"sigma": (0.0, 1.0)}}, "sigma"),
        ({"values": {"sigma": 1.0}}, "sigma"),
        ({"hypermorph": True}, "hypermorph"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Settings(**{"prior": "beta", "values": VALUES, "ranges": RANGES, **change})


def test_hypermorph_beyond_one_is_refused():
    with pytest.raises(InputError, match="0, 1"):
        Settings(prior="uniform", values={"lambda": 0.5}, ranges={"lambda": (0.0, 2.0)}, hypermorph=True)
