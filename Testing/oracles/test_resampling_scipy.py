"""Resampling against SciPy and against a loop that anybody can check."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.geometry import Field, Grid, Volume, ras_to_voxel, resample, transform_points, voxel_to_ras

ndimage = pytest.importorskip("scipy.ndimage")

FIXED = Grid((9, 8, 10), np.array([[1.2, 0.3, 0, -4], [-0.2, 1.1, 0.1, 3], [0, 0.2, -2.0, 8], [0, 0, 0, 1]]))
MOVING_AFFINE = np.array([[0, -1.5, 0, 12], [1.3, 0, 0, -4], [0, 0, 1.7, -12], [0, 0, 0, 1.0]])


@pytest.fixture
def case():
    """An image, a displacement and an affine, and the continuous voxel of the image that each fixed voxel looks at."""
    generator = np.random.default_rng(0)
    image = Volume(generator.normal(size=(11, 12, 13)), MOVING_AFFINE)
    field = Field(generator.normal(size=(*FIXED.shape, 3)), FIXED.affine)
    pull = np.eye(4)
    pull[:3] += generator.normal(scale=0.05, size=(3, 4))
    points = voxel_to_ras(np.moveaxis(np.indices(FIXED.shape), 0, -1), FIXED.affine)
    return image, field, pull, ras_to_voxel(transform_points(points + field.array, pull), MOVING_AFFINE)


def test_linear_is_map_coordinates(case):
    image, field, pull, index = case
    expected = ndimage.map_coordinates(image.array, np.moveaxis(index, -1, 0), order=1, mode="nearest")
    inside = ((index >= -0.5) & (index < np.array(image.shape) - 0.5)).all(axis=-1)
    assert 0.3 < inside.mean() < 1
    result = resample(image, FIXED, displacement=field, affine_ras=pull, outside=-7.0).array
    np.testing.assert_allclose(result, np.where(inside, expected, -7), atol=1e-4)


def test_labels_are_a_plain_loop(case):
    image, field, pull, index = case
    labels = np.random.default_rng(1).integers(0, 2**62, image.shape)
    result = resample(image.with_array(labels), FIXED, displacement=field, affine_ras=pull, labels=True).array
    for voxel in np.ndindex(FIXED.shape):
        nearest = tuple(int(np.floor(value + 0.5)) for value in index[voxel])
        inside = all(0 <= at < size for at, size in zip(nearest, labels.shape, strict=True))
        assert result[voxel] == (labels[nearest] if inside else 0)
