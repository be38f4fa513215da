"""Images with masks: excluded voxels, their filling, and refused images."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, MaskedVolume, Volume, fill, robust_extremes, within_extremes

AFFINE = np.diag([2.0, 1.5, 3.0, 1.0])


def image(**changes):
    array = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    for value in changes.values():
        array[1, 1, 1] = value
    return Volume(array, np.eye(4))


def ramp(shape=(20, 16, 12)):
    x, y, z = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return Volume((x + 0.5 * y - 0.25 * z).astype(np.float32), AFFINE)


def test_an_image_with_data_everywhere_is_itself():
    volume = image()
    whole = MaskedVolume.of(volume, "fixed image")
    assert whole.volume is whole.original is volume
    assert whole.valid is None
    assert whole.mask is None
    assert MaskedVolume.of(Volume(np.eye(4, dtype=bool)[None].repeat(4, 0), np.eye(4)), "mask").valid is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_hold_no_data(value, caplog):
    with caplog.at_level(logging.WARNING, logger="SPRCore"):
        found = MaskedVolume.of(image(value=value), "moving image")
    assert "moving image: 1 voxels are NaN or infinite" in caplog.text
    assert not found.valid[1, 1, 1]
    assert found.valid.sum() == 63
    assert np.isfinite(found.volume.array).all()
    assert found.original.array[1, 1, 1] == 0.0  # the lowest of the data
    assert found.volume.array[1, 1, 1] == pytest.approx(21.0, abs=6.0)  # of its neighbors


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        (Volume(np.full((5, 5, 5), 7), np.eye(4)), "same intensity 7"),
        (Volume(np.full((5, 5, 5), np.nan), np.eye(4)), "no voxel with data"),
        (Volume(np.where(np.arange(125).reshape(5, 5, 5) < 9, np.nan, 3.0), np.eye(4)), "same intensity 3"),
        (Volume(np.arange(48).reshape(4, 4, 3), np.eye(4)), "4 or more voxels"),
    ],
)
def test_an_image_that_cannot_be_registered_is_refused_by_name(volume, said):
    with pytest.raises(InputError, match=rf"^moving image: .*{said}"):
        MaskedVolume.of(volume, "moving image")


def test_a_mask_may_exclude_what_is_not_finite_and_lie_on_a_grid_of_its_own():
    volume = ramp()
    array = volume.array.copy()
    array[:5] = np.nan
    change = np.diag([2.0, 2.0, 2.0, 1.0])
    change[:3, 3] = 0.5
    coarse = np.zeros((10, 8, 6), dtype=np.int16)
    coarse[4:] = 9
    found = MaskedVolume.of(volume.with_array(array), "fixed image", Volume(coarse, AFFINE @ change))
    assert not found.valid[:8].any()
    assert found.valid[8:].all()
    np.testing.assert_array_equal(found.volume.array[8:], volume.array[8:])
    assert found.data.min() == volume.array[8:].min()


def test_a_mask_that_misses_the_image_is_refused():
    far = Volume(np.ones((4, 4, 4), np.uint8), np.diag([1, 1, 1, 1.0]) + np.eye(4, k=3) * 500)
    with pytest.raises(InputError, match=r"^fixed mask: got no voxel set inside the fixed image"):
        MaskedVolume.of(ramp(), "fixed image", far)


def test_a_continuation_has_no_edge_and_stays_within_the_data():
    volume = ramp()
    known = np.zeros(volume.shape, dtype=bool)
    known[4:12, 4:12, 3:9] = True
    filled = fill(torch.from_numpy(volume.array)[None, None], torch.from_numpy(known)[None, None])[0, 0].numpy()
    np.testing.assert_array_equal(filled[known], volume.array[known])
    assert volume.array[known].min() - 1e-4 <= filled.min() <= filled.max() <= volume.array[known].max() + 1e-4
    steps = [np.abs(np.diff(filled, axis=axis)).max() for axis in range(3)]
    assert max(steps) < 3.0  # the data range over 12 and change by 1 from voxel to voxel
    assert np.abs(filled[12:, 4:12, 3:9] - filled[11, 4:12, 3:9]).mean() < 2.0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_continuation_of_constants_is_constant(channels):
    field = torch.tensor([2.0, -1.0, 0.5])[:channels].view(1, -1, 1, 1, 1).expand(1, channels, 9, 7, 5).clone()
    known = torch.zeros((1, 1, 9, 7, 5), dtype=torch.bool)
    known[..., 2, 3, 1] = True
    torch.testing.assert_close(fill(torch.where(known, field, 99.0), known), field)


def test_on_another_grid_data_end_with_the_field_of_view():
    volume = ramp()
    shifted = AFFINE.copy()
    shifted[:3, 3] = AFFINE[:3, :3] @ (5.0, 0.0, 0.0)
    moved, valid = MaskedVolume.whole(volume).on(Grid(volume.shape, shifted))
    assert valid[:15].all()
    assert not valid[15:].any()
    np.testing.assert_allclose(moved.array[:15], volume.array[5:], rtol=1e-6)
    np.testing.assert_allclose(moved.array[15:], np.broadcast_to(volume.array[-1], (5, 16, 12)))  # no edge
    assert MaskedVolume.whole(volume).on(volume.grid)[1] is None


@pytest.mark.parametrize("spikes", [(1e7,), (-1e6,), (6e5,) * 3, (-3e4, 3e4), (1e30, -1e30)])
@pytest.mark.parametrize("background", [0.0, 0.97])
def test_spikes_do_not_decide_the_range(spikes, background):
    rng = np.random.default_rng(0)
    values = rng.normal(100.0, 20.0, 20_000)
    values[: int(background * values.size)] = 0.0
    low, high = values.min(), values.max()
    spiked = values.copy()
    spiked[-len(spikes) :] = spikes
    found = robust_extremes(spiked)
    assert found == pytest.approx((low, high), rel=0.1, abs=15.0)
    assert within_extremes(spiked).max() == pytest.approx(found[1])


def test_metal_does_not_decide_the_range():
    values = np.random.default_rng(0).normal(50.0, 100.0, 50_000)
    values[:200] = 30_000.0
    assert robust_extremes(values)[1] < 1_500.0


def test_a_small_bright_structure_is_no_outlier():
    values = np.random.default_rng(0).uniform(0.0, 20.0, 50_000)
    values[:750] = np.linspace(20.0, 800.0, 750)
    assert robust_extremes(values)[1] == 800.0


def test_an_image_without_outliers_keeps_its_extremes():
    values = np.random.default_rng(0).gamma(2.0, 60.0, 50_000)  # bright tails, as fat and vessels
    assert robust_extremes(values) == (values.min(), values.max())
    assert robust_extremes(np.array([3, 3, 3, 250], dtype=np.uint8)) == (3, 250)
    assert robust_extremes(np.full(9, 4)) == (4, 4)
