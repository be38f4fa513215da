"""Ranges, limits and messages of the priors on the weight."""

from __future__ import annotations

import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior

S = torch.tensor([0.0, 1e-6, 0.01, 0.05, 0.5, 1e6], dtype=torch.float64)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: BetaPrior(alpha=-0.1), "alpha"),
        (lambda: BetaPrior(alpha=float("nan")), "alpha"),
        (lambda: BetaPrior(alpha=float("inf")), "alpha"),
        (lambda: BetaPrior(lambda_max=0.0), "lambda_max"),
        (lambda: BetaPrior(lambda_max=float("inf")), "lambda_max"),
        (lambda: BetaPrior(beta=0.9), "beta"),
        (lambda: BetaPrior(floor=0.0), "floor"),
        (lambda: BetaPrior(floor=1.5), "floor"),
        (lambda: GaussianPrior(sigma=-1.0), "sigma"),
        (lambda: GaussianPrior(lambda_mean=-2.0), "lambda_mean"),
        (lambda: GaussianPrior(bound=1e-9), "bound"),
        (lambda: GaussianPrior(floor=float("nan")), "floor"),
        (lambda: TotalVariationPrior(tv=0.0), "tv"),
        (lambda: TotalVariationPrior(tv=-0.1), "tv"),
        (lambda: TotalVariationPrior(tv=float("inf")), "tv"),
        (lambda: TotalVariationPrior(lambda_max=0.0), "lambda_max"),
        (lambda: TotalVariationPrior(floor=2.0), "floor"),
        (lambda: UniformPrior(strength=0.0), "lambda"),
        (lambda: UniformPrior(strength=float("nan")), "lambda"),
    ],
)
def test_bad_hyperparameters_are_refused_in_one_line(make, name):
    with pytest.raises(InputError, match=rf"^{name}\b.*expected") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_beta_weight_is_the_clipped_ratio():
    prior = BetaPrior(alpha=0.1, lambda_max=2.0)
    torch.testing.assert_close(prior.map_weight(S), (0.1 / (2.0 * S)).clamp(1e-6, 1.0))
    corner = 0.1 / 2.0
    assert prior.map_weight(torch.tensor([0.5 * corner, 2 * corner])).tolist() == [1.0, 0.5]


def test_beta_profile_is_quadratic_then_logarithmic():
    prior = BetaPrior(alpha=0.1, lambda_max=2.0)
    corner = 0.1 / 2.0
    expected = torch.where(S <= corner, 2.0 * S, 0.1 * (1 + torch.log(S.clamp(min=corner) / corner)))
    inside = S < 1e4  # the floor of the weight is not reached
    torch.testing.assert_close(prior.profile(S)[inside], expected[inside])


def test_no_coherence_frees_every_voxel():
    assert (BetaPrior(alpha=0.0).map_weight(S[1:]) == 1e-6).all()
    assert (GaussianPrior(sigma=0.0).map_weight(S[1:]) == 1e-6).all()


def test_strong_coherence_is_the_uniform_prior():
    uniform = UniformPrior(strength=2.0)
    moderate = S[:5]
    torch.testing.assert_close(
        BetaPrior(alpha=100.0, lambda_max=2.0).map_weight(moderate), uniform.map_weight(moderate)
    )
    stiff = GaussianPrior(sigma=1e9, lambda_mean=2.0)
    torch.testing.assert_close(stiff.profile(moderate), uniform.profile(moderate))


def test_total_variation_weight_is_the_clipped_root():
    prior = TotalVariationPrior(tv=0.4, lambda_max=2.0)
    assert prior.cost == pytest.approx(0.02)
    torch.testing.assert_close(prior.map_weight(S), (0.02 / (2.0 * S)).sqrt().clamp(1e-6, 1.0))
    corner = 0.1**2
    assert prior.map_weight(torch.tensor([0.25 * corner, 4 * corner])).tolist() == pytest.approx([1.0, 0.5])


def test_total_variation_penalizes_a_jump_by_its_height_alone():
    """A step over one, two or four voxels costs the same; a quadratic penalty prefers the widest."""
    jumps = [torch.tensor(row, dtype=torch.float64).square() for row in ([8.0, 0, 0, 0], [4.0, 4, 0, 0], [2.0] * 4)]
    variation = TotalVariationPrior(tv=0.5, lambda_max=1e4)
    costs = [float(variation.profile(s).sum()) for s in jumps]
    assert costs == pytest.approx([0.5 * 8.0] * 3, abs=1e-4)
    assert float(UniformPrior().profile(jumps[2]).sum()) < float(UniformPrior().profile(jumps[0]).sum()) / 3.9


def test_the_total_variation_density_does_not_underflow():
    prior = TotalVariationPrior(tv=100.0, lambda_max=0.5)  # c = 5000: both exp(-c) and its integral are 0 in floats
    density = prior.log_density(torch.tensor([1.0], dtype=torch.float64))
    assert float(density.exp()) == pytest.approx(prior.cost + 2.0, rel=1e-3)  # 1 / (e^c E_2(c)), asymptotically


def test_uniform_weight_is_one_and_costs_nothing():
    prior = UniformPrior(strength=0.7)
    assert (prior.map_weight(S) == 1.0).all()
    assert (prior.penalty(S) == 0.0).all()
    torch.testing.assert_close(prior.profile(S), 0.7 * S)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "prior",
    [
        BetaPrior(),
        BetaPrior(alpha=0.0),
        BetaPrior(alpha=0.0, beta=2.0),
        BetaPrior(beta=1.0 + 1e-9),
        BetaPrior(beta=1.0 + 1e-15),
        BetaPrior(beta=3.0),
        GaussianPrior(),
        GaussianPrior(sigma=0.0, lambda_mean=5.0),
        GaussianPrior(sigma=1e-30),
        TotalVariationPrior(),
        TotalVariationPrior(tv=1e-6),
        TotalVariationPrior(tv=100.0, lambda_max=0.01),
    ],
    ids=repr,
)
def test_weight_and_profile_are_finite_for_every_s(prior, dtype):
    s = torch.tensor([0.0, 1e-38, 1e-12, prior.scale, 0.05, 1.0, 1e6, 1e18], dtype=dtype)
    weight = prior.map_weight(s)
    assert weight.dtype == dtype
    assert ((weight >= 1e-6 * 0.999) & (weight <= 1.0)).all()
    assert torch.isfinite(prior.profile(s)).all()
