"""Resampling: known values, types, borders, memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from SPRCore.geometry import Field, Grid, Volume, resample, resample_displacement

SHAPE = (6, 7, 8)


def ramp(affine=None):
    """An image whose intensity is the voxel index, weighted so that every voxel and direction differs."""
    return Volume(np.tensordot([1.0, 10.0, 100.0], np.indices(SHAPE), 1), np.eye(4) if affine is None else affine)


def constant_field(u, affine):
    return Field(np.broadcast_to(np.asarray(u, float), (*SHAPE, 3)), affine)


def test_a_constant_displacement_of_one_voxel_shifts_the_image():
    affine = np.array([[0, -2, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    image = ramp(affine)
    result = resample(image, image.grid, displacement=constant_field(affine[:3, 1], affine), outside=-1.0)
    np.testing.assert_allclose(result.array[:, :-1], image.array[:, 1:], atol=1e-3)
    assert (result.array[:, -1] == -1).all()
    assert result.grid.matches(image.grid)


def test_half_a_voxel_is_the_mean_of_two():
    image = ramp()
    result = resample(image, image.grid, displacement=constant_field([0.5, 0, 0], np.eye(4)), outside=-1.0)
    np.testing.assert_allclose(result.array[:-1], (image.array[:-1] + image.array[1:]) / 2, atol=1e-3)


@pytest.mark.parametrize(("labels", "expected"), [(False, 5), (True, 0)])
def test_outside_is_the_minimum_of_an_image_and_no_label(labels, expected):
    image = Volume(np.random.default_rng(0).integers(5, 9, SHAPE), np.eye(4))
    image.array[0, 0, 0] = 5
    result = resample(image, image.grid, displacement=constant_field([100, 0, 0], np.eye(4)), labels=labels)
    assert (result.array == expected).all()


@pytest.mark.parametrize("base", [2**24, 2**31 - 60, 2**53, 2**63 - 60])
def test_labels_are_exact_whatever_their_size(base):
    """float32 ends at 2**24, float64 at 2**53."""
    labels = Volume(base + np.arange(48, dtype=np.uint64).reshape(4, 4, 3), np.eye(4))
    moved = resample(labels, labels.grid, displacement=Field(np.full((4, 4, 3, 3), [1, 0, 0]), np.eye(4)), labels=True)
    np.testing.assert_array_equal(moved.array[:-1], labels.array[1:])
    assert moved.array.dtype == np.uint64


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "u2", "u4", "i8", "f4", "f8"])
def test_types(dtype):
    volume = Volume(np.eye(4)[None].repeat(4, 0).astype(dtype), np.eye(4))
    assert resample(volume, volume.grid, labels=True).array.dtype == np.dtype(dtype)
    assert resample(volume, volume.grid).array.dtype == np.float32


def test_a_single_slice_can_be_pulled_onto_a_volume():
    image = Volume(np.full((4, 4, 1), 3.0), np.eye(4))
    result = resample(image, Grid((4, 4, 3), np.array(np.diag([1, 1, 0.4, 1]))), outside=-1.0)
    assert (result.array[:, :, :2] == 3).all(), "0 and 0.4 mm lie in the slice"
    assert (result.array[:, :, 2] == -1).all(), "0.8 mm lies beyond it"


def test_a_constant_displacement_stays_constant_inside_and_is_zero_outside():
    field = constant_field([1, -2, 3], np.diag([2, 2, 2, 1]))
    result = resample_displacement(field, Grid((20, 6, 7), np.eye(4)))
    np.testing.assert_allclose(result.array[:11], np.broadcast_to([1, -2, 3], (11, 6, 7, 3)), atol=1e-6)
    assert not result.array[11:].any(), "the last voxel ends at 11 mm"


@pytest.mark.parametrize("labels", [False, True])
def test_slabs_do_not_show(labels):
    """An image of several slabs is resampled as each of its parts alone, which are smaller than a slab."""
    shape, part = (72, 64, 64), 9
    generator = np.random.default_rng(0)
    image = Volume(generator.normal(size=shape), np.eye(4))
    field = Field(generator.normal(size=(*shape, 3)), np.eye(4))
    whole = resample(image, image.grid, displacement=field, labels=labels).array
    for start in range(0, shape[0], part):
        affine = np.eye(4)
        affine[0, 3] = start
        grid = Grid((part, *shape[1:]), affine)
        alone = resample(image, grid, displacement=Field(field.array[start : start + part], affine), labels=labels)
        np.testing.assert_allclose(whole[start : start + part], alone.array, atol=1e-5)


MEASURE = """
import resource, numpy as np
from SPRCore.geometry import Field, Volume, resample
from SPRCore.functional import sample
image = Volume(np.random.default_rng(0).random((160, 192, 224), np.float32), np.eye(4))
field = Field(np.ones((160, 192, 224, 3), np.float32), np.eye(4))
resample(Volume(np.ones((8, 8, 8)), np.eye(4)), Volume(np.ones((8, 8, 8)), np.eye(4)).grid)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resample(image, image.grid, displacement=field)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_a_brain_needs_little_more_memory_than_its_result(repository):
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, cwd=repository)
    assert float(done.stdout) < 250, "MB; the result and the image in float32 are 53 of them"
