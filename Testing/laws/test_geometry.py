"""Laws of the conversions and of resampling, for grids of every orientation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.geometry import (
    Field,
    Grid,
    Volume,
    affine_field,
    affine_from_itk,
    affine_to_itk,
    compose_affine,
    displacement_mm_to_vox,
    displacement_vox_to_mm,
    flip_lps_ras,
    flip_map_lps_ras,
    ras_to_voxel,
    resample,
    spacing_of,
    transform_points,
    voxel_to_ras,
)

SEEDS = st.integers(0, 2**32 - 1)


def numbers(seed, *shape, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


@given(data=st.data(), seed=SEEDS)
def test_voxels_and_millimeters_are_inverse(affines, data, seed):
    affine, points = data.draw(affines), numbers(seed, 6, 2, 3, scale=100)
    np.testing.assert_allclose(ras_to_voxel(voxel_to_ras(points, affine), affine), points, atol=1e-8)
    np.testing.assert_allclose(
        displacement_mm_to_vox(displacement_vox_to_mm(points, affine), affine), points, atol=1e-8
    )


@given(data=st.data(), seed=SEEDS)
def test_a_displacement_in_voxels_moves_a_voxel_as_far_as_its_millimeters(affines, data, seed):
    affine, (voxel, step_vox) = data.draw(affines), numbers(seed, 2, 3, scale=20)
    moved = voxel_to_ras(voxel, affine) + displacement_vox_to_mm(step_vox, affine)
    np.testing.assert_allclose(moved, voxel_to_ras(voxel + step_vox, affine), atol=1e-9)


@given(data=st.data(), seed=SEEDS)
def test_flipping_a_map_flips_what_it_does_to_points(affines, data, seed):
    matrix, points = data.draw(affines), numbers(seed, 5, 3, scale=50)
    np.testing.assert_array_equal(flip_lps_ras(flip_lps_ras(points)), points)
    np.testing.assert_array_equal(flip_map_lps_ras(flip_map_lps_ras(matrix)), matrix)
    flipped = transform_points(flip_lps_ras(points), flip_map_lps_ras(matrix))
    np.testing.assert_allclose(flip_lps_ras(flipped), transform_points(points, matrix), atol=1e-9)


@given(data=st.data())
def test_itk_geometry_goes_there_and_back(affines, data):
    affine = data.draw(affines)
    spacing, origin, direction = affine_to_itk(affine)
    np.testing.assert_allclose(np.reshape(direction, (3, 3)).T @ np.reshape(direction, (3, 3)), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(spacing, spacing_of(affine))
    np.testing.assert_allclose(affine_from_itk(spacing, origin, direction), affine, atol=1e-9)


@given(data=st.data(), seed=SEEDS)
def test_a_field_survives_its_tensor(affines, shapes, data, seed):
    affine, shape = data.draw(affines), data.draw(shapes)
    field = Field(numbers(seed, *shape, 3, scale=10), affine)
    tensor = field.to_tensor_vox()
    assert tensor.shape == (1, 3, *shape)
    assert tensor.is_contiguous()
    again = Field.from_tensor_vox(tensor, affine)
    np.testing.assert_allclose(again.array, field.array, atol=1e-4)
    assert again.grid.matches(field.grid)


@given(data=st.data(), seed=SEEDS)
def test_resampling_onto_its_own_grid_changes_nothing(affines, shapes, data, seed):
    volume = Volume(numbers(seed, *data.draw(shapes)), data.draw(affines))
    np.testing.assert_allclose(resample(volume, volume.grid).array, volume.array, atol=1e-4)
    np.testing.assert_array_equal(resample(volume, volume.grid, labels=True).array, volume.array)


@given(data=st.data(), seed=SEEDS)
def test_resampling_does_not_depend_on_where_the_world_has_its_origin_and_axes(affines, shapes, data, seed):
    """Moving fixed grid, moving image, displacement and affine together leaves the voxels of the result alone."""
    fixed, moving, world, pull = (data.draw(affines) for _ in range(4))
    fixed[:3, 3], moving[:3, 3], pull[:3, 3] = 0, 0, 1
    shape, moving_shape = data.draw(shapes), data.draw(shapes)
    image, steps = numbers(seed, *moving_shape), numbers(seed, *shape, 3)
    here = resample(
        Volume(image, moving), Grid(shape, fixed), displacement=Field(steps, fixed), affine_ras=pull, outside=0.0
    )
    there = resample(
        Volume(image, world @ moving),
        Grid(shape, world @ fixed),
        displacement=Field(steps @ world[:3, :3].T, world @ fixed),
        affine_ras=world @ pull @ np.linalg.inv(world),
        outside=0.0,
    )
    # A point on the border of the image may fall to either side of it by rounding; nothing else may differ.
    assert np.mean(np.abs(here.array - there.array) > 2e-3) <= 0.02 + 1 / here.array.size


@given(data=st.data(), seed=SEEDS)
def test_an_affine_behind_a_field_is_the_map_of_both(affines, shapes, data, seed):
    grid_affine, pull, shape = data.draw(affines), data.draw(affines), data.draw(shapes)
    field = Field(numbers(seed, *shape, 3, scale=5), grid_affine)
    points = voxel_to_ras(np.moveaxis(np.indices(shape), 0, -1), grid_affine)
    expected = transform_points(points + field.array, pull) - points
    np.testing.assert_allclose(compose_affine(field, pull).array, expected, atol=1e-3)
    still = affine_field(field.grid, pull).array
    np.testing.assert_allclose(still, transform_points(points, pull) - points, atol=1e-3)
