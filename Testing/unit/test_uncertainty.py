"""The uncertainty of a displacement: the samples, what they respond to, and what a registration reports of it."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

import SPRCore as spr
from SPRCore.config import ConfigError
from SPRCore.errors import InputError
from SPRCore.functional import integrate_quickly
from SPRCore.geometry import Annotations, Field, MaskedVolume, Volume
from SPRCore.metrics import uncertainty_metrics
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.level import completed
from SPRCore.registration.posterior import VelocityPosterior, velocity_posterior
from SPRCore.registration.pyramid import Level
from SPRCore.registration.uncertainty import (
    CALIBRATION,
    UncertaintyConfig,
    displacement_uncertainty,
    prior_factors,
)
from SPRCore.regularization import BetaPrior, UniformPrior, edge_weights
from SPRCore.synthetic import sliding_plates

SHAPE = (4, 3, 3)
QUICK = UncertaintyConfig(voxels=4000, samples=8)


def random_posterior(velocity=0.0):
    """A posterior on a tiny grid with a curvature of rank one and one weight per voxel."""
    generator = torch.Generator().manual_seed(3)
    slope = torch.randn((1, 3, *SHAPE), generator=generator, dtype=torch.float64)
    rows = [slope[:, i] * slope[:, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
    weight = 0.5 + torch.rand((1, 1, *SHAPE), generator=generator, dtype=torch.float64)
    return VelocityPosterior(
        curvature=torch.stack(rows, dim=1),
        edges=edge_weights(weight, (1.0, 1.5, 2.0)),
        velocity_mm=velocity * torch.randn((1, 3, *SHAPE), generator=generator, dtype=torch.float64),
        grid=Level(shape=SHAPE, spacing=(1.0, 1.5, 2.0)),
        refinement=torch.ones(1),
        residual=0.1,
    )


def dense_precision(posterior, factor=1.0):
    """The precision as a matrix, column by column."""
    from SPRCore.registration.newton import symmetric_product
    from SPRCore.regularization import weighted_laplacian

    size = 3 * math.prod(SHAPE)
    columns = torch.eye(size, dtype=torch.float64).view(size, 3, *SHAPE)
    edges = [factor * edge for edge in posterior.edges]
    applied = weighted_laplacian(columns, edges) + symmetric_product(posterior.curvature, columns)
    return applied.reshape(size, size)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_samples_have_the_inverse_of_the_precision_as_covariance(factor):
    posterior = random_posterior()
    generator = torch.Generator().manual_seed(0)
    samples = posterior.sampled(torch.full((6000,), factor), 400, 1e-9, generator).flatten(1)
    covariance = samples.T @ samples / len(samples)
    expected = torch.linalg.inv(dense_precision(posterior, factor))
    scale = expected.diagonal().sqrt()
    error = (covariance - expected) / (scale[:, None] * scale)
    assert error.abs().max() < 0.08  # six standard errors of a correlation


def test_a_factor_of_the_prior_moves_the_mean_as_the_minimum_of_the_energy():
    posterior = random_posterior(velocity=1e6)  # beside which the noise of the samples vanishes
    moved = posterior.sampled(torch.tensor([1.0, 3.0]), 400, 1e-12, torch.Generator().manual_seed(0))
    assert float(moved[0].abs().max()) < 100.0
    # The data term, quadratic with its minimum at a, has the given velocity v as the minimum for the factor 1:
    # H (v - a) + L v = 0. For the factor f the minimum v' satisfies H (v' - a) + f L v' = 0.
    precision, stronger = dense_precision(posterior), dense_precision(posterior, 3.0)
    v = posterior.velocity_mm.flatten()
    expected = torch.linalg.solve(stronger, precision @ v) - v
    torch.testing.assert_close(moved[1].flatten(), expected, rtol=1e-3, atol=100.0)


def test_factors_of_the_prior_are_log_normal():
    factors = prior_factors(1000).log10()
    assert abs(float(factors.mean())) < 1e-3
    assert abs(float(factors.std()) - math.log10(3.0)) < 0.005


@pytest.fixture(scope="module")
def solved_plates():
    """Two plates registered by the solver: problem and result for two strengths."""
    made = sliding_plates(shape=(40, 32, 40), spacing=(4.0, 4.0, 4.0))
    images = made.fixed.to_tensor(), made.moving.to_tensor()
    problem = InstanceProblem.of(*images, made.fixed.spacing)
    found = {strength: problem.course(UniformPrior(strength=strength)).completed() for strength in (0.3, 3.0)}
    return made, problem, found


def uncertainty_of(problem, found, prior, config=QUICK):
    given = found.velocity_mm, found.displacement_vox, found.weight, prior
    return completed(displacement_uncertainty(problem.levels[-1], *given, config))


def test_a_stiffer_prior_is_more_certain_of_the_same_velocity():
    image = sliding_plates(shape=(40, 32, 40), spacing=(4.0, 4.0, 4.0)).fixed.to_tensor()
    noise = 0.05 * float(image.max()) * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    images = InstanceProblem.of(image, image + noise, (4.0, 4.0, 4.0)).levels[-1]
    still, weight = torch.zeros((1, 3, 40, 32, 40)), torch.ones((1, 1, 40, 32, 40))
    soft, stiff = (
        float(
            completed(
                displacement_uncertainty(images, still, still, weight, UniformPrior(strength=s), QUICK)
            ).deviation_mm.median()
        )
        for s in (0.1, 10.0)
    )
    assert stiff < 0.8 * soft


def test_the_same_seed_gives_the_same_map_and_another_one_a_similar_map(solved_plates):
    _, problem, found = solved_plates
    prior = UniformPrior(strength=3.0)
    first, again = (uncertainty_of(problem, found[3.0], prior).deviation_mm for _ in range(2))
    other = uncertainty_of(problem, found[3.0], prior, dataclasses.replace(QUICK, seed=1)).deviation_mm
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert abs(float((first / other).log().mean())) < 0.1


def test_noise_and_missing_data_make_it_larger():
    made = sliding_plates(shape=(40, 32, 40), spacing=(4.0, 4.0, 4.0))
    fixed, moving = made.fixed.to_tensor(), made.moving.to_tensor()
    prior, medians = UniformPrior(strength=1.0), {}
    noise = 0.1 * float(fixed.max()) * torch.randn(fixed.shape, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(fixed)
    mask[:, :, :20] = 0
    for name, image, part in (("clean", fixed, None), ("noisy", fixed + noise, None), ("masked", fixed, mask)):
        problem = InstanceProblem.of(image, moving, made.fixed.spacing, mask=part)
        deviation = uncertainty_of(problem, problem.course(prior).completed(), prior).deviation_mm
        half = deviation.shape[2] // 3
        medians[name] = float(deviation[:, :, :half].median()), float(deviation[:, :, -half:].median())
    assert medians["noisy"][0] > 1.15 * medians["clean"][0]
    assert medians["masked"][0] > 1.5 * medians["clean"][0]  # without data, the first third
    assert medians["masked"][1] < 1.3 * medians["clean"][1]  # with data


def test_a_coarse_grid_gives_about_the_deviation_of_the_finest_one(solved_plates):
    _, problem, found = solved_plates
    prior, maps = UniformPrior(strength=3.0), []
    for voxels in (20_000, 900):
        config = UncertaintyConfig(voxels=voxels, samples=24)
        maps.append(uncertainty_of(problem, found[3.0], prior, config).deviation_mm)
    assert maps[1].numel() <= 900 < maps[0].numel()
    ratio = float(maps[1].median() / maps[0].median())
    assert 0.7 < ratio < 1.4


def test_errors_of_a_phantom_are_within_it():
    """Coverage on one phantom; docs/results/uncertainty has that of all."""
    made = sliding_plates(shape=(48, 40, 48), spacing=(4.0, 4.0, 4.0), seed=5)
    options = spr.RegistrationOptions(uncertainty=UncertaintyConfig())
    result = spr.register(made.fixed, made.moving, init="none", options=options)
    error = np.linalg.norm(result.displacement.array - made.displacement.array, axis=-1)
    ratio = error / result.uncertainty.array
    assert 0.4 < (ratio <= 1.0).mean() < 0.9
    assert (ratio <= 2.0).mean() > 0.85


def test_the_factor_in_the_program_is_the_fitted_one(repository):
    fit = json.loads((repository / "docs/results/uncertainty/calibration.json").read_text(encoding="utf-8"))
    assert pytest.approx(fit["factor"], rel=0.02) == CALIBRATION


def test_the_registration_reports_it(pair):
    points = np.array([[0.0, 0.0, 0.0], [4.0, 4.0, 4.0]])
    annotations = Annotations(
        fixed_labels=pair["fixed_labels"],
        moving_labels=pair["moving_labels"],
        fixed_points=points,
        moving_points=points + 1.0,
    )
    options = spr.RegistrationOptions(uncertainty=QUICK)
    result = spr.register(pair["fixed"], pair["moving"], init="none", annotations=annotations, options=options)
    assert result.uncertainty.grid.matches(pair["fixed"].grid)
    assert len(result.samples) == QUICK.samples
    after = result.report["metrics"]["after"]
    median, p95, largest = (after["uncertainty_mm"][key] for key in ("median", "p95", "max"))
    assert 0 < median < p95 < largest
    assert set(after["uncertainty_mm"]["labels"]) == {"1"}
    assert [set(row) for row in after["landmarks"]] == [{"error_mm", "uncertainty_mm"}] * 2
    sampled = result.sampled_displacement(result.samples[0])
    assert sampled.grid.matches(result.displacement.grid)
    assert not np.allclose(sampled.array, result.displacement.array)
    without = spr.register(pair["fixed"], pair["moving"], init="none")
    assert without.uncertainty is None
    assert "uncertainty_mm" not in without.report["metrics"]["after"]
    np.testing.assert_array_equal(without.displacement.array, result.displacement.array)


@pytest.mark.parametrize("refine", [0, 4])
def test_a_network_has_one_too(pair, bundle_of, refine):
    options = spr.RegistrationOptions(uncertainty=QUICK, refine=refine)
    result = spr.register(
        pair["fixed"], pair["moving"], method=bundle_of("voxelmorph-spr"), init="none", options=options
    )
    assert result.uncertainty.array.min() > 0


@pytest.mark.parametrize("similarity", ["lncc", "mse"])
def test_it_says_where_it_was_not_calibrated(pair, similarity):
    options = spr.RegistrationOptions(uncertainty=QUICK, similarity=similarity)
    report = spr.register(pair["fixed"], pair["moving"], init="none", options=options).report
    assert any("calibrated" in line for line in report["warnings"]) == (similarity != "lncc")


def test_an_alignment_does_not_turn_or_shift_it(pair):
    options = spr.RegistrationOptions(uncertainty=QUICK)
    given = np.eye(4)
    plain = spr.register(pair["fixed"], pair["moving"], init=given, options=options)
    shift = np.eye(4)
    shift[:3, 3] = 5.0
    away = Volume(pair["moving"].array, shift @ pair["moving"].affine)
    moved = spr.register(pair["fixed"], away, init=shift, options=options)
    np.testing.assert_allclose(moved.uncertainty.array, plain.uncertainty.array, rtol=0.02)


def test_metrics_are_those_of_voxels_with_data():
    affine = np.eye(4)
    values = np.ones((8, 8, 8), np.float32)
    values[4:] = 9.0
    image = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[:4] = 1
    fixed = MaskedVolume.of(Volume(image, affine), "fixed image", Volume(mask, affine))
    still = Field(np.zeros((8, 8, 8, 3), np.float32), affine)
    found = uncertainty_metrics(Volume(values, affine), still, fixed, Annotations())
    assert found == {"uncertainty_mm": {"median": 1.0, "p95": 1.0, "max": 1.0}}


@pytest.mark.parametrize("change", [{"samples": 1}, {"voxels": 0}, {"iterations": 0}, {"tolerance": 0.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        UncertaintyConfig(**change)
    with pytest.raises(InputError, match="uncertainty"):
        spr.RegistrationOptions(uncertainty=True)


def test_the_posterior_is_finite_where_nothing_is_known():
    """One half of the image is constant and its weight 0."""
    shape, spacing = (24, 20, 22), (2.0, 2.0, 2.0)
    fixed = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(0))
    fixed[:, :, :12] = 0.5
    problem = InstanceProblem.of(fixed, fixed.roll(1, 2), spacing)
    velocity = torch.zeros((1, 3, *shape))
    weight = torch.ones((1, 1, *shape))
    weight[:, :, :12] = 0.0
    given = velocity, integrate_quickly(velocity), weight, BetaPrior()
    posterior = completed(velocity_posterior(problem.levels[-1], *given, 2000, prior_factors(4)))
    samples = posterior.sampled(prior_factors(4), 60, 0.02, torch.Generator().manual_seed(0))
    assert bool(samples.isfinite().all())
