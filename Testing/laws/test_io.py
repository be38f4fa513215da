"""What is written is what is read, for every format and every orientation."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.geometry import Field, Volume
from SPRCore.io import (
    read_affine_tfm,
    read_displacement,
    read_labels,
    read_landmarks,
    read_volume,
    write_affine_tfm,
    write_displacement,
    write_landmarks,
    write_volume,
)

FORMATS = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def largest_corner_shift_mm(a, b):
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(a.shape) - 1)
    difference = a.affine - b.affine
    return np.abs(corners @ difference[:3, :3].T + difference[:3, 3]).max()


@pytest.mark.parametrize("suffix", FORMATS)
@given(data=st.data(), seed=SEEDS)
def test_image(folder, affines, shapes, suffix, data, seed):
    image = np.random.default_rng(seed).normal(size=data.draw(shapes)).astype(np.float32)
    volume = Volume(image, data.draw(affines))
    write_volume(volume, folder / f"image{suffix}")
    again = read_volume(folder / f"image{suffix}")
    np.testing.assert_array_equal(again.array, image)
    assert again.array.flags.c_contiguous
    assert largest_corner_shift_mm(volume.grid, again.grid) < 1e-3


@pytest.mark.parametrize("suffix", FORMATS)
@given(data=st.data(), dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"]), seed=SEEDS)
def test_labels(folder, affines, shapes, suffix, data, dtype, seed):
    limits, shape = np.iinfo(dtype), data.draw(shapes)
    labels = np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    write_volume(Volume(labels, data.draw(affines)), folder / f"labels{suffix}")
    again = read_labels(folder / f"labels{suffix}").array
    np.testing.assert_array_equal(again, labels)
    assert again.dtype == labels.dtype


@pytest.mark.parametrize("suffix", FORMATS)
@given(data=st.data(), seed=SEEDS)
def test_displacement(folder, affines, shapes, suffix, data, seed):
    values = np.random.default_rng(seed).normal(scale=10, size=(*data.draw(shapes), 3)).astype(np.float32)
    field = Field(values, data.draw(affines))
    write_displacement(field, folder / f"displacement{suffix}")
    again = read_displacement(folder / f"displacement{suffix}")
    np.testing.assert_array_equal(again.array, field.array)
    assert largest_corner_shift_mm(field.grid, again.grid) < 1e-3


@pytest.mark.parametrize("name", ["points.mrk.json", "points.fcsv", "points.txt", "points.csv"])
@given(seed=SEEDS, count=st.integers(1, 20))
def test_landmarks(folder, name, seed, count):
    points = np.random.default_rng(seed).normal(scale=100, size=(count, 3))
    write_landmarks(points, folder / name)
    np.testing.assert_array_equal(read_landmarks(folder / name), points)


@given(data=st.data())
def test_affine(folder, affines, data):
    matrix = data.draw(affines)
    write_affine_tfm(matrix, folder / "affine.tfm")
    np.testing.assert_allclose(read_affine_tfm(folder / "affine.tfm"), matrix, atol=1e-9)
