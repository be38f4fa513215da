"""Training on scenes, bent pairs, and hyperparameters drawn more often where they matter."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.io.cards import Preprocessing
from SPRCore.io.samples import Sample
from SPRCore.training.config import AugmentationConfig, HyperConfig, LossConfig
from SPRCore.training.data import generated
from SPRCore.training.data.augmentation import augmented
from SPRCore.training.data.generated import GeneratedSource, generated_labels
from SPRCore.training.data_config import GeneratedConfig
from SPRCore.training.hyper import draw_setting

CONFIG = GeneratedConfig(kind="scenes", shape=(20, 18, 24), spacing_mm=(1.0, 1.0, 1.0), thin=1.0)


def source():
    return GeneratedSource(CONFIG, Preprocessing(normalize="percentile", percentiles=(0.1, 99.9)), seed=4)


def test_pairs_are_made_of_scenes_and_training_pairs_may_be_slabs():
    moving, fixed = (source().load(f"train-00003_{role}") for role in ("moving", "fixed"))
    assert moving.image.shape == fixed.image.shape
    assert moving.image.shape[:2] == (20, 18)
    assert 16 <= moving.image.shape[2] <= 24
    assert source().load("validation-00000_fixed").image.shape == CONFIG.shape
    assert generated_labels(CONFIG) == tuple(range(1, CONFIG.scene.labels))
    assert moving.image.min() == 0.0
    assert moving.image.max() == 1.0


def test_only_the_latest_pairs_are_kept(monkeypatch):
    pairs = source()
    first = pairs.load("train-00000_moving")
    monkeypatch.setattr(generated, "MAX_BYTES", 1)
    pairs.load("train-00001_moving")
    again = pairs.load("train-00000_moving")
    assert again is not first
    assert np.array_equal(again.image, first.image)


def sample(seed, points=None):
    rng = np.random.default_rng(seed)
    labels = (rng.random((20, 18, 16)) * 3).astype(np.int16)
    return Sample(image=(labels / 3).astype(np.float32), labels=labels, points=points)


def test_both_images_of_a_pair_are_bent_alike_with_their_labels():
    config = AugmentationConfig(bend_mm=3.0, bend_scale_mm=10.0)
    one = sample(1)
    moving, fixed = augmented(one, one, config, np.random.default_rng(7))
    assert np.array_equal(moving.image, fixed.image)
    assert np.array_equal(moving.labels, fixed.labels)
    assert moving.labels.dtype == np.int16
    assert not np.array_equal(moving.labels, one.labels)
    assert set(np.unique(moving.labels)) <= set(np.unique(one.labels))


def test_landmarks_cannot_be_bent():
    pair = [sample(1, points=np.zeros((1, 3), dtype=np.float32)) for _ in range(2)]
    with pytest.raises(InputError, match=r"augmentation\.bend_mm"):
        augmented(*pair, AugmentationConfig(bend_mm=3.0), np.random.default_rng(0))


def test_a_skew_draws_low_values_more_often_within_the_same_range():
    drawn = {}
    for skew in (1.0, 2.0):
        hyper = HyperConfig(ranges={"alpha": (0.1, 0.6)}, skew=skew)
        drawn[skew] = [draw_setting(LossConfig(), hyper, 0, number).prior.alpha for number in range(400)]
        assert 0.1 <= min(drawn[skew])
        assert max(drawn[skew]) <= 0.6
    assert np.median(drawn[1.0]) == pytest.approx(0.35, abs=0.05)
    assert np.median(drawn[2.0]) == pytest.approx(0.225, abs=0.04)  # 0.1 + 0.5 * 0.5²
