"""Metric conventions of the paper's author against brute force: labels by indicators, folding over the foreground."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from SPRCore import metrics
from SPRCore.errors import InputError
from SPRCore.geometry import Annotations, Field, MaskedVolume, Volume, resample
from SPRCore.metrics import MetricConventions

SHAPE, SPACING = (12, 11, 9), (1.5, 2.0, 3.0)
AFFINE = np.diag([*SPACING, 1.0])
LINEAR = MetricConventions(label_interpolation="linear")


@pytest.fixture(scope="module")
def moving():
    generator = np.random.default_rng(4)
    coarse = generator.choice([-3, 0, 2, 7, 400], size=(6, 6, 5))
    labels = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return Volume(labels.astype(np.int16), AFFINE)


@pytest.fixture(scope="module")
def u_vox():
    inside = np.stack(np.indices(SHAPE), axis=-1)
    wanted = inside + np.random.default_rng(5).normal(0, 0.9, (*SHAPE, 3))
    return np.clip(wanted, 0.001, np.array(SHAPE) - 1.001) - inside


def displacement(u_vox):
    return Field((u_vox * SPACING).astype(np.float32), AFFINE)


def test_linear_labels_are_the_highest_indicator_of_the_paper_s_script(moving, u_vox):
    # One channel for each label, warped by grid_sample between the outermost voxel centers, and argmax.
    names = np.unique(moving.array)
    channels = torch.from_numpy((moving.array == names[:, None, None, None]).astype(np.float64))
    at = np.stack(np.indices(SHAPE), axis=-1) + displacement(u_vox).array.astype(np.float64) / SPACING
    grid = torch.from_numpy(2 * at / (np.array(SHAPE) - 1) - 1)[None].flip(-1)
    warped = torch.nn.functional.grid_sample(channels[None], grid, align_corners=True)[0]
    expected = names[warped.argmax(dim=0).numpy()]
    found = resample(moving, moving.grid, displacement=displacement(u_vox), labels="linear")
    assert found.array.dtype == np.int16
    clear = warped.topk(2, dim=0).values
    sure = (clear[0] - clear[1] > 1e-6).numpy()
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found.array[sure], expected[sure])
    nearest = resample(moving, moving.grid, displacement=displacement(u_vox), labels=True)
    assert 0.02 < np.mean(nearest.array != found.array) < 0.5


def test_linear_labels_on_another_grid(moving):
    affine = np.diag([1.1, 1.3, 1.7, 1.0])
    affine[:3, 3] = [0.6, 1.1, 0.4]
    target = Volume(np.zeros((10, 9, 8), dtype=np.uint8), affine).grid
    at = np.moveaxis(
        np.stack([*np.indices(target.shape), np.ones(target.shape)], axis=-1) @ (np.linalg.inv(AFFINE) @ affine).T,
        -1,
        0,
    )[:3]
    names = np.unique(moving.array)
    values = np.stack([map_coordinates((moving.array == name).astype(float), at, order=1) for name in names])
    found = resample(moving, target, labels="linear").array
    order = np.sort(values, axis=0)
    sure = order[-1] - order[-2] > 1e-6
    np.testing.assert_array_equal(found[sure], names[values.argmax(axis=0)][sure])


@pytest.mark.parametrize(("first", "second", "winner"), [(2, 5, 2), (5, 2, 2), (0, -4, 0), (7, 0, 0)])
def test_of_two_equal_labels_the_background_or_the_lower_one_is_taken(first, second, winner):
    labels = np.full((4, 4, 4), first, dtype=np.int32)
    labels[2:] = second
    half = Field(np.tile(np.float32([0.5, 0, 0]), (4, 4, 4, 1)), np.eye(4))
    found = resample(Volume(labels, np.eye(4)), half.grid, displacement=half, labels="linear").array
    assert (found[1] == winner).all()
    assert (found[0] == first).all()
    assert (found[2] == second).all()


def test_outside_is_background(moving):
    away = Field(np.full((*SHAPE, 3), 100.0, dtype=np.float32), AFFINE)
    assert not resample(moving, moving.grid, displacement=away, labels="linear").array.any()


def test_the_report_warps_labels_by_the_convention(moving, u_vox):
    field = displacement(u_vox)
    given = Annotations(fixed_labels=moving, moving_labels=moving)
    for conventions, kind in ((LINEAR, "linear"), (MetricConventions(), True), (None, True)):
        found = metrics.evaluate(displacement=field, annotations=given, conventions=conventions)["after"]["dice"]
        expected = metrics.dice(moving, resample(moving, moving.grid, displacement=field, labels=kind))
        assert found == {str(label): pytest.approx(value) for label, value in expected.items()}


def test_folding_over_the_foreground_by_loops(u_vox):
    image = np.random.default_rng(6).random(SHAPE).astype(np.float32) + 0.1
    image[:, :5] = 0.0  # as around a skull-stripped head
    fixed = MaskedVolume.of(Volume(image, AFFINE), "fixed image")
    position = np.stack(np.indices(SHAPE), axis=-1) + u_vox
    inner = [np.array(p) for p in itertools.product(*(range(1, n - 1) for n in SHAPE))]
    chosen = [p for p in inner if image[tuple(p)] > 0]

    def central(p):
        rows = [(position[tuple(p + e)] - position[tuple(p - e)]) / 2 for e in np.eye(3, dtype=int)]
        return np.linalg.det(rows)

    folded = sum(central(p) <= 0 for p in chosen)
    assert 0 < folded < sum(central(p) <= 0 for p in inner)
    found = metrics.evaluate(
        displacement=displacement(u_vox), fixed=fixed, conventions=MetricConventions(folding_over="foreground")
    )["after"]
    assert found["folding_percent"] == pytest.approx(100 * folded / len(chosen))
    mask = Volume((image > 0).astype(np.uint8), AFFINE)
    assert found["ndv_percent"] == pytest.approx(metrics.ndv_percent(displacement(u_vox), mask))
    everywhere = metrics.evaluate(displacement=displacement(u_vox), fixed=fixed)["after"]
    assert everywhere["displacement_mm"] == found["displacement_mm"]  # folding alone is restricted
    assert everywhere["folding_percent"] != found["folding_percent"]


def test_a_fixed_mask_restricts_the_foreground(u_vox):
    image = np.ones(SHAPE, dtype=np.float32)
    image[:, :5] = 0.0
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[:6] = 1
    both = Volume(mask * (image > 0).astype(np.uint8), AFFINE)
    found = metrics.evaluate(
        displacement=displacement(u_vox),
        fixed=MaskedVolume.of(Volume(image, AFFINE), "fixed image"),
        annotations=Annotations(fixed_mask=Volume(mask, AFFINE)),
        conventions=MetricConventions(folding_over="foreground"),
    )["after"]
    assert found["folding_percent"] == pytest.approx(metrics.folding_percent(displacement(u_vox), both))


def test_the_foreground_needs_an_image(u_vox):
    with pytest.raises(InputError, match="fixed image"):
        metrics.evaluate(displacement=displacement(u_vox), conventions=MetricConventions(folding_over="foreground"))
    with pytest.raises(InputError, match="nearest"):
        MetricConventions(label_interpolation="nearst")
