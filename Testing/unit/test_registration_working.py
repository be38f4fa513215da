"""The grid and the intensities that a network sees."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, MaskedVolume, Volume, voxel_to_ras
from SPRCore.io.cards import Preprocessing, WorkingGrid
from SPRCore.registration import working
from SPRCore.registration.working import onto, working_grid

FIXED = Grid((30, 20, 11), np.array([[0, 0, -3, 40], [-1, 0, 0, 5], [0, 2, 0, -7], [0, 0, 0, 1.0]]))  # axes P, S, L


def middle(grid):
    return voxel_to_ras((np.array(grid.shape) - 1) / 2, grid.affine)


def extent_mm(grid):
    return np.abs(grid.affine[:3, :3]) @ np.array(grid.shape)


def test_by_default_only_the_order_of_the_voxels_changes():
    grid = working_grid(FIXED, WorkingGrid())
    assert grid.shape == (11, 30, 20)
    np.testing.assert_allclose(grid.affine[:3, :3], np.diag([3, 1, 2]))
    np.testing.assert_allclose(middle(grid), middle(FIXED))
    assert working_grid(FIXED, WorkingGrid(orientation=None)).matches(FIXED)


def test_another_spacing_covers_the_same_field_of_view():
    grid = working_grid(FIXED, WorkingGrid(spacing_mm=(2.0, 1.0004, 1.6)))
    assert grid.shape == (17, 30, 25)  # 33, 30 and 40 mm; a spacing that is almost right is left alone
    np.testing.assert_allclose(grid.spacing, (2.0, 1.0, 1.6))
    np.testing.assert_allclose(middle(grid), middle(FIXED))
    assert (extent_mm(grid) >= extent_mm(FIXED) - 1e-6).all()


def test_a_shape_lies_about_the_middle_on_the_voxels_of_the_image():
    grid = working_grid(FIXED, WorkingGrid(orientation=None, shape=(16, 32, 11)))
    assert grid.shape == (16, 32, 11)
    first = np.linalg.inv(FIXED.affine) @ grid.affine[:, 3]
    np.testing.assert_allclose(first[:3], (7, -6, 0), atol=1e-9)
    apart = working_grid(FIXED, WorkingGrid(orientation=None, spacing_mm=(2, 2, 2), shape=(16, 16, 16)))
    np.testing.assert_allclose(middle(apart), middle(FIXED))


def test_a_grid_that_no_machine_holds_is_refused():
    with pytest.raises(InputError, match="voxels at most"):
        working_grid(FIXED, WorkingGrid(spacing_mm=(0.01, 0.01, 0.01)))


def prepared(image, *rest):
    image, preprocessing, what = image, *rest
    return working.prepared(MaskedVolume.whole(image), [preprocessing], what)[0]


def test_intensities_come_to_one_range():
    image = Volume(np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(4, 4, 4), np.eye(4))
    plain = prepared(image, Preprocessing(), "image").array
    np.testing.assert_allclose(plain.ravel(), np.linspace(0, 1, 64), atol=1e-6)
    clipped = prepared(image, Preprocessing(clip=(-300, 300)), "image").array
    np.testing.assert_allclose(clipped.ravel(), np.clip(np.linspace(-1000, 1000, 64) / 600 + 0.5, 0, 1), atol=1e-6)
    dark = Volume(image.array.clip(max=0), np.eye(4))
    assert prepared(dark, Preprocessing(clip=(-300, 300)), "image").array.max() == 1
    assert prepared(dark, Preprocessing(clip=(-300, 300), normalize="clip"), "image").array.max() == 0.5
    centile = prepared(image, Preprocessing(normalize="percentile", percentiles=(10, 90)), "image").array
    assert ((centile == 0).mean(), (centile == 1).mean()) == pytest.approx((0.1, 0.1), abs=0.02)


def test_integers_and_an_image_without_contrast():
    image = Volume(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.eye(4))
    assert prepared(image, Preprocessing(), "image").array.max() == 1
    with pytest.raises(InputError, match="fixed image: got no contrast within 100 to 200"):
        prepared(image, Preprocessing(clip=(100, 200)), "fixed image")


def test_an_image_is_sampled_through_its_alignment_and_blurred_where_voxels_grow():
    affine = np.eye(4)
    affine[0, 3] = 5.0
    noise = Volume(np.random.default_rng(0).random((32, 32, 32), dtype=np.float32), np.eye(4))
    shifted = onto(noise, Grid((32, 32, 32), np.eye(4)), affine).array
    np.testing.assert_array_equal(shifted[:27], noise.array[5:])
    assert (shifted[27:] == 0).all()
    coarse = onto(noise, Grid((8, 8, 8), np.diag([4, 4, 4, 1.0]))).array
    # White noise has no detail that a coarse grid could show; sampled as it is, its deviation would stay.
    assert coarse[1:-1, 1:-1, 1:-1].std() < 0.25 * noise.array.std()
    swapped = Grid((32, 32, 32), np.eye(4)[[2, 0, 1, 3]])
    np.testing.assert_array_equal(onto(noise, swapped).array, noise.array.transpose(1, 2, 0))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 1.5, 10.0)])
def test_a_grid_of_too_many_voxels_is_made_coarser_alike_along_all_axes(spacing):
    fixed = Grid((64, 48, 40), np.diag([*spacing, 1.0]))
    grid = working_grid(fixed, WorkingGrid(voxels=20_000))
    ratio = np.array(grid.spacing) / spacing
    assert np.allclose(ratio, (64 * 48 * 40 / 20_000) ** (1 / 3))
    assert 20_000 <= np.prod(grid.shape) <= 1.2 * 20_000  # a size is rounded up, so that the field of view is covered
    assert working_grid(fixed, WorkingGrid(voxels=200_000)).matches(working_grid(fixed, WorkingGrid()))


@pytest.mark.parametrize("wrong", [{"voxels": 10}, {"voxels": 50_000.5}, {"voxels": 50_000, "shape": (32, 32, 32)}])
def test_a_number_of_voxels_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match="voxels"):
        WorkingGrid(**wrong)
