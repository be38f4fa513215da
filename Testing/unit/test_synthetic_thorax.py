import numpy as np
import pytest
from scipy import ndimage

from SPRCore.errors import InputError
from SPRCore.geometry import resample
from SPRCore.metrics import determinant_map, dice, displacement_summary, tre_mm
from SPRCore.synthetic import sliding_thorax
from SPRCore.synthetic.shapes import signed_distance

VARIANTS = [
    {},
    {"shape": (64, 56, 40), "spacing": (3.0, 3.0, 5.0)},
    {"shape": (48, 40, 64), "spacing": (2.5, 2.0, 2.0), "amplitude_mm": 6.0, "seed": 4},
]


@pytest.fixture(scope="module", params=VARIANTS, ids=["default", "coarse", "small"])
def thorax(request):
    return sliding_thorax(noise=0.0, **request.param), request.param.get("amplitude_mm", 10.0)


def neighbor_steps(phantom):
    """(axis, change of the displacement, whether the two voxels lie on two sides of the wall)."""
    u, inside = phantom.displacement.array, phantom.boundary.array < 0
    for axis in range(3):
        yield axis, np.diff(u, axis=axis), np.diff(inside.astype(int), axis=axis) != 0


def test_moving_image_pulled_by_the_truth_is_the_fixed_image(thorax):
    phantom, _ = thorax
    warped = resample(phantom.moving, phantom.fixed.grid, displacement=phantom.displacement).array
    error, before = (np.abs(a - phantom.fixed.array) for a in (warped, phantom.moving.array))
    labels = phantom.fixed_labels.array
    same = ndimage.grey_dilation(labels, 5) == ndimage.grey_erosion(labels, 5)
    for label, limit in ((0, 1e-6), (1, 0.02), (4, 0.03), (5, 0.05), (6, 0.05), (7, 0.03)):
        inner = error[same & (labels == label)]
        assert inner.size == 0 or np.quantile(inner, 0.99) <= limit, label
    lungs = same & (labels >= 2) & (labels <= 3)
    assert error[lungs].mean() < 0.5 * before[lungs].mean()
    assert error.mean() < 0.45 * before.mean()


def test_nothing_appears_at_the_wall_beyond_what_interpolation_blurs(thorax):
    phantom, _ = thorax
    warped = resample(phantom.moving, phantom.fixed.grid, displacement=phantom.displacement).array
    at_wall = np.abs(phantom.boundary.array) < 1.5 * max(phantom.fixed.spacing)
    assert np.abs(warped - phantom.fixed.array)[at_wall].mean() < 0.02
    low, high = phantom.moving.array.min(), phantom.moving.array.max()
    assert low - 0.05 <= phantom.fixed.array.min()
    assert phantom.fixed.array.max() <= high + 0.05


def test_labels_follow_the_truth(thorax):
    phantom, _ = thorax
    warped = resample(phantom.moving_labels, phantom.fixed.grid, displacement=phantom.displacement, labels=True)
    scores = dice(phantom.fixed_labels, warped)
    assert set(scores) == {1, 2, 3, 4, 5, 6, 7}
    # The coarse grids have voxels of up to a third of the structures: nearest neighbors cannot do better there.
    assert min(scores.values()) > (0.97 if phantom.fixed.spacing[0] == 2 else 0.95)
    before = dice(phantom.fixed_labels, phantom.moving_labels)
    assert all(scores[k] > before[k] for k in (2, 3, 5, 6))


def test_every_region_keeps_its_orientation(thorax):
    phantom, _ = thorax
    determinants = determinant_map(phantom.displacement)
    inside = phantom.boundary.array < 0
    pure = ndimage.binary_erosion(inside) | ndimage.binary_erosion(~inside)
    assert determinants[pure[1:-1, 1:-1, 1:-1]].min() > 0.15


