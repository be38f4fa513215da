"""Pairs and their order: the same on every machine and after every resume, shared among processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from SPRCore.errors import InputError
from SPRCore.functional import sample as sample_at
from SPRCore.training.batches import Batch
from SPRCore.training.config import AugmentationConfig
from SPRCore.training.data import EpochSampler, Pair, PairDataset, Sample, build_datasets
from SPRCore.training.recipe import read_recipe


class Box:
    """Samples held in memory."""

    def __init__(self, samples):
        self.samples = samples

    def load(self, name):
        return self.samples[name]


@pytest.fixture(scope="module")
def recipe(request):
    path = request.config.rootpath / "Training" / "recipes" / "synthetic" / "quick.yaml"
    return read_recipe(path, ["data.generated={train: 5, validation: 2, test: 2, shape: [16, 18, 20]}"])


@pytest.fixture(scope="module")
def datasets(recipe):
    return build_datasets(recipe)


def test_generated_pairs_are_what_they_say(datasets):
    item = datasets.train[3]
    assert item.moving.shape == item.fixed.shape == (1, 1, 16, 18, 20)
    assert item.moving.dtype == torch.float32
    assert float(item.fixed.min()) == 0
    assert float(item.fixed.max()) == 1
    assert item.fixed_labels.shape == (1, 1, 16, 18, 20)
    assert item.fixed_labels.dtype == torch.int16
    assert set(item.fixed_labels.unique().tolist()) - {0} <= set(datasets.labels) == {1, 2, 3}
    assert item.names == (("train-00003_moving", "train-00003_fixed"),)
    assert item.spacing == (2, 2, 2)
    assert [len(part) for part in (datasets.train, datasets.validation, datasets.test)] == [5, 2, 2]


def test_landmarks_lie_on_the_same_label(datasets):
    item = datasets.validation[0]
    sides = (item.moving_labels, item.moving_points), (item.fixed_labels, item.fixed_points)
    values = [sample_at(labels.float(), points[0])[0] for labels, points in sides]
    assert float((values[0].round() == values[1].round()).float().mean()) > 0.8


def test_generated_pairs_are_the_same_again_and_differ_from_each_other(recipe, datasets):
    again = build_datasets(recipe)
    assert torch.equal(again.train[4].moving, datasets.train[4].moving)
    firsts = [part[0].moving for part in (datasets.train, datasets.validation, datasets.test)]
    assert not torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[1], firsts[2])


def test_a_heart_beats(recipe):
    from dataclasses import replace

    data = replace(recipe.data, generated=replace(recipe.data.generated, kind="heart", spacing_mm=(10, 10, 6), train=1))
    item = build_datasets(replace(recipe, data=data)).train[0]
    assert set(item.fixed_labels.unique().tolist()) == {0, 1, 2, 3}
    cavities = [(labels == 3).sum() for labels in (item.moving_labels, item.fixed_labels)]
    assert cavities[0] > cavities[1]  # from end-diastole to end-systole


def test_every_pair_is_seen_once_in_an_epoch_and_in_another_order_in_the_next():
    sampler = EpochSampler(50, seed=3)
    first = list(sampler)
    assert sorted(index for _, index in first) == list(range(50))
    sampler.start(1)
    second = list(sampler)
    assert [epoch for epoch, _ in second] == [1] * 50
    assert [index for _, index in first] != [index for _, index in second]
    assert first == list(EpochSampler(50, seed=3))
    assert first != list(EpochSampler(50, seed=4))


@pytest.mark.parametrize("position", [0, 1, 7, 12])
def test_a_resumed_epoch_continues_at_its_position(position):
    whole = EpochSampler(40, per_epoch=12, seed=1)
    whole.start(5)
    rest = EpochSampler(40, per_epoch=12, seed=1)
    rest.start(5, position)
    assert list(rest) == list(whole)[position:]
    assert list(rest) == list(rest)  # iterating changes nothing


@pytest.mark.parametrize(("size", "per_epoch", "world"), [(12, None, 2), (13, None, 3), (5, 8, 4), (90, 10, 2)])
def test_processes_share_an_epoch(size, per_epoch, world):
    def sampler(**place):
        return EpochSampler(size, per_epoch=per_epoch, seed=2, **place)

    alone = list(sampler())
    parts = [list(sampler(rank=rank, world=world)) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    together = [item for step in zip(*parts, strict=True) for item in step]
    assert together[: len(alone)] == alone
    assert together[len(alone) :] == alone[: len(together) - len(alone)]


def test_more_pairs_per_epoch_than_there_are_go_round_evenly():
    counts = np.bincount([index for _, index in EpochSampler(5, per_epoch=12)], minlength=5)
    assert counts.min() >= 2
    assert counts.max() <= 3


def test_impossible_samplers_are_refused():
    for arguments in ({"size": 0}, {"size": 3, "rank": 2, "world": 2}, {"size": 3, "per_epoch": 0}):
        with pytest.raises(InputError):
            EpochSampler(**arguments)
    with pytest.raises(InputError):
        EpochSampler(3).start(0, 4)


@pytest.fixture
def augmented(random_image):
    samples = {}
    for number, name in enumerate("ab"):
        image = random_image((12, 10, 8), number).float()[0, 0].clamp(0, 1).numpy()
        points = np.argwhere(np.ones((3, 2, 2))).astype(np.float32) * 2
        samples[name] = Sample(image=image, labels=(image > 0.5).astype(np.int16), points=points)
    config = AugmentationConfig(flip=(0, 2), gamma=0.2, noise=0.01)
    return PairDataset([Pair("a", "b")] * 8, Box(samples), augmentation=config, seed=1)


def test_augmentation_follows_from_epoch_and_number(augmented):
    assert torch.equal(augmented[(3, 1)].moving, augmented[(3, 1)].moving)
    assert not torch.equal(augmented[(3, 1)].moving, augmented[(4, 1)].moving)
    assert not torch.equal(augmented[(3, 1)].moving, augmented[(3, 2)].moving)
    assert torch.equal(augmented[1].moving, augmented[2].moving)  # asked for as it is


def test_images_labels_and_landmarks_are_flipped_together(augmented):
    plain, seen = augmented[0], set()
    for epoch in range(12):
        item = augmented[(epoch, 0)]
        for role in ("moving", "fixed"):
            image, labels = getattr(item, role)[0, 0], getattr(item, f"{role}_labels")[0, 0]
            at, before = (getattr(each, f"{role}_points")[0].long() for each in (item, plain))
            assert torch.equal(labels[tuple(at.T)], getattr(plain, f"{role}_labels")[0, 0][tuple(before.T)])
            assert float(image[labels == 1].min()) > float(image[labels == 0].mean())
        seen.add(tuple(item.fixed_points[0][0].tolist()))
    assert len(seen) == 4  # both axes, either, none


def test_workers_change_nothing(datasets):
    def epoch(workers):
        sampler = EpochSampler(len(datasets.train), seed=5)
        loader = DataLoader(datasets.train, 2, sampler=sampler, num_workers=workers, collate_fn=Batch.joined)
        return [batch.moving for batch in loader]

    for one, other in zip(epoch(0), epoch(2), strict=True):
        assert torch.equal(one, other)


def test_images_of_different_shapes_are_refused():
    samples = {name: Sample(image=np.zeros((8, 8, size), np.float32)) for name, size in (("a", 8), ("b", 9))}
    with pytest.raises(InputError, match=r"a and b: .*set preprocessing.shape"):
        _ = PairDataset([Pair("a", "b")], Box(samples))[0]


def test_there_is_something_to_learn_from_a_generated_pair(datasets):
    from SPRCore.metrics import dice

    item = datasets.train[0]
    before = np.mean(list(dice(item.moving_labels[0, 0].numpy(), item.fixed_labels[0, 0].numpy()).values()))
    assert 0.3 < before < 0.95
