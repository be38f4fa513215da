"""Priors and their names."""

from __future__ import annotations

import pytest

from SPRCore.errors import InputError
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior
from SPRCore.regularization.hyperparameters import BY_KEY, HYPERPARAMETERS, prior_name
from SPRCore.regularization.priors import PRIORS, hyperparameters, make_prior


@pytest.mark.parametrize(
    "prior",
    [
        BetaPrior(alpha=0.3, lambda_max=4.0),
        GaussianPrior(sigma=1.5, lambda_mean=3.0),
        TotalVariationPrior(tv=0.2, lambda_max=12.0),
        UniformPrior(strength=2.5),
    ],
)
def test_a_prior_is_made_of_its_names(prior):
    values = hyperparameters(prior)
    assert list(values) == list(HYPERPARAMETERS[prior.name])
    assert make_prior(prior.name, values) == prior
    assert make_prior(prior.name, {}) == type(prior)()


def test_what_does_not_belong_is_refused():
    with pytest.raises(InputError, match="beta, gaussian, tv, uniform"):
        make_prior("flat", {})
    with pytest.raises(InputError, match=r"sigma.*beta prior.*alpha, lambda_max"):
        make_prior("beta", {"sigma": 1.0})
    with pytest.raises(InputError, match=r"alpha.*tv prior.*tv, lambda_max"):
        make_prior("tv", {"tv": 0.3, "alpha": 1.0})


@pytest.mark.parametrize(
    ("names", "first", "prior"),
    [
        (["tv"], (), "tv"),
        (["lambda_max", "tv"], (), "tv"),
        (["lambda_max"], (), "beta"),
        (["lambda_max"], ("tv",), "tv"),
        (["alpha", "lambda_max"], ("tv",), "beta"),
        (["lambda"], (), "uniform"),
        (["alpha", "tv"], (), "beta"),
    ],
)
def test_hyperparameters_name_their_prior(names, first, prior):
    assert prior_name(names, first) == prior


def test_the_table_is_that_of_the_priors():
    assert HYPERPARAMETERS.keys() == PRIORS.keys()
    for prior, items in HYPERPARAMETERS.items():
        assert hyperparameters(make_prior(prior, {})) == {key: item.default for key, item in items.items()}
        for key, item in items.items():
            low, high = item.usual_range
            assert key == item.key
            assert 0 < low <= item.default <= high
            if item.may_be_zero:
                assert hyperparameters(make_prior(prior, {key: 0.0}))[key] == 0.0
            else:
                with pytest.raises(InputError, match=f"{key}.*above 0"):
                    make_prior(prior, {key: 0.0})
            shared = BY_KEY[key]
            assert (item.attribute, item.symbol, item.may_be_zero) == (
                shared.attribute,
                shared.symbol,
                shared.may_be_zero,
            )
    fields = [item.node_field for items in HYPERPARAMETERS.values() for item in items.values()]
    assert len(set(fields)) == len(fields)
