"""Alignment as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from SPRCore.errors import InputError
from SPRCore.geometry import MaskedVolume, Volume, resample, spacing_of
from SPRCore.registration import prealign as prealign_data
from SPRCore.registration.prealign import center_of_mass_mm as center_of_data_mm
from SPRCore.registration.prealign import overlap_fraction

SHAPE = (30, 28, 26)
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 2.0, 0, -30], [0, 0, 2.5, 10], [0, 0, 0, 1.0]])


def prealign(fixed, moving, *mode):
    return prealign_data(MaskedVolume.of(fixed, "fixed image"), MaskedVolume.of(moving, "moving image"), *mode)


def center_of_mass_mm(volume):
    return center_of_data_mm(MaskedVolume.of(volume, "image"))


def body(shape=SHAPE, affine=AFFINE):
    """An ellipsoid with organs and texture: no symmetry that would hide a rotation, edges that fix the size."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    array = np.zeros(shape)
    for center, radius, value in (((0, 0, 0), 0.7, 0.5), ((-0.2, 0.2, 0.1), 0.25, 1.0), ((0.3, -0.1, -0.2), 0.2, 0.2)):
        array[sum(((a - c) / radius) ** 2 for a, c in zip(axes, center, strict=True)) < 1.0] = value
    texture = gaussian_filter(np.random.default_rng(0).standard_normal(shape), 1.2)
    return Volume((array + 0.3 * texture * (array > 0)).astype(np.float32), affine)


def rotation_about(center, degrees, shift, scale=1.0):
    angle, matrix = np.deg2rad(degrees), np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] *= scale
    matrix[:3, 3] = center + shift - matrix[:3, :3] @ center
    return matrix


def moved_by(volume, matrix):
    """The image that `matrix` pulls back to the volume: moving(matrix(x)) = volume(x)."""
    return resample(volume, volume.grid, affine_ras=np.linalg.inv(matrix))


@pytest.fixture(scope="module")
def fixed():
    return body()


def corners_apart_mm(found, truth, volume):
    index = np.argwhere(np.ones((2, 2, 2))) * (np.array(volume.shape) / 2) + np.array(volume.shape) / 4
    points = np.c_[index, np.ones(8)] @ volume.affine.T
    return np.linalg.norm((points @ found.T - points @ truth.T)[:, :3], axis=1).max()


def test_auto_leaves_a_prepared_pair_alone(fixed):
    result = prealign(fixed, fixed)
    assert (result.affine_ras, result.mode) == (None, "none")
    assert "same grid" in result.reason


def test_auto_aligns_volumes_of_different_grids(fixed):
    affine = AFFINE.copy()
    affine[:3, 3] += (80.0, -60.0, 0.0)
    result = prealign(fixed, Volume(fixed.array, affine))
    assert "centers of mass" in result.reason
    truth = np.eye(4)
    truth[:3, 3] = (80.0, -60.0, 0.0)
    assert corners_apart_mm(result.affine_ras, truth, fixed) < 2.0


@pytest.mark.parametrize(
    ("mode", "truth"),
    [
        ("rigid", lambda center: rotation_about(center, 12.0, (5.0, -3.0, 2.0))),
        ("affine", lambda center: rotation_about(center, 8.0, (3.0, -3.0, 2.0), scale=1.1)),
    ],
)
def test_a_known_map_is_found(fixed, mode, truth):
    matrix = truth(center_of_mass_mm(fixed))
    result = prealign(fixed, moved_by(fixed, matrix), mode)
    assert result.mode == mode
    assert corners_apart_mm(result.affine_ras, matrix, fixed) < max(spacing_of(AFFINE))
    np.testing.assert_array_equal(result.affine_ras[3], [0, 0, 0, 1])
    if mode == "rigid":
        np.testing.assert_allclose(result.affine_ras[:3, :3] @ result.affine_ras[:3, :3].T, np.eye(3), atol=1e-9)


def test_center_brings_the_centers_of_mass_together(fixed):
    affine = AFFINE.copy()
    affine[:3, 3] += (500.0, 0.0, -300.0)
    result = prealign(fixed, Volume(fixed.array, affine), "center")
    np.testing.assert_allclose(result.affine_ras[:3, 3], (500.0, 0.0, -300.0), atol=1e-6)
    np.testing.assert_array_equal(result.affine_ras[:3, :3], np.eye(3))


def test_none_trusts_headers_that_overlap(fixed):
    assert prealign(fixed, fixed, "none").affine_ras is None


def test_none_refuses_headers_that_do_not_overlap(fixed):
    affine = AFFINE.copy()
    affine[0, 3] += 1000.0
    with pytest.raises(InputError, match=r"no overlap.*--init"):
        prealign(fixed, Volume(fixed.array, affine), "none")


def test_an_unknown_mode_is_refused(fixed):
    with pytest.raises(InputError, match=r"'similarity'.*auto"):
        prealign(fixed, fixed, "similarity")


def test_a_matrix_is_used_as_it_is(fixed):
    truth = rotation_about(np.array([10.0, 0.0, 40.0]), 8.0, (5.0, -4.0, 3.0))
    for given in (truth, truth.tolist()):
        found = prealign(fixed, moved_by(fixed, truth), given)
        np.testing.assert_array_equal(found.affine_ras, truth)
        assert (found.mode, found.reason) == ("given", "requested")


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (None, "None"),
        (np.eye(3), "shape"),
        ([[1, 2], [3]], "shape"),
        (np.full((4, 4), np.nan), "nan"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "last row"),
        (np.diag([-1.0, 1.0, 1.0, 1.0]), "mirrors"),
        (np.diag([0.0, 1.0, 1.0, 1.0]), "flattens"),
    ],
)
def test_a_matrix_that_is_no_alignment_is_refused(fixed, matrix, words):
    with pytest.raises(InputError, match=words):
        prealign(fixed, fixed, matrix)


def test_a_matrix_that_takes_the_images_apart_is_refused(fixed):
    matrix = np.eye(4)
    matrix[:3, 3] = 500.0
    with pytest.raises(InputError, match="after the given alignment"):
        prealign(fixed, fixed, matrix)


def test_overlap_of_grids(fixed):
    assert overlap_fraction(fixed.grid, fixed.grid) == 1.0
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, :3] @ [15.0, 0.0, 0.0]  # half of the thirty voxels along the first axis
    assert overlap_fraction(fixed.grid, Volume(fixed.array, affine).grid) == pytest.approx(0.5, abs=0.05)


def test_center_of_mass_of_one_voxel():
    array = np.full(SHAPE, 3.0, dtype=np.float32)
    array[4, 5, 6] = 10.0
    expected = AFFINE[:3, :3] @ [4, 5, 6] + AFFINE[:3, 3]
    np.testing.assert_allclose(center_of_mass_mm(Volume(array, AFFINE)), expected)


def test_the_same_pair_gives_the_same_map(fixed):
    moving = moved_by(fixed, rotation_about(center_of_mass_mm(fixed), 6.0, (2.0, 0.0, 1.0)))
    first, second = (prealign(fixed, moving, "rigid").affine_ras for _ in range(2))
    np.testing.assert_array_equal(first, second)
