"""Laws of the priors: the closed-form weight is a minimiser, and its derivative is never needed."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior

# Magnitudes over the decades that a registration meets, and the exact ends.
GRADIENTS = st.one_of(st.just(0.0), st.floats(-8.0, 2.0).map(lambda e: 10.0**e))
STRENGTHS = st.floats(-2.0, 1.0).map(lambda e: 10.0**e)
COHERENCES = st.one_of(st.just(0.0), st.floats(-4.0, 1.0).map(lambda e: 10.0**e))
ABOVE_ONE = st.one_of(st.floats(-9.0, 1.0).map(lambda e: 1.0 + 10.0**e), st.floats(1.01, 5.0))
BETA_ONE = st.builds(BetaPrior, alpha=COHERENCES, lambda_max=STRENGTHS)
BETA = st.builds(BetaPrior, alpha=COHERENCES, lambda_max=STRENGTHS, beta=ABOVE_ONE)
GAUSSIAN = st.builds(GaussianPrior, sigma=COHERENCES, lambda_mean=STRENGTHS)
TOTAL_VARIATION = st.builds(
    TotalVariationPrior, tv=st.floats(-3.0, 1.0).map(lambda e: 10.0**e), lambda_max=st.floats(0.01, 100.0)
)
PRIORS = st.one_of(BETA_ONE, BETA, GAUSSIAN, TOTAL_VARIATION)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


@given(prior=PRIORS, s=GRADIENTS)
def test_no_weight_of_a_grid_is_better_than_the_closed_form(prior, s):
    grid = torch.linspace(
        prior.floor, prior.bound if isinstance(prior, GaussianPrior) else 1.0, 4001, dtype=torch.float64
    )
    losses = prior.scale * grid * s + prior.penalty(grid)
    best = float(prior.profile(double(s)))
    # At w = floor a loss of 0 · ∞ cannot arise; a grid may only tie with the minimiser.
    assert best <= float(losses.min()) + 1e-9 * (1.0 + abs(best))


@given(prior=PRIORS, s=GRADIENTS)
def test_the_weight_of_the_profile_is_the_weight(prior, s):
    weight = prior.map_weight(double(s))
    torch.testing.assert_close(prior.profile(double(s)), prior.scale * weight * s + prior.penalty(weight))
    assert prior.floor <= float(weight) <= 1.0


@given(prior=PRIORS, s=GRADIENTS)
def test_single_precision_gives_the_same_weight(prior, s):
    exact, single = prior.map_weight(double(s)), prior.map_weight(double(s).float())
    # Near beta = 1 the weight bends so sharply at its corner that rounding of s shows.
    torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-6)


@given(prior=PRIORS, s=GRADIENTS.filter(bool))
def test_the_derivative_of_the_profile_is_the_scaled_weight(prior, s):
    step = 1e-5 * s
    low, middle, high = prior.profile(double(s - step, s, s + step)).tolist()
    numeric = (high - low) / (2 * step)
    expected = prior.scale * float(prior.map_weight(double(s)))
    # The weight has corners, where a difference quotient lies between both sides, and rounding limits the quotient.
    rounding = 1e-15 * (1 + abs(middle)) / step
    bend = prior.scale * float((prior.map_weight(double(s - step)) - prior.map_weight(double(s + step))).abs())
    assert abs(numeric - expected) <= 1e-6 * expected + 10 * rounding + bend


@given(prior=PRIORS, s=GRADIENTS, t=GRADIENTS)
def test_steeper_places_are_freer_and_cost_more(prior, s, t):
    low, high = sorted((s, t))
    weight, profile = prior.map_weight(double(low, high)), prior.profile(double(low, high))
    assert weight[0] >= weight[1] - 1e-12
    assert profile[0] <= profile[1] + 1e-9 * (1 + abs(float(profile[0])))


@given(prior=PRIORS, low=GRADIENTS, high=GRADIENTS)
def test_the_profile_lies_below_its_tangents(prior, low, high):
    # Concavity in s is what makes a step with the weight held fixed lower the whole energy.
    profile, weight = prior.profile(double(low, high)), prior.map_weight(double(low))
    tangent = float(profile[0]) + prior.scale * float(weight) * (high - low)
    assert float(profile[1]) <= tangent + 1e-9 * (1 + abs(tangent))


@given(alpha=st.floats(0.05, 5.0), beta=st.floats(1.0, 5.0))
def test_the_beta_density_integrates_to_one(alpha, beta):
    prior = BetaPrior(alpha=alpha, beta=beta)
    total, _ = integrate.quad(lambda w: np.exp(float(prior.log_density(double(w)))), 0.0, 1.0, limit=200)
    assert abs(total - 1.0) < 1e-5


@given(sigma=st.floats(0.05, 50.0))
def test_the_gaussian_density_integrates_to_one(sigma):
    prior = GaussianPrior(sigma=sigma)
    total, _ = integrate.quad(lambda w: np.exp(float(prior.log_density(double(w)))), 0.0, 1.0 + 10 / sigma**0.5)
    assert abs(total - 1.0) < 1e-6


@given(prior=TOTAL_VARIATION, far=st.floats(1.0, 1e6))
def test_the_total_variation_profile_is_the_root_beyond_its_cap(prior, far):
    """Quadratic up to the cap, with the same value and slope on both sides of it."""
    t, cap = prior.tv, (prior.tv / (2.0 * prior.lambda_max)) ** 2
    s = double(cap * far)
    if float(prior.map_weight(s)) > prior.floor:
        torch.testing.assert_close(prior.profile(s), t * s.sqrt())
    below = double(cap / far)
    torch.testing.assert_close(prior.profile(below), prior.lambda_max * below + prior.cost)
    torch.testing.assert_close(prior.profile(double(cap)), double(t * cap**0.5), rtol=1e-12, atol=0.0)
    assert abs(prior.lambda_max - t / (2.0 * cap**0.5)) <= 1e-12 * prior.lambda_max


# 1.0 is where the normalizer changes its formula.
@given(cost=st.one_of(st.floats(-12.0, 1.5).map(lambda e: 10.0**e), st.just(1.0), st.floats(0.99, 1.01)))
def test_the_total_variation_density_integrates_to_one(cost):
    prior = TotalVariationPrior(tv=2.0 * cost**0.5, lambda_max=1.0)
    # Substituted u = 1/w: the density of w is that of u over u squared, smooth and without a corner at 0.
    total, _ = integrate.quad(
        lambda u: np.exp(float(prior.log_density(double(1.0 / u)))) / u**2, 1.0, np.inf, limit=500
    )
    assert abs(total - 1.0) < 1e-6


@given(prior=PRIORS, a=st.floats(0.01, 0.99), b=st.floats(0.01, 0.99))
def test_the_penalty_is_minus_the_log_density_up_to_a_constant(prior, a, b):
    if isinstance(prior, GaussianPrior) and prior.sigma == 0.0:
        return  # flat on an infinite range: no density
    difference = prior.penalty(double(a)) - prior.penalty(double(b))
    torch.testing.assert_close(
        prior.log_density(double(b)) - prior.log_density(double(a)), difference, atol=1e-9, rtol=0
    )
