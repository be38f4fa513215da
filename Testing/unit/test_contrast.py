"""Maps without contrast are recognized, and the proposed move restores contrast when the pair is registered again."""

import numpy as np
import pytest
import torch

from SPRCore.analysis.planes import foreground
from SPRCore.geometry import Volume
from SPRCore.io import as_pair
from SPRCore.registration.job import make_job
from SPRCore.registration.map_contrast import map_contrast
from SPRCore.registration.pair import register_pair
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior
from SPRCore.regularization.contrast import LEAST_RANGE, weight_contrast
from SPRCore.regularization.contrast_move import predicted_contrast, with_move
from SPRCore.regularization.hyperparameters import usual_ranges
from SPRCore.regularization.most_probable import free_weight
from SPRCore.regularization.priors import with_hyperparameters
from SPRCore.synthetic import sliding_thorax

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("weights", "verdict", "maximum", "zero"),
    [
        (np.ones(1000), "stiff", 100.0, 0.0),
        (np.r_[np.ones(970), np.full(30, 0.2)], "stiff", 97.0, 0.0),
        (np.r_[np.ones(940), np.full(60, 0.2)], "informative", 94.0, 0.0),
        (np.r_[np.full(970, 0.001), np.ones(30)], "free", 3.0, 97.0),
        (np.full(1000, 0.5), "flat", 0.0, 0.0),
        (0.92 + 0.06 * RANDOM.random(1000), "stiff", 0.0, 0.0),  # near the bound, not at it
        (RANDOM.random(1000), "informative", 1.0, 1.0),
    ],
)
def test_verdict_and_shares(weights, verdict, maximum, zero):
    found = weight_contrast(weights.astype(np.float32), "beta")
    assert found.verdict == verdict
    assert found.is_informative == (verdict == "informative")
    assert found.maximum_percent == pytest.approx(maximum, abs=1.0)
    assert found.zero_percent == pytest.approx(zero, abs=1.0)
    assert found.p05 == pytest.approx(np.percentile(weights, 5), abs=1e-6)
    assert found.p95 == pytest.approx(np.percentile(weights, 95), abs=1e-6)


def test_the_map_of_the_uniform_prior_is_constant_by_construction():
    assert weight_contrast(np.ones(100), "uniform").verdict == "uniform"


@pytest.fixture(scope="module")
def pair():
    phantom = sliding_thorax(shape=(40, 36, 40), spacing=(5.0, 5.0, 5.0), amplitude_mm=16.0, seed=3)
    fixed, moving, _ = as_pair(phantom.fixed, phantom.moving, None)
    return fixed, moving, foreground(fixed.volume, fixed.valid)


def contrast_at(pair, prior, **options):
    fixed, moving, where = pair
    job = make_job(None, fixed.grid, torch.device("cpu"), prior=prior, **options)
    result = register_pair(fixed, moving, None, job)
    return map_contrast(result.weight, result.velocity, where, job)


@pytest.mark.parametrize(
    ("prior", "verdict", "moved"),
    [
        (BetaPrior(alpha=0.6, lambda_max=1.0), "stiff", "alpha"),
        (GaussianPrior(sigma=4.0, lambda_mean=0.5), "stiff", "sigma"),
        (TotalVariationPrior(tv=0.02, lambda_max=100.0), "free", "lambda_max"),
    ],
    ids=["beta", "gaussian", "tv"],
)
def test_the_move_restores_contrast_when_the_pair_is_registered_again(pair, prior, verdict, moved):
    before = contrast_at(pair, prior)
    assert before.verdict == verdict
    assert list(before.move) == [moved]
    low, high = usual_ranges(prior.name)[moved]
    assert low <= before.move[moved] < getattr(prior, moved) <= high
    after = contrast_at(pair, with_hyperparameters(prior, before.move))
    assert after.is_informative
    assert after.p95 - after.p05 >= LEAST_RANGE
    assert not after.move


def test_a_good_map_and_a_uniform_one_have_no_move(pair):
    assert contrast_at(pair, BetaPrior(alpha=0.01)).is_informative
    constant = contrast_at(pair, UniformPrior())
    assert constant.verdict == "uniform"
    assert constant.maximum_percent == 100.0
    assert not constant.move


def test_a_painted_stiffness_is_no_contrast(pair):
    fixed = pair[0]
    painted = np.ones(fixed.grid.shape, np.float32)
    painted[:20] = 0.1
    found = contrast_at(pair, BetaPrior(alpha=0.6), stiffness=Volume(painted, fixed.grid.affine))
    assert found.verdict == "stiff"
    assert found.p05 == pytest.approx(1.0, abs=0.05)


def test_the_strength_is_not_offered_where_the_velocity_would_follow_it(pair):
    """All stiff: a larger lambda_max has contrast for the velocity at hand, and none once that is solved for."""
    stiff = BetaPrior(alpha=0.6, lambda_max=1.0)
    fixed, moving, where = pair
    job = make_job(None, fixed.grid, torch.device("cpu"), prior=stiff)
    result = register_pair(fixed, moving, None, job)
    pooled = free_weight(result.velocity.to_tensor_vox() * 5.0, (5.0,) * 3, stiff, (1, 1, 1))[1]
    stronger = BetaPrior(alpha=0.6, lambda_max=60.0)
    assert predicted_contrast(pooled, stronger, (1, 1, 1), torch.from_numpy(where)[None, None]).is_informative
    assert contrast_at(pair, stronger).verdict == "stiff"


def squares(*values):
    """A squared gradient that is constant in slabs, and all of its voxels."""
    field = torch.tensor(values).repeat_interleave(8).view(1, 1, -1, 1, 1).expand(1, 1, -1, 4, 4).contiguous()
    return field, torch.ones_like(field, dtype=torch.bool)


def test_the_move_is_the_smallest_that_suffices_in_closed_form():
    pooled, where = squares(*([0.01] * 9), 0.1)
    prior, pool = BetaPrior(alpha=0.6, lambda_max=1.0), (0, 0, 0)
    before = predicted_contrast(pooled, prior, pool, where)
    found = with_move(before, pooled, prior, pool, where, usual_ranges("beta"))
    assert found.move == {"alpha": pytest.approx(0.085, abs=0.003)}
    assert with_move(before, pooled, prior, pool, where, {"lambda_max": (0.5, 5.0)}).move == {}
    assert with_move(before, pooled, prior, pool, where, {"alpha": (0.5, 0.6)}).move == {}


def test_a_free_map_takes_less_strength_or_more_coherence_if_that_ends_before():
    pooled, where = squares(*([1.0] * 9), 1e-4)
    prior, pool = TotalVariationPrior(tv=0.02, lambda_max=100.0), (0, 0, 0)
    before = predicted_contrast(pooled, prior, pool, where)
    assert before.verdict == "free"
    usual = usual_ranges("tv")
    assert with_move(before, pooled, prior, pool, where, usual).move == {"lambda_max": pytest.approx(6.6, abs=0.3)}
    narrow = usual | {"lambda_max": (50.0, 100.0)}
    assert with_move(before, pooled, prior, pool, where, narrow).move == {"tv": pytest.approx(0.31, abs=0.02)}


def test_no_move_is_predicted_for_a_map_that_is_far_from_the_closed_form():
    pooled, where = squares(*([0.01] * 5), *([1.0] * 5))
    flat = weight_contrast(np.ones(100), "beta")  # of a network
    assert with_move(flat, pooled, BetaPrior(alpha=0.1), (0, 0, 0), where, usual_ranges("beta")).move == {}
