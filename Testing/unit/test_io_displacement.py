"""Displacement files: units, conventions of each format, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume
from SPRCore.io import read_displacement, write_displacement, write_volume

nibabel = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")

AFFINE = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
VALUES = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)


def save_nifti(path, array, intent):
    image = nibabel.Nifti1Image(array, AFFINE)
    image.header["intent_code"] = intent
    nibabel.save(image, path)
    return path


def test_the_nifti_file_is_what_slicer_writes(tmp_path):
    write_displacement(Field(VALUES, AFFINE), tmp_path / "u.nii.gz")
    image = nibabel.load(tmp_path / "u.nii.gz")
    assert image.shape == (4, 5, 6, 1, 3)
    assert image.header["intent_code"] == 1006
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, :, 0], VALUES)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_itk_sees_lps_in_every_format(tmp_path, suffix):
    write_displacement(Field(VALUES, AFFINE), tmp_path / f"u{suffix}")
    image = sitk.ReadImage(tmp_path / f"u{suffix}")
    np.testing.assert_allclose(image.GetPixel(1, 2, 3), VALUES[1, 2, 3] * [-1, -1, 1], rtol=1e-6)


@pytest.mark.parametrize(("intent", "sign"), [(1006, 1), (1007, -1)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_displacement_vector_is_ras_and_a_plain_vector_lps(tmp_path, intent, sign, dtype):
    path = save_nifti(tmp_path / "u.nii.gz", VALUES[:, :, :, None].astype(dtype), intent)
    field = read_displacement(path)
    np.testing.assert_allclose(field.array, VALUES * np.float32([sign, sign, 1]))
    assert field.array.dtype == np.float32


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_an_image_is_no_displacement(tmp_path, suffix):
    write_volume(Volume(VALUES[..., 0], AFFINE), tmp_path / f"image{suffix}")
    with pytest.raises(InputError, match=r"expected a displacement field"):
        read_displacement(tmp_path / f"image{suffix}")


@pytest.mark.parametrize("shape", [(4, 5, 6, 1, 2), (4, 5, 6, 2, 3), (4, 5, 6)], ids=str)
@pytest.mark.parametrize("intent", [1006, 1007])
def test_other_vectors_are_refused(tmp_path, shape, intent):
    path = save_nifti(tmp_path / "u.nii.gz", np.ones(shape, np.float32), intent)
    with pytest.raises(InputError, match="three real numbers per voxel"):
        read_displacement(path)


def test_colors_are_no_displacement(tmp_path):
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3), tmp_path / "colors.nrrd")
    with pytest.raises(InputError, match="three real numbers per voxel"):
        read_displacement(tmp_path / "colors.nrrd")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_field_that_left_the_numbers_is_refused(tmp_path, value):
    values = VALUES.copy()
    values[1, 2, 3, 0] = value
    write_displacement(Field(values, AFFINE), tmp_path / "u.nii.gz")
    with pytest.raises(InputError, match="NaN or infinite displacements"):
        read_displacement(tmp_path / "u.nii.gz")


def test_a_missing_file_and_a_singular_affine_name_the_file(tmp_path):
    with pytest.raises(InputError, match=r"u\.nii\.gz: got no such file"):
        read_displacement(tmp_path / "u.nii.gz")
    path = save_nifti(tmp_path / "u.nii", VALUES[:, :, :, None], 1006)
    content = bytearray(path.read_bytes())
    content[280:296] = bytes(16)  # srow_x
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"u\.nii: affine: got"):
        read_displacement(path)
