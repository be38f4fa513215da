"""Scenes: seeds, configuration, and agreement of images and displacement."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from SPRCore.config import ConfigError
from SPRCore.errors import InputError
from SPRCore.functional import jacobian_determinant, warp
from SPRCore.synthetic import SceneConfig, scene
from SPRCore.synthetic.scenes import smooth_motion

SHAPE, SPACING = (28, 24, 20), (1.0, 1.5, 2.0)
PLAIN = SceneConfig(labels=6, scale_mm=(10.0, 20.0), amplitude_mm=5.0, same_contrast=1.0, noise=0.0)


def test_the_same_seed_gives_the_same_pair_and_another_one_another():
    one, same, other = (scene(shape=SHAPE, spacing=SPACING, seed=seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(one.fixed.array, same.fixed.array)
    assert np.array_equal(one.displacement.array, same.displacement.array)
    assert not np.array_equal(one.fixed.array, other.fixed.array)


@pytest.mark.parametrize("seed", range(4))
def test_the_fixed_labels_are_the_moving_ones_pulled_by_the_displacement(seed):
    made = scene(PLAIN, shape=SHAPE, spacing=SPACING, seed=seed)
    moving = made.moving_labels.to_tensor()
    pulled = warp(moving, made.displacement.to_tensor_vox(), mode="nearest")[0, 0].numpy()
    assert (pulled == made.fixed_labels.array).mean() > 0.999  # half-way voxels may round either way
    assert set(np.unique(made.moving_labels.array)) <= set(range(PLAIN.labels))


def test_landmarks_follow_the_displacement():
    made = scene(PLAIN, shape=SHAPE, spacing=SPACING, seed=5)
    moves = made.moving_points - made.fixed_points
    assert 0 < len(moves) <= 100
    assert np.linalg.norm(moves, axis=1).max() <= np.linalg.norm(made.displacement.array, axis=-1).max() + 1e-6


def test_shares_are_followed():
    def black(**changes):
        config = dataclasses.replace(PLAIN, texture=0.0, **changes)
        made = [scene(config, shape=(24, 24, 24), spacing=(1.0, 1.0, 1.0), seed=seed) for seed in range(4)]
        return np.mean([(one.moving.array == 0).mean() for one in made])

    assert black(empty=1.0) > 0.3  # a ball in a cube leaves about half of it
    assert black(empty=0.0) < 0.05


@pytest.mark.parametrize("scale", [8.0, 30.0])
def test_motions_are_diffeomorphic_and_as_large_as_asked(scale):
    generator = torch.Generator().manual_seed(3)
    moved_vox = smooth_motion(SHAPE, SPACING, scale, 4.0, generator)
    longest = (moved_vox * torch.tensor(SPACING).view(1, 3, 1, 1, 1)).norm(dim=1).max()
    assert 1.0 < float(longest) < 6.0
    assert float(jacobian_determinant(moved_vox)[..., 1:-1, 1:-1, 1:-1].min()) > 0


@pytest.mark.parametrize("change", [{"labels": 1}, {"scale_mm": (5.0, 2.0)}, {"empty": 1.5}, {"amplitude_mm": -1.0}])
def test_values_out_of_range_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        SceneConfig(**change)


def test_a_shape_that_is_too_small_is_refused():
    with pytest.raises(InputError, match="phantom shape"):
        scene(shape=(4, 20, 20))
