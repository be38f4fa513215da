"""Where there are no data nothing pulls: moving images of a part of the field of view, padding, masks, spikes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import SPRCore as spr
from SPRCore.analysis.warnings import change_warnings, pair_warnings
from SPRCore.errors import InputError
from SPRCore.geometry import Field, MaskedVolume, Volume, ras_to_voxel, resample
from SPRCore.geometry.annotations import Annotations
from SPRCore.io import ModelCard
from SPRCore.io.cards import WorkingGrid
from SPRCore.metrics import evaluate, sample_displacement_mm, tre_mm
from SPRCore.networks import RegistrationOutput
from SPRCore.registration.network import NetworkInput
from SPRCore.regularization import BetaPrior
from SPRCore.synthetic import shape_pair

SHAPE, SPACING = (36, 36, 36), (2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def phantom():
    return shape_pair(shape=SHAPE, spacing=SPACING, labels=6, scale_mm=18.0, amplitude_mm=4.0, seed=7)


def register(fixed, moving, **options):
    return spr.register(fixed, moving, init="none", **options)


def errors_mm(result, phantom):
    return tre_mm(phantom.fixed_points, phantom.moving_points, result.displacement)


@pytest.fixture(scope="module")
def whole(phantom):
    return errors_mm(register(phantom.fixed, phantom.moving), phantom)


def kept(axis, keep, end):
    size = round(SHAPE[axis] * keep)
    part = [slice(None)] * 3
    part[axis] = slice(0, size) if end == 0 else slice(SHAPE[axis] - size, None)
    return tuple(part)


def cropped(volume, part):
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [place.start or 0 for place in part]
    return Volume(volume.array[part], affine)


def padded(volume, part, value):
    array = np.full(volume.shape, value, dtype=np.float32)
    array[part] = volume.array[part]
    return volume.with_array(array)


def motion_mm(result, part):
    """Mean motion without and with data."""
    length = np.linalg.norm(result.displacement.array, axis=-1)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[part] = True
    return length[~inside].mean(), length[inside].mean()


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("kind", ["cropped", -3024.0, 0.5, "both"])
def test_a_part_of_the_moving_image_is_registered_as_well_as_the_whole(phantom, whole, keep, kind):
    """Over both ends of all axes: the error in the overlap within 15 %, no more motion without data than with."""
    found, expected, moved = [], [], []
    for axis in range(3):
        for end in (0, 1):
            part = kept(axis, keep, end)
            fixed, inside = phantom.fixed, np.ones(len(whole), dtype=bool)
            if kind == "both":
                across = kept((axis + 1) % 3, 0.8, end)
                fixed = padded(fixed, across, 1234.0)
                inside = within(phantom.fixed_points, fixed, across)
            value = 7.0 if kind == "both" else kind
            moving = cropped(phantom.moving, part) if kind == "cropped" else padded(phantom.moving, part, value)
            result = register(fixed, moving)
            inside &= within(phantom.moving_points, phantom.moving, part)
            found += errors_mm(result, phantom)[inside].tolist()
            expected += whole[inside].tolist()
            moved.append(motion_mm(result, part))
    assert len(found) > 30
    assert np.mean(found) < 1.15 * np.mean(expected)
    without, with_data = np.mean(moved, axis=0)
    assert without < with_data


def within(points, volume, part):
    index = ras_to_voxel(points, volume.affine)
    low = [place.start or 0 for place in part]
    high = [size if place.stop is None else place.stop for place, size in zip(part, SHAPE, strict=True)]
    return ((index >= low) & (index <= np.array(high) - 1)).all(axis=1)


@pytest.mark.parametrize("value", [-3024.0, 0.4, 50.0])
def test_the_value_of_the_padding_does_not_matter(phantom, value):
    part = kept(0, 0.6, 0)
    first = register(phantom.fixed, padded(phantom.moving, part, value))
    second = register(phantom.fixed, padded(phantom.moving, part, -777.0))
    np.testing.assert_allclose(first.displacement.array, second.displacement.array, atol=1e-4)
    assert first.report["metrics"]["after"]["lncc"] == pytest.approx(second.report["metrics"]["after"]["lncc"])
    assert first.report["inputs"]["moving"]["data_percent"] == pytest.approx(100 * 22 / 36, abs=0.1)


def test_padding_and_a_mask_and_nan_say_the_same(phantom):
    part = kept(1, 0.6, 1)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[part] = 200
    by_mask = register(phantom.fixed, phantom.moving, annotations={"moving_mask": phantom.moving.with_array(mask)})
    for other in (padded(phantom.moving, part, np.nan), padded(phantom.moving, part, -9.0)):
        found = register(phantom.fixed, other)
        np.testing.assert_allclose(found.displacement.array, by_mask.displacement.array, atol=1e-4)
        assert np.isfinite(found.warped.array).all()


def test_a_fixed_mask_that_excludes_nan_is_enough(phantom):
    mask = np.ones(SHAPE, dtype=np.uint8)
    mask[:, :8] = 0
    array = phantom.fixed.array.copy()
    array[:, :6] = np.nan
    found = register(
        phantom.fixed.with_array(array), phantom.moving, annotations={"fixed_mask": phantom.fixed.with_array(mask)}
    )
    plain = register(phantom.fixed, phantom.moving, annotations={"fixed_mask": phantom.fixed.with_array(mask)})
    np.testing.assert_allclose(found.displacement.array, plain.displacement.array, atol=1e-4)


@pytest.mark.parametrize(
    ("spikes", "init"), [((-1e6,), "none"), ((1e7,), "rigid"), ((6e5, 6e5, 6e5), "none"), ((1e5, -1e5), "rigid")]
)
def test_spikes_do_not_change_a_registration(phantom, whole, spikes, init):
    """They pull a little where they are, as any other structure of their size would."""
    array = phantom.moving.array.astype(np.float32).copy()
    places = np.random.default_rng(0).integers(8, 28, (len(spikes), 3))
    array[tuple(places.T)] = spikes
    result = spr.register(phantom.fixed, phantom.moving.with_array(array), init=init)
    assert errors_mm(result, phantom).mean() < whole.mean() + 0.15


def test_a_network_sees_no_edge_and_its_field_is_continued():
    class Stub(torch.nn.Module):
        """Gives what the moving image says, as a displacement along the first axis."""

        def __init__(self):
            super().__init__()
            from types import SimpleNamespace

            self.config = SimpleNamespace(channels=1, sampling="border", integrate=True)
            self.one = torch.nn.Parameter(torch.ones(1))

    rng = np.random.default_rng(0)
    array = rng.uniform(0.4, 0.6, (20, 20, 20)).astype(np.float32)
    fixed = MaskedVolume.of(Volume(array, np.eye(4)), "fixed image")
    torn = array.copy()
    torn[12:] = -3024.0
    moving = MaskedVolume.of(Volume(torn, np.eye(4)), "moving image")
    card = ModelCard(name="m", architecture={}, grid=WorkingGrid(orientation=None))
    pair = NetworkInput.of(fixed, moving, Stub(), card)
    assert float(pair.moving.diff(dim=2).abs().max()) <= 1.0
    assert float(pair.moving[0, 0, 13:].diff(dim=0).abs().max()) < 0.2  # smooth where there are no data
    assert float(pair.fixed[0, 0, 13:].diff(dim=0).abs().max()) < 0.2  # in both, so that nothing pulls
    field = torch.zeros((1, 3, 20, 20, 20))
    field[:, 0, :12], field[:, 0, 12:] = 1.0, -40.0
    given = pair.continued(RegistrationOutput(displacement=field, weight=torch.zeros((1, 1, 20, 20, 20))))
    torch.testing.assert_close(given.displacement[:, 0], torch.ones((1, 20, 20, 20)))
    assert (given.weight[..., :12, :, :].max(), given.weight[..., 12:, :, :].min()) == (0.0, 1.0)


def test_similarity_counts_only_where_both_have_data(phantom):
    part = kept(2, 0.5, 0)
    fixed = MaskedVolume.of(phantom.fixed, "fixed image")
    still = Field(np.zeros((*SHAPE, 3)), phantom.fixed.affine)
    values = [
        evaluate(displacement=still, fixed=fixed, moving=MaskedVolume.of(other, "moving image"))["after"]
        for other in (padded(phantom.moving, part, -500.0), padded(phantom.moving, part, 500.0))
    ]
    assert values[0]["lncc"] == pytest.approx(values[1]["lncc"], abs=1e-6)
    assert values[0]["overlap_percent"] == 50.0


def test_images_without_common_data_have_no_similarity(phantom):
    left, right = padded(phantom.fixed, kept(0, 0.4, 0), -5.0), padded(phantom.moving, kept(0, 0.4, 1), -5.0)
    images = (MaskedVolume.of(left, "fixed image"), MaskedVolume.of(right, "moving image"))
    before = evaluate(fixed=images[0], moving=images[1])["before"]
    assert before == {"overlap_percent": 0.0}


def test_what_got_worse_is_said():
    before = {"lncc": 0.7, "dice_mean": 0.9, "tre_mm": {"mean": 2.0}}
    after = {"lncc": 0.65, "dice_mean": 0.85, "tre_mm": {"mean": 2.5}, "overlap_percent": 8.0}
    found = change_warnings({"before": before, "after": after})
    assert [sentence.split(" ")[1] for sentence in found[:3]] == ["local", "mean", "mean"]
    assert "from 0.700 to 0.650" in found[0]
    assert "rose from 2.00 mm to 2.50 mm" in found[2]
    assert "only 8 %" in found[3]
    assert change_warnings({"before": before, "after": before}) == []
    assert change_warnings({"before": {"dice_mean": None}, "after": {"dice_mean": None}}) == []
    assert change_warnings({}) == []


def test_doubtful_labels_and_landmarks_are_told(phantom):
    images = (MaskedVolume.of(phantom.fixed, "fixed image"), MaskedVolume.of(phantom.moving, "moving image"))
    labels, points = phantom.fixed_labels, phantom.fixed_points
    far = Volume(labels.array, labels.affine + np.eye(4, k=3) * 40.0)
    cases = {
        "the moving labels are 0 everywhere": {"moving_labels": labels.with_array(np.zeros_like(labels.array))},
        "of the moving labels are outside of the moving image": {"moving_labels": far},
        "no number in common": {"moving_labels": labels.with_array(labels.array + 100 * (labels.array > 0))},
    }
    for said, change in cases.items():
        found = pair_warnings(*images, Annotations(fixed_labels=labels, **change))
        assert any(said in sentence for sentence in found), said
    moved = points.copy()
    moved[:3] += 5000.0
    found = pair_warnings(*images, Annotations(fixed_points=moved, moving_points=points))
    assert len(found) == 1
    assert found[0].startswith(f"3 of {len(points)} fixed landmarks are outside of the fixed image, up to 8")
    marked = {name: getattr(phantom, name) for name in ("fixed_labels", "moving_labels", "fixed_points")}
    assert pair_warnings(*images, Annotations(**marked, moving_points=phantom.moving_points)) == []


@pytest.mark.parametrize(
    ("card", "image", "said"),
    [
        ({}, {"shape": (32, 32, 5)}, "5 voxels along an axis"),
        ({"grid": WorkingGrid(spacing_mm=(1, 1, 1))}, {"spacing": 4.0}, "trained at 1 mm"),
        ({"grid": WorkingGrid(shape=(16, 16, 16))}, {"shape": (40, 40, 40)}, "sees 5 % of the fixed image"),
        ({"modality": "T1-weighted MRI"}, {"offset": -1000.0}, "looks like CT"),
        ({"modality": "CT"}, {}, "does not look like CT"),
    ],
)
def test_an_image_beyond_what_the_card_of_a_model_covers_is_told(card, image, said):
    shape, spacing = image.get("shape", (20, 20, 20)), image.get("spacing", 1.0)
    array = np.random.default_rng(0).normal(image.get("offset", 100.0), 30.0, shape)
    pair = [MaskedVolume.of(Volume(array, np.diag([spacing] * 3 + [1.0])), "image")] * 2
    found = pair_warnings(*pair, Annotations(), ModelCard(name="m", architecture={}, **card))
    assert any(said in sentence for sentence in found), found


def test_a_doubt_is_in_the_report_and_the_log(phantom, caplog):
    points = phantom.fixed_points
    result = register(
        phantom.fixed, phantom.moving, annotations=Annotations(fixed_points=points, moving_points=points)
    )  # they did not move
    assert any("landmark error rose from 0.00 mm" in sentence for sentence in result.report["warnings"])
    assert result.report["warnings"][0] in caplog.text
    others = register(phantom.fixed, phantom.moving, prior=BetaPrior(alpha=0.02)).report["warnings"]
    assert others == []


def test_a_moving_mask_that_misses_the_image_is_refused(phantom):
    far = Volume(np.ones((4, 4, 4), np.uint8), np.diag([1, 1, 1, 1.0]) + np.eye(4, k=3) * 500)
    with pytest.raises(InputError, match="moving mask: got no voxel set inside the moving image"):
        register(phantom.fixed, phantom.moving, annotations={"moving_mask": far})


def test_the_warped_image_keeps_its_padding(phantom):
    moving = padded(phantom.moving, kept(0, 0.5, 0), -3024.0)
    result = register(phantom.fixed, moving)
    expected = resample(moving, phantom.fixed.grid, displacement=result.displacement)
    np.testing.assert_array_equal(result.warped.array, expected.array)
    at = sample_displacement_mm(result.displacement, phantom.fixed_points)
    assert np.isfinite(at).all()
