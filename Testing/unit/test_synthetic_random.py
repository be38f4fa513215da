import numpy as np
import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import resample
from SPRCore.metrics import (
    determinant_map,
    dice,
    displacement_summary,
    inverse_consistency_mm,
    ndv_percent,
    tre_mm,
)
from SPRCore.synthetic import random_diffeomorphism, shape_pair
from SPRCore.synthetic.shapes import SplineNoise, grid_noise


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (40, 36, 44)},
        {"shape": (48, 40, 20), "spacing": (1.5, 1.5, 4.0), "scale_mm": 20.0, "amplitude_mm": 5.0},
    ],
)
def test_random_deformation_is_a_diffeomorphism_with_its_inverse(options):
    field, inverse = random_diffeomorphism(**options, seed=3)
    amplitude = options.get("amplitude_mm", 8.0)
    assert 0.5 * amplitude < displacement_summary(field)["max"] <= 1.001 * amplitude
    assert determinant_map(field).min() > 0.1
    assert ndv_percent(field) == 0.0
    assert inverse_consistency_mm(field, inverse)["p95"] < 0.1 * max(field.grid.spacing)
    border = field.array.copy()
    border[1:-1, 1:-1, 1:-1] = 0
    assert np.abs(border).max() < 0.25 * amplitude


def test_random_deformation_follows_its_seed_or_generator():
    one, _ = random_diffeomorphism(shape=(16, 16, 16), seed=5)
    two, _ = random_diffeomorphism(shape=(16, 16, 16), seed=torch.Generator().manual_seed(5))
    three, _ = random_diffeomorphism(shape=(16, 16, 16), seed=6)
    np.testing.assert_array_equal(one.array, two.array)
    assert not np.array_equal(one.array, three.array)
    generator = torch.Generator().manual_seed(5)
    first, second = (random_diffeomorphism(shape=(16, 16, 16), seed=generator)[0] for _ in range(2))
    assert not np.array_equal(first.array, second.array)
    with pytest.raises(InputError, match="scale"):
        random_diffeomorphism(scale_mm=0.0)


def test_larger_scales_are_smoother():
    rough, smooth = (random_diffeomorphism(shape=(40, 40, 40), scale_mm=s, seed=1)[0] for s in (12.0, 40.0))
    steps = [np.abs(np.diff(f.array, axis=0)).mean() / np.abs(f.array).mean() for f in (rough, smooth)]
    assert steps[0] > 1.5 * steps[1]


def test_noise_has_unit_variance_both_ways():
    noise = grid_noise((60, 60, 60), (1, 1, 2), 4.0, 3, torch.Generator().manual_seed(0))
    assert noise.shape == (3, 60, 60, 60)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    points = np.random.default_rng(0).uniform(-50, 50, (3, 50_000)).astype(np.float32)
    values = SplineNoise(np.random.default_rng(1), (50, 50, 50), 4.0)(tuple(points))
    assert float(values.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("same_contrast", [True, False])
def test_pairs_follow_their_truth(same_contrast):
    options = {"shape": (48, 40, 32), "labels": 5, "noise": 0.0, "same_contrast": same_contrast}
    pairs = [shape_pair(**options, seed=seed) for seed in (1, 2)]
    assert not np.array_equal(pairs[0].fixed_labels.array, pairs[1].fixed_labels.array)
    for pair in pairs:
        labels = resample(pair.moving_labels, pair.fixed.grid, displacement=pair.displacement, labels=True)
        assert dice(pair.fixed_labels, labels) == pytest.approx(
            dict.fromkeys(dice(pair.fixed_labels, labels), 1), abs=0.06
        )
        warped = resample(pair.moving, pair.fixed.grid, displacement=pair.displacement).array
        gray = [
            np.array([np.median(image[pair.fixed_labels.array == k]) for k in range(5)])
            for image in (warped, pair.fixed.array)
        ]
        assert (np.abs(gray[0] - gray[1]).max() < 0.1) == same_contrast
        assert 0 <= pair.fixed.array.min()
        assert pair.fixed.array.max() <= 1
        assert tre_mm(pair.fixed_points, pair.moving_points, pair.displacement).max() < 0.01
        assert pair.boundary is None


def test_a_pair_is_that_of_its_seed():
    options = {"shape": (16, 16, 16), "spacing": (4.0, 4.0, 4.0), "seed": 9}
    first, second = shape_pair(**options), shape_pair(**options)
    np.testing.assert_array_equal(first.fixed.array, second.fixed.array)
    np.testing.assert_array_equal(first.displacement.array, second.displacement.array)
    with pytest.raises(InputError, match="labels"):
        shape_pair(labels=1)
