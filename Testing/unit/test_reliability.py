"""Agreement of weight maps over repeated registrations: the statistics, the noise, and the map carried over."""

import dataclasses

import numpy as np
import pytest
import torch

from SPRCore import register
from SPRCore.api import RegistrationOptions
from SPRCore.errors import InputError
from SPRCore.geometry import Field, MaskedVolume, Volume
from SPRCore.io import as_pair
from SPRCore.metrics.agreement import correlation, intraclass_correlation
from SPRCore.registration import reliability
from SPRCore.registration.job import make_job
from SPRCore.registration.result import RegistrationResult
from SPRCore.regularization import BetaPrior
from SPRCore.synthetic import sliding_thorax

JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def test_intraclass_correlation_of_the_published_example():
    assert intraclass_correlation(JUDGES) == pytest.approx(0.29, abs=0.005)  # Shrout and Fleiss 1979, Table 4


def test_intraclass_correlation_counts_a_shift_and_noise_as_disagreement():
    random = np.random.default_rng(0)
    truth = random.random((5000, 1))
    assert intraclass_correlation(np.repeat(truth, 3, axis=1)) == pytest.approx(1.0)
    assert intraclass_correlation(np.hstack([truth, truth + 1.0])) < 0.3
    noisy = truth + random.normal(scale=truth.std(), size=(5000, 3))
    assert intraclass_correlation(noisy) == pytest.approx(0.5, abs=0.03)
    assert intraclass_correlation(np.ones((10, 2))) is None


def test_correlation_with_a_constant_is_unknown():
    values = np.arange(5.0)
    assert correlation(values, 2.0 * values) == pytest.approx(1.0)
    assert correlation(values, np.ones(5)) is None
    assert correlation(values[:0], values[:0]) is None


def phantom_pair(noise):
    shape = {"shape": (40, 36, 40), "spacing": (5.0, 5.0, 5.0)}
    phantom = sliding_thorax(**shape, amplitude_mm=16.0, seed=3, noise=noise)
    return as_pair(phantom.fixed, phantom.moving, None)[:2]


def test_noise_is_measured_and_added_at_its_level():
    image = Volume(np.random.default_rng(0).normal(100.0, 7.0, (40, 40, 40)).astype(np.float32), np.eye(4))
    smooth = np.add.outer(np.add.outer(*[np.linspace(0, 300, 40)] * 2), np.linspace(0, 300, 40))
    masked = MaskedVolume.whole(image.with_array(image.array + smooth.astype(np.float32)))
    level = reliability.noise_sd(masked)
    assert level == [pytest.approx(7.0, rel=0.05)]
    more = reliability.noisy(masked, level, np.random.default_rng(1))
    assert reliability.noise_sd(more) == [pytest.approx(7.0 * 2**0.5, rel=0.05)]
    assert np.std(more.volume.array - masked.volume.array) == pytest.approx(7.0, rel=0.05)


def test_the_map_of_the_swapped_images_is_carried_over_by_the_displacement(monkeypatch):
    """Each registration gives the weight x / 20 at the point x of its fixed image; the displacement is 3 mm along x."""
    fixed, moving = phantom_pair(0.03)
    calls = []

    def registered(one, other, affine_ras, job, callback=None):
        calls.append((one, other))
        index = np.indices(one.grid.shape)
        x = np.tensordot(one.grid.affine[0, :3], index, 1) + one.grid.affine[0, 3]
        return RegistrationResult(warped=None, displacement=None, weight=Volume(x / 20.0, one.grid.affine))

    monkeypatch.setattr(reliability, "register_pair", registered)
    vectors = np.zeros((*fixed.grid.shape, 3), np.float32)
    vectors[..., 0] = 3.0
    result = dataclasses.replace(registered(fixed, moving, None, None), displacement=Field(vectors, fixed.grid.affine))
    calls.clear()
    where = np.ones(fixed.grid.shape, bool)
    job = make_job(None, fixed.grid, torch.device("cpu"))
    found = reliability.weight_reliability((fixed, moving), result, where, job)
    assert calls[0] == (moving, fixed)
    assert found.registrations == 2 + reliability.NOISY
    assert found.swapped == pytest.approx(1.0)
    inner = found.sd.array[2:-2]
    np.testing.assert_allclose(inner, np.std([0.0, 0.15, 0.0, 0.0], ddof=1), atol=1e-5)
    noise = [one.volume.array - fixed.volume.array for one, _ in calls[1:]]
    assert all(np.std(each) == pytest.approx(found.noise[0], rel=0.05) for each in noise)
    assert not np.array_equal(*noise)


@pytest.fixture(scope="module")
def checked():
    def run(noise):
        fixed, moving = phantom_pair(noise)
        told = {"progress": lambda stage, done=None: seen.append((stage, done))}
        options = RegistrationOptions(weight_reliability=True, **told)
        return register(fixed, moving, prior=BetaPrior(alpha=0.02), init="none", device="cpu", options=options)

    seen = []
    return run(0.01), run(0.15), seen


def test_a_noisy_pair_has_a_less_reliable_map(checked):
    clean, noisy, _seen = checked
    weights = [one.report["metrics"]["after"]["weight"] for one in (clean, noisy)]
    good, bad = (weight["reliability"] for weight in weights)
    assert good["icc"] > 0.6
    assert bad["icc"] < good["icc"]
    assert good["noise_sd"]["fixed"] < bad["noise_sd"]["fixed"]
    assert good["registrations"] == 4
    assert len(good["correlation"]["noise"]) == reliability.NOISY
    assert clean.weight_reliability.grid.matches(clean.weight.grid)
    assert good["sd"]["p95"] >= good["sd"]["median"] >= 0.0
    assert clean.report["seconds"]["reliability"] > clean.report["seconds"]["register"]


def test_progress_counts_the_repetitions(checked):
    stage = "checking the stiffness map"
    done = [fraction for told, fraction in checked[2] if told == stage and fraction is not None]
    assert max(done) == pytest.approx(1.0)
    assert sum(abs(fraction - 1 / 3) < 0.02 for fraction in done) >= 1


def test_the_uniform_prior_has_no_map_to_check():
    fixed, moving = phantom_pair(0.03)
    with pytest.raises(InputError, match="uniform prior"):
        register(fixed, moving, prior="uniform", options=RegistrationOptions(weight_reliability=True))