def test_the_field_jumps_along_the_wall_and_nowhere_else(thorax):
    phantom, amplitude = thorax
    largest = 0.0
    normal = np.stack(np.gradient(phantom.boundary.array, *phantom.fixed.spacing), axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    for axis, change, across in neighbor_steps(phantom):
        jump = np.linalg.norm(change, axis=-1)
        # Smooth parts change by less than their steepest slope allows per voxel.
        assert jump[~across].max() < 0.9 * phantom.fixed.spacing[axis]
        largest = max(largest, jump[across & (axis < 2)].max() if axis < 2 else 0.0)
        strong = across & (jump > 0.4 * amplitude)
        if axis < 2:
            first = np.take(normal, range(normal.shape[axis] - 1), axis=axis)
            along_normal = np.abs((change * first).sum(axis=-1))[strong] / jump[strong]
            assert strong.sum() > 100
            assert np.mean(along_normal) < 0.15
    assert 0.85 * amplitude < largest <= 1.05 * amplitude


def test_the_body_around_moves_little(thorax):
    phantom, amplitude = thorax
    outside = phantom.boundary.array > 0
    assert displacement_summary(phantom.displacement, outside)["max"] < 0.35 * amplitude
    # Nothing leaves or enters through the ends.
    assert np.abs(phantom.displacement.array[..., [0, -1], :]).max() < 0.1 * amplitude


def test_landmarks_lie_where_they_should_and_have_exact_partners(thorax):
    phantom, _ = thorax
    n = len(phantom.fixed_points)
    assert n >= 200
    voxel = max(phantom.fixed.spacing)
    assert tre_mm(phantom.fixed_points, phantom.moving_points, phantom.displacement).max() < 0.1 * voxel
    index = np.rint((phantom.fixed_points - phantom.fixed.affine[:3, 3]) / phantom.fixed.spacing).astype(int)
    distance = phantom.boundary.array[tuple(index.T)]
    labels = phantom.fixed_labels.array[tuple(index.T)]
    near = np.abs(distance) <= 4 * voxel
    assert (near & (distance < 0)).sum() >= 50
    assert (near & (distance > 0)).sum() >= 50
    assert (~near).sum() >= 20
    assert np.isin(labels[distance < 0], (2, 3)).all()
    assert np.isin(labels[distance > 0], (1, 7)).all()
    before = tre_mm(phantom.fixed_points, phantom.moving_points)
    assert np.median(before[near & (distance < 0)]) > 2 * np.median(before[near & (distance > 0)])


def test_boundary_separates_what_slides_from_what_does_not(thorax):
    phantom, _ = thorax
    inside = phantom.boundary.array < 0
    np.testing.assert_array_equal(inside, np.isin(phantom.fixed_labels.array, (2, 3, 5, 6)))


def test_signed_distance_of_a_ball():
    spacing = (1.0, 1.5, 2.0)
    x, y, z = np.meshgrid(*[(np.arange(32) - 15.5) * s for s in spacing], indexing="ij")
    truth = np.sqrt(x * x + y * y + z * z) - 12.0
    level = (np.sqrt(x * x + y * y + z * z) / 12.0 - 1.0).astype(np.float32)
    error = np.abs(signed_distance(level, spacing) - truth)
    assert error.max() < 0.5 * max(spacing)
    assert error.mean() < 0.1 * max(spacing)
    assert np.isposinf(signed_distance(np.ones((8, 8, 8)), spacing)).all()


def test_the_seed_decides_everything():
    small = {"shape": (24, 20, 40), "spacing": (4.0, 4.0, 4.0)}
    a, b, other = sliding_thorax(**small), sliding_thorax(**small), sliding_thorax(**small, seed=1)
    for name in ("fixed", "moving", "fixed_labels", "boundary", "displacement"):
        np.testing.assert_array_equal(getattr(a, name).array, getattr(b, name).array)
    np.testing.assert_array_equal(a.fixed_points, b.fixed_points)
    assert not np.array_equal(a.fixed.array, other.fixed.array)
    clean = sliding_thorax(**small, noise=0.0)
    noise = [(getattr(a, name).array - getattr(clean, name).array).ravel() for name in ("fixed", "moving")]
    assert np.std(noise, axis=1) == pytest.approx([0.01, 0.01], rel=0.05)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.03


def test_no_amplitude_no_motion():
    still = sliding_thorax(shape=(24, 20, 24), spacing=(4.0, 4.0, 4.0), amplitude_mm=0.0, noise=0.0)
    assert np.abs(still.displacement.array).max() < 1e-4
    np.testing.assert_allclose(still.fixed.array, still.moving.array, atol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amplitude_mm": 60.0},
        {"amplitude_mm": -1.0},
        {"shape": (4, 80, 96)},
        {"spacing": (2.0, 0.0, 2.0)},
        {"noise": -0.1, "shape": (16, 16, 16), "amplitude_mm": 1.0},
    ],
)
def test_impossible_wishes_are_refused(wrong):
    with pytest.raises(InputError):
        sliding_thorax(**wrong)
