"""Resampling and the files of displacements and affines, against ITK reading the same files."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.geometry import Field, Grid, Volume, compose_affine, flip_lps_ras, resample, voxel_to_ras
from SPRCore.io import write_affine_tfm, write_displacement, write_volume

sitk = pytest.importorskip("SimpleITK")

FIXED_SHAPE, MOVING_SHAPE = (17, 20, 14), (19, 15, 18)


def random_grid(generator, shape, mirrored):
    """An oblique, anisotropic grid whose middle is at the origin of the world."""
    directions, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    directions[:, 0] *= np.sign(np.linalg.det(directions)) * (-1 if mirrored else 1)
    affine = np.eye(4)
    affine[:3, :3] = directions * generator.uniform(0.7, 3.0, 3)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


@pytest.fixture(params=[(a, b) for a in (False, True) for b in (False, True)], ids=str)
def pair(request):
    """A fixed grid, a moving image on another one, and a displacement in mm; right- and left-handed."""
    generator = np.random.default_rng(7)
    fixed = random_grid(generator, FIXED_SHAPE, request.param[0])
    moving = random_grid(generator, MOVING_SHAPE, request.param[1])
    image = Volume(generator.normal(size=MOVING_SHAPE).astype(np.float32), moving.affine)
    return fixed, image, Field(generator.normal(scale=3.0, size=(*FIXED_SHAPE, 3)), fixed.affine)


def by_itk(folder, image, fixed, transform, interpolator, outside):
    """Resample with ITK, everything read from files that SPRCore wrote; array (X, Y, Z)."""
    write_volume(image, folder / "moving.nii.gz")
    write_volume(Volume(np.zeros(fixed.shape, np.uint8), fixed.affine), folder / "fixed.nii.gz")
    moving, reference = sitk.ReadImage(folder / "moving.nii.gz"), sitk.ReadImage(folder / "fixed.nii.gz")
    resampled = sitk.Resample(moving, reference, transform, interpolator, outside, moving.GetPixelID())
    return sitk.GetArrayFromImage(resampled).T


def displacement_transform(path):
    return sitk.DisplacementFieldTransform(sitk.Cast(sitk.ReadImage(path), sitk.sitkVectorFloat64))


def share_that_differs(ours, theirs, tolerance):
    return np.mean(np.abs(ours.astype(np.float64) - theirs) > tolerance)


@pytest.mark.parametrize("name", ["displacement.nii.gz", "displacement.nrrd", "displacement.mha"])
def test_itk_warps_an_image_with_our_displacement_file_as_we_do(tmp_path, pair, name):
    fixed, image, field = pair
    write_displacement(field, tmp_path / name)
    outside = float(image.array.min())
    theirs = by_itk(tmp_path, image, fixed, displacement_transform(tmp_path / name), sitk.sitkLinear, outside)
    ours = resample(image, fixed, displacement=field).array
    assert np.mean(ours != np.float32(outside)) > 0.2, "most of the result is outside: the test sees too little"
    # Points within float32 rounding of the border of the image may fall on either side; all others agree.
    assert share_that_differs(ours, theirs, 1e-3 * np.ptp(image.array)) < 1e-3


def test_itk_takes_the_same_nearest_label(tmp_path, pair):
    fixed, image, field = pair
    labels = Volume(np.random.default_rng(1).integers(1, 2**31 - 1, image.shape).astype(np.int32), image.affine)
    write_displacement(field, tmp_path / "displacement.nii.gz")
    transform = displacement_transform(tmp_path / "displacement.nii.gz")
    theirs = by_itk(tmp_path, labels, fixed, transform, sitk.sitkNearestNeighbor, 0)
    assert share_that_differs(resample(labels, fixed, displacement=field, labels=True).array, theirs, 0) < 1e-3


def test_itk_maps_points_with_our_affine_file_as_we_do(tmp_path, pair):
    fixed, image, _ = pair
    generator = np.random.default_rng(2)
    pull = np.eye(4)
    pull[:3] += generator.normal(scale=[0.1, 0.1, 0.1, 3.0], size=(3, 4))
    write_affine_tfm(pull, tmp_path / "affine.tfm")
    transform = sitk.ReadTransform(tmp_path / "affine.tfm")
    points = generator.normal(scale=50, size=(20, 3))
    theirs = flip_lps_ras(np.array([transform.TransformPoint(point) for point in flip_lps_ras(points).tolist()]))
    np.testing.assert_allclose(theirs, points @ pull[:3, :3].T + pull[:3, 3], atol=1e-9)
    outside = float(image.array.min())
    warped = by_itk(tmp_path, image, fixed, transform, sitk.sitkLinear, outside)
    assert share_that_differs(resample(image, fixed, affine_ras=pull).array, warped, 1e-3 * np.ptp(image.array)) < 2e-3


def test_the_total_field_is_itk_s_chain_of_displacement_and_affine(tmp_path, pair):
    fixed, _, field = pair
    pull = np.eye(4)
    pull[:3] += np.random.default_rng(3).normal(scale=[0.1, 0.1, 0.1, 3.0], size=(3, 4))
    write_affine_tfm(pull, tmp_path / "affine.tfm")
    write_displacement(field, tmp_path / "displacement.nii.gz")
    chain = sitk.CompositeTransform(3)  # the last one added is applied first
    chain.AddTransform(sitk.ReadTransform(tmp_path / "affine.tfm"))
    chain.AddTransform(displacement_transform(tmp_path / "displacement.nii.gz"))
    voxels = np.random.default_rng(4).integers(0, FIXED_SHAPE, (30, 3))
    points = voxel_to_ras(voxels, fixed.affine)
    theirs = flip_lps_ras(np.array([chain.TransformPoint(point) for point in flip_lps_ras(points).tolist()]))
    ours = points + compose_affine(field, pull).array[tuple(voxels.T)]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_displacement_on_another_grid_is_interpolated_and_zero_outside_as_in_itk(tmp_path, pair):
    fixed, image, field = pair
    write_displacement(field, tmp_path / "displacement.nii.gz")
    transform = displacement_transform(tmp_path / "displacement.nii.gz")
    outside = float(image.array.min())
    theirs = by_itk(tmp_path, image, image.grid, transform, sitk.sitkLinear, outside)
    ours = resample(image, image.grid, displacement=field).array
    assert share_that_differs(ours, theirs, 1e-3 * np.ptp(image.array)) < 1e-3
    assert not fixed.matches(image.grid)


@pytest.mark.parametrize("shift", [-0.5, -0.4, 0.4, 0.5, 3.5, 4.4, 4.5, 4.6])
@pytest.mark.parametrize("labels", [False, True])
def test_borders_and_halves_are_those_of_itk(tmp_path, shift, labels):
    """Between the outermost centers and the border, on the border, and halfway between two voxels."""
    line = Volume(np.arange(1, 6, dtype=np.int32).reshape(5, 1, 1) * np.ones((1, 4, 4), np.int32), np.eye(4))
    image = line if labels else line.with_array(line.array.astype(np.float32))
    pull = np.eye(4)
    pull[0, 3] = shift
    write_affine_tfm(pull, tmp_path / "affine.tfm")
    interpolator = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    transform = sitk.ReadTransform(tmp_path / "affine.tfm")
    theirs = by_itk(tmp_path, image, image.grid, transform, interpolator, -9.0)
    ours = resample(image, image.grid, affine_ras=pull, labels=labels, outside=-9.0).array
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
