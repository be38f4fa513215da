"""Hyperparameters drawn for every pair."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.training.config import HyperConfig, LossConfig
from SPRCore.training.hyper import default_setting, draw_setting

RANGES = {"alpha": (0.0, 0.2), "lambda_max": (0.5, 5.0)}
LOSS, HYPER = LossConfig(alpha=0.05, lambda_max=2.0), HyperConfig(ranges=RANGES)
HYPERMORPH = HyperConfig(ranges={"lambda": (0.0, 1.0)}, weighting="hypermorph")


def test_draws_fill_the_ranges_and_the_code_is_the_share_of_the_maximum():
    drawn = [draw_setting(LOSS, HYPER, 3, number) for number in range(400)]
    for place, (name, (low, high)) in enumerate(RANGES.items()):
        values = np.array([getattr(setting.prior, name) for setting in drawn])
        assert low <= values.min() < low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, rel=0.1)
        assert np.allclose([setting.code[place] for setting in drawn], values / high)
    assert all(setting.data_weight == 1.0 for setting in drawn)


def test_a_draw_depends_on_seed_and_number_alone():
    assert draw_setting(LOSS, HYPER, 1, 5) == draw_setting(LOSS, HYPER, 1, 5)
    assert draw_setting(LOSS, HYPER, 1, 5) != draw_setting(LOSS, HYPER, 1, 6)
    assert draw_setting(LOSS, HYPER, 1, 5) != draw_setting(LOSS, HYPER, 2, 5)


def test_without_ranges_nothing_changes():
    loss = LossConfig(prior="gaussian", sigma=0.3, lambda_mean=1.5)
    assert draw_setting(loss, None, 0, 9) == default_setting(loss, None)
    assert default_setting(loss, None).code == ()
    assert default_setting(loss, None).prior.sigma == 0.3


def test_one_hyperparameter_may_be_fixed():
    hyper = HyperConfig(ranges={"lambda_max": (0.5, 5.0)})
    drawn = draw_setting(LOSS, hyper, 0, 1)
    assert drawn.prior.alpha == 0.05
    assert drawn.code == (drawn.prior.lambda_max / 5.0,)
    assert default_setting(LOSS, hyper).code == (0.4,)


def test_hypermorph_weighs_similarity_against_regularization():
    loss = LossConfig(prior="uniform", strength=0.25)
    usual, drawn = default_setting(loss, HYPERMORPH), draw_setting(loss, HYPERMORPH, 0, 0)
    assert usual.data_weight == 0.75
    assert usual.prior.scale == 0.25
    assert drawn.data_weight + drawn.prior.scale == pytest.approx(1.0)
    assert drawn.code == (drawn.prior.scale,)
    assert default_setting(loss, HyperConfig(ranges={"lambda": (0.0, 1.0)})).data_weight == 1.0


def test_the_lowest_strength_is_still_a_prior():
    assert default_setting(LossConfig(prior="uniform", strength=1e-9), HYPERMORPH).prior.scale > 0
