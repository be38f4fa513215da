"""Priors and their names."""

from __future__ import annotations

import pytest

from SPRCore.errors import InputError
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior
from SPRCore.regularization.naming import HYPERPARAMETERS, hyperparameters, make_prior, prior_with


@pytest.mark.parametrize(
    "prior",
    [
        BetaPrior(alpha=0.3, lambda_max=4.0),
        GaussianPrior(sigma=1.5, lambda_mean=3.0),
        TotalVariationPrior(strength=0.2, lambda_max=12.0),
        UniformPrior(strength=2.5),
    ],
)
def test_a_prior_is_made_of_its_names(prior):
    values = hyperparameters(prior)
    assert tuple(values) == HYPERPARAMETERS[prior.name]
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
    assert prior_with(names, first) == prior
