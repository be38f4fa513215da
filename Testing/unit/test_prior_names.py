"""Priors and their names."""

from __future__ import annotations

import pytest

from SPRCore.errors import InputError
from SPRCore.regularization import BetaPrior, GaussianPrior, UniformPrior
from SPRCore.regularization.naming import HYPERPARAMETERS, hyperparameters, make_prior


@pytest.mark.parametrize(
    "prior",
    [BetaPrior(alpha=0.3, lambda_max=4.0), GaussianPrior(sigma=1.5, lambda_mean=3.0), UniformPrior(strength=2.5)],
)
def test_a_prior_is_made_of_its_names(prior):
    values = hyperparameters(prior)
    assert tuple(values) == HYPERPARAMETERS[prior.name]
    assert make_prior(prior.name, values) == prior
    assert make_prior(prior.name, {}) == type(prior)()


def test_what_does_not_belong_is_refused():
    with pytest.raises(InputError, match="beta, gaussian, uniform"):
        make_prior("flat", {})
    with pytest.raises(InputError, match=r"sigma.*beta prior.*alpha, lambda_max"):
        make_prior("beta", {"sigma": 1.0})
