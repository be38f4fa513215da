"""Volumes, fields, grids and the check of images."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Field, Grid, Volume

SHEARED_FLAT = np.array([[1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def with_entry(row, column, value):
    affine = np.eye(4)
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    ("affine", "said"),
    [
        (np.eye(3), "shape"),
        (with_entry(0, 0, np.nan), "finite"),
        (with_entry(1, 3, np.inf), "finite"),
        (with_entry(3, 0, 1), "last row"),
        (with_entry(2, 2, 0), "spacing"),
        (SHEARED_FLAT, "independent"),
    ],
)
@pytest.mark.parametrize("make", [lambda a: Volume(np.ones((2, 2, 2)), a), lambda a: Field(np.ones((2, 2, 2, 3)), a)])
def test_an_unusable_affine_is_refused(make, affine, said):
    with pytest.raises(InputError, match=said):
        make(affine)


@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
def test_fine_and_coarse_and_anisotropic_spacings_are_no_reason_to_refuse(scale):
    assert Volume(np.ones((2, 2, 2)), np.diag([scale, -scale, 100 * scale, 1])).spacing == (scale, scale, 100 * scale)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 3)),
        np.zeros((3, 3, 3, 1)),
        np.zeros((3, 0, 3)),
        np.zeros((3, 3, 3), complex),
        np.zeros((3, 3, 3), [("r", "u1"), ("g", "u1"), ("b", "u1")]),
        np.full((3, 3, 3), "a"),
    ],
    ids=lambda array: f"{array.shape}-{array.dtype.kind}",
)
def test_an_array_that_is_no_volume_is_refused(array):
    with pytest.raises(InputError):
        Volume(array, np.eye(4))


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 3, 3, 2), (3, 3, 0, 3), (1, 3, 3, 3, 3)])
def test_an_array_that_is_no_field_is_refused(shape):
    with pytest.raises(InputError):
        Field(np.zeros(shape), np.eye(4))


def test_the_affine_is_a_read_only_copy():
    affine = np.eye(4, dtype=np.float32)
    volume = Volume(np.zeros((2, 3, 4)), affine)
    affine[0, 0] = 5
    assert volume.affine[0, 0] == 1
    assert volume.affine.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        volume.affine[0, 0] = 2


def test_the_array_is_not_copied_but_its_tensor_is():
    array = np.zeros((2, 3, 4), np.float32)
    volume = Volume(array, np.eye(4))
    assert volume.array is array
    tensor = volume.to_tensor()
    tensor += 1
    assert not array.any()
    assert tensor.shape == (1, 1, 2, 3, 4)


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", ">i2", "u4", "i8", "f2", ">f4", "f8"])
def test_every_real_type_becomes_a_float32_tensor(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    tensor = Volume(np.asfortranarray(array), np.eye(4)).to_tensor()
    np.testing.assert_array_equal(tensor[0, 0].numpy(), array.astype(np.float32))
    assert tensor.is_contiguous()


def test_with_array_keeps_the_place_and_may_not_change_its_kind():
    volume = Volume(np.zeros((2, 3, 4)), np.diag([2, 3, 4, 1]))
    assert volume.with_array(np.ones((2, 3, 4))).grid.matches(volume.grid)
    with pytest.raises(InputError):
        volume.with_array(np.ones((2, 3)))


def test_grids_match_up_to_a_thousandth_of_a_millimeter_at_the_corners():
    grid = Grid((100, 100, 100), np.eye(4))
    assert grid.matches(Grid((100, 100, 100), with_entry(0, 3, 5e-4)))
    assert not grid.matches(Grid((100, 100, 100), with_entry(0, 3, 2e-3)))
    assert not grid.matches(Grid((100, 100, 100), with_entry(0, 0, 1 + 1e-4))), "1e-2 mm at the far corner"
    assert not grid.matches(Grid((100, 100, 99), np.eye(4)))


def test_a_field_in_voxels_has_its_components_in_axis_order():
    """Axis 1 of this grid runs along x in steps of 2 mm: 6 mm to the right are 3 voxels along axis 1."""
    affine = np.array([[0, 2, 0, 0], [-1, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    field = Field(np.broadcast_to([6.0, 0, 0], (4, 5, 6, 3)), affine)
    np.testing.assert_allclose(field.to_tensor_vox()[0, :, 1, 2, 3].numpy(), [0, 3, 0], atol=1e-6)


def test_the_representation_says_where_and_not_every_voxel():
    assert len(repr(Volume(np.zeros((50, 50, 50)), np.eye(4)))) < 300
