import numpy as np
import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.functional import warp
from SPRCore.geometry import resample
from SPRCore.metrics import determinant_map, dice, folding_percent, ndv_percent, tre_mm
from SPRCore.synthetic import beating_heart

VARIANTS = [{}, {"shape": (80, 72, 40), "spacing": (2.4, 2.4, 3.0), "contraction": 0.25, "seed": 2}]
BLOOD_RIGHT, MYOCARDIUM, BLOOD_LEFT = 1, 2, 3


@pytest.fixture(scope="module", params=VARIANTS, ids=["default", "other"])
def heart(request):
    return beating_heart(noise=0.0, **request.param), request.param.get("contraction", 0.32)


def volumes(labels):
    return {k: float(np.sum(labels.array == k)) for k in (BLOOD_RIGHT, MYOCARDIUM, BLOOD_LEFT)}


def test_moving_image_pulled_by_the_truth_is_the_fixed_image(heart):
    phantom, _ = heart
    warped = resample(phantom.moving, phantom.fixed.grid, displacement=phantom.displacement).array
    error, before = (np.abs(a - phantom.fixed.array) for a in (warped, phantom.moving.array))
    assert error.mean() < 0.006
    assert error.mean() < 0.25 * before.mean()


def overlap_under_the_truth(phantom):
    one_hot = torch.from_numpy((phantom.moving_labels.array == np.arange(4)[:, None, None, None]).astype(np.float32))
    warped = warp(one_hot[None], phantom.displacement.to_tensor_vox()).argmax(dim=1)[0].numpy()
    return dice(phantom.fixed_labels.array, warped)


def test_labels_follow_the_truth(heart):
    phantom, _ = heart
    scores = overlap_under_the_truth(phantom)
    assert set(scores) == {1, 2, 3}
    # A label map does not know where within a voxel its surface lies: walls of 5 voxels cannot overlap better.
    assert min(scores.values()) > (0.96 if phantom.fixed.spacing[0] < 2 else 0.95)
    assert max(dice(phantom.fixed_labels, phantom.moving_labels).values()) < 0.9


def test_the_heart_beats(heart):
    phantom, contraction = heart
    systole, diastole = volumes(phantom.fixed_labels), volumes(phantom.moving_labels)
    ejected = 1 - systole[BLOOD_LEFT] / diastole[BLOOD_LEFT]
    # Two radii and the length shorten.
    assert ejected == pytest.approx(1 - (1 - contraction) ** 2 * (1 - 0.14 * contraction / 0.32), abs=0.05)
    assert systole[BLOOD_RIGHT] < 0.95 * diastole[BLOOD_RIGHT]
    assert systole[MYOCARDIUM] == pytest.approx(diastole[MYOCARDIUM], rel=0.06)
    middle = phantom.fixed.shape[2] // 2
    row = int(np.argmax(np.sum(phantom.fixed_labels.array[:, :, middle] == BLOOD_LEFT, axis=0)))
    walls = [np.sum(v.array[:, row, middle] == MYOCARDIUM) for v in (phantom.fixed_labels, phantom.moving_labels)]
    assert walls[0] > 1.2 * walls[1]
    lengths = [
        np.sum(np.any(v.array == BLOOD_LEFT, axis=(0, 1))) for v in (phantom.fixed_labels, phantom.moving_labels)
    ]
    assert lengths[0] < lengths[1]


def test_the_map_never_folds_and_keeps_the_volume_of_the_wall(heart):
    phantom, _ = heart
    determinants = determinant_map(phantom.displacement)
    assert determinants.min() > 0.25
    assert folding_percent(phantom.displacement) == ndv_percent(phantom.displacement) == 0.0
    wall = determinants[phantom.fixed_labels.array[1:-1, 1:-1, 1:-1] == MYOCARDIUM]
    assert np.median(wall) == pytest.approx(1.0, abs=0.02)
    assert np.mean(np.abs(wall - 1) < 0.2) > 0.95


def test_the_field_is_continuous_and_still_far_away(heart):
    phantom, _ = heart
    u = phantom.displacement.array
    for axis in range(3):
        assert np.linalg.norm(np.diff(u, axis=axis), axis=-1).max() < 1.6 * phantom.fixed.spacing[axis]
    assert np.abs(u[[0, -1]]).max() < 0.3
    assert np.abs(u[:, [0, -1]]).max() < 0.3


def test_landmarks_have_exact_partners(heart):
    phantom, _ = heart
    assert len(phantom.fixed_points) == 300
    assert tre_mm(phantom.fixed_points, phantom.moving_points, phantom.displacement).max() < 0.1
    assert np.median(tre_mm(phantom.fixed_points, phantom.moving_points)) > 2


def test_the_seed_decides_everything_and_no_contraction_is_no_motion():
    small = {"shape": (32, 32, 16), "spacing": (6.0, 6.0, 7.0)}
    a, b = beating_heart(**small), beating_heart(**small)
    np.testing.assert_array_equal(a.fixed.array, b.fixed.array)
    np.testing.assert_array_equal(a.fixed_points, b.fixed_points)
    assert not np.array_equal(a.fixed.array, beating_heart(**small, seed=1).fixed.array)
    still = beating_heart(**small, contraction=0.0, noise=0.0)
    assert not still.displacement.array.any()
    np.testing.assert_array_equal(still.fixed.array, still.moving.array)
    with pytest.raises(InputError, match="contraction"):
        beating_heart(**small, contraction=0.8)
