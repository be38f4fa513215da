"""The cylinder that turns and slips in a block, and the two plates on a wavy fault."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from SPRCore.errors import InputError
from SPRCore.geometry import resample
from SPRCore.metrics import determinant_map, tre_mm
from SPRCore.synthetic import sliding_cylinder, sliding_plates
from SPRCore.synthetic.cylinder import CylinderMotion
from SPRCore.synthetic.plates import PlateMotion
from SPRCore.synthetic.textured import rise, slide

MAKERS = [sliding_cylinder, sliding_plates]
SMALL = {"shape": (36, 32, 40), "spacing": (5.0, 5.0, 4.5)}
COARSE = {"shape": (60, 56, 40), "spacing": (3.0, 3.0, 5.0), "seed": 4}


@pytest.fixture(scope="module", params=[(make, kind) for make in MAKERS for kind in ("default", "coarse")])
def phantom(request):
    make, kind = request.param
    return make(noise=0.0, **({} if kind == "default" else COARSE))


def steps(phantom):
    """By axis: change of the displacement to the next voxel, and whether the wall is between the two."""
    for axis in range(3):
        across = np.diff(phantom.boundary.array < 0, axis=axis)
        yield axis, np.diff(phantom.displacement.array, axis=axis), across


def test_moving_image_pulled_by_the_truth_is_the_fixed_image(phantom):
    warped = resample(phantom.moving, phantom.fixed.grid, displacement=phantom.displacement).array
    inner = (slice(3, -3),) * 3
    error, before = (np.abs(image - phantom.fixed.array)[inner] for image in (warped, phantom.moving.array))
    moved = np.linalg.norm(phantom.displacement.array, axis=-1)[inner] > max(phantom.fixed.spacing)
    assert error[moved].mean() < 0.4 * before[moved].mean()
    assert np.quantile(error[~moved], 0.99) < 0.1
    at_wall = np.abs(phantom.boundary.array[inner]) < 1.5 * max(phantom.fixed.spacing)
    assert error[at_wall].mean() < 0.06


def test_every_region_is_mapped_on_itself(phantom):
    inside = phantom.boundary.array < 0
    pure = ndimage.binary_erosion(inside) | ndimage.binary_erosion(~inside)
    assert determinant_map(phantom.displacement)[pure[1:-1, 1:-1, 1:-1]].min() > 0.2
    np.testing.assert_array_equal(phantom.fixed_labels.array == 2, inside)
    # Where a voxel goes is on its own side of the wall of the moving image.
    landed = resample(
        phantom.moving_labels, phantom.fixed.grid, displacement=phantom.displacement, labels=True, continued=True
    )
    far = np.abs(phantom.boundary.array) > 1.5 * max(phantom.fixed.spacing)
    np.testing.assert_array_equal(landed.array[far], phantom.fixed_labels.array[far])


def test_the_field_jumps_along_the_wall_and_nowhere_else(phantom):
    voxel, largest = min(phantom.fixed.spacing), 0.0
    normal = np.stack(np.gradient(phantom.boundary.array, *phantom.fixed.spacing), axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    for axis, change, across in steps(phantom):
        jump = np.linalg.norm(change, axis=-1)
        assert jump[~across].max() < 0.65 * phantom.fixed.spacing[axis]
        strong = across & (jump > 2 * voxel)
        if strong.any():
            first = np.take(normal, range(normal.shape[axis] - 1), axis=axis)
            along_normal = np.abs((change * first).sum(axis=-1))[strong] / jump[strong]
            assert along_normal.mean() < 0.15
        largest = max(largest, jump[across].max(initial=0.0))
    assert 9.5 < largest < 12.0


def test_nothing_enters_or_leaves_along_the_slide(phantom):
    ends = phantom.displacement.array[..., [0, -1], :]
    assert np.abs(ends).max() < 0.1 * min(phantom.fixed.spacing)


def test_landmarks_lie_near_and_away_and_have_exact_partners(phantom):
    assert len(phantom.fixed_points) == 300
    errors = tre_mm(phantom.fixed_points, phantom.moving_points, phantom.displacement)
    assert errors.max() < 1e-3 * min(phantom.fixed.spacing)
    index = np.rint((phantom.fixed_points - phantom.fixed.affine[:3, 3]) / phantom.fixed.spacing).astype(int)
    distance = phantom.boundary.array[tuple(index.T)]
    near = np.abs(distance) <= 4 * max(phantom.fixed.spacing)
    assert ((near & (distance < 0)).sum(), (near & (distance >= 0)).sum(), (~near).sum()) == (100, 100, 100)


@given(shift=st.floats(-15.0, 15.0), half=st.floats(80.0, 120.0))
def test_a_slide_is_a_bijection_that_keeps_the_ends(shift, half):
    z = np.linspace(-half, half, 2001)
    moved = slide(z, half, shift)
    assert np.diff(moved).min() > 0.2 * (z[1] - z[0])
    np.testing.assert_allclose(moved[[0, -1]], z[[0, -1]])
    assert np.abs(moved - z).max() == pytest.approx(abs(shift), abs=1e-6)
    assert rise(np.zeros(1)) == 1.0


@given(st.integers(0, 2**31))
def test_a_turn_keeps_the_distance_to_the_axis_and_can_be_undone(seed):
    motion = CylinderMotion((96.0, 96.0, 80.0), 10.0, 6.0)
    position = tuple(np.random.default_rng(seed).uniform(-80, 80, (3, 200)))
    moved = motion.moved(position)
    np.testing.assert_allclose(motion.level(moved), motion.level(position), atol=1e-3)
    angle = -motion.angle * rise(moved[2] / motion.half_z)
    x, y = (moved[axis] - motion.center[axis] for axis in range(2))
    back = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    for axis in range(2):
        np.testing.assert_allclose(back[axis] + motion.center[axis], position[axis], atol=1e-3)


@given(st.integers(0, 2**31))
def test_plates_keep_their_side_of_the_fault(seed):
    motion = PlateMotion((96.0, 80.0, 96.0), 10.0, 5.0)
    position = tuple(np.random.default_rng(seed).uniform(-80, 80, (3, 200)))
    moved, level = motion(position)
    np.testing.assert_allclose(motion.level(moved), level, atol=1e-3)
    np.testing.assert_allclose(np.abs(moved[2] - motion.bent(position)[2]).max(), 5.0, atol=1e-3)


@pytest.mark.parametrize("make", MAKERS)
def test_the_seed_decides_everything(make):
    a, b, other, clean = make(**SMALL), make(**SMALL), make(**SMALL, seed=1), make(**SMALL, noise=0.0)
    for name in ("fixed", "moving", "fixed_labels", "boundary", "displacement"):
        np.testing.assert_array_equal(getattr(a, name).array, getattr(b, name).array)
    np.testing.assert_array_equal(a.fixed_points, b.fixed_points)
    assert not np.array_equal(a.fixed.array, other.fixed.array)
    noise = [(getattr(a, name).array - getattr(clean, name).array).ravel() for name in ("fixed", "moving")]
    assert np.std(noise, axis=1) == pytest.approx([0.03, 0.03], rel=0.05)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.03


@pytest.mark.parametrize(("make", "still"), [(sliding_cylinder, {"degrees": 0.0}), (sliding_plates, {"bend_mm": 0.0})])
def test_no_motion_asked_for_is_no_motion(make, still):
    phantom = make(**SMALL, **still, slip_mm=0.0, noise=0.0)
    assert np.abs(phantom.displacement.array).max() < 1e-4
    np.testing.assert_allclose(phantom.fixed.array, phantom.moving.array, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (sliding_cylinder, {"degrees": 46.0}),
        (sliding_cylinder, {"degrees": float("nan")}),
        (sliding_cylinder, {"slip_mm": -1.0}),
        (sliding_cylinder, {"slip_mm": 17.0}),
        (sliding_plates, {"slip_mm": 45.0}),
        (sliding_plates, {"bend_mm": 8.0}),
        (sliding_plates, {"bend_mm": float("inf")}),
        *((make, wrong) for make in MAKERS for wrong in ({"shape": (4, 80, 96)}, {"spacing": (2.0, 0.0, 2.0)})),
        *((make, SMALL | {"noise": -0.1}) for make in MAKERS),
    ],
)
def test_impossible_wishes_are_refused(make, wrong):
    with pytest.raises(InputError):
        make(**wrong)
