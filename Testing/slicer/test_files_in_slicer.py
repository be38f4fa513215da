"""3D Slicer's own libraries read the files that SPRCore writes, and see in them what SPRCore meant."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from SPRCore.geometry import Field, Volume, ras_to_voxel, transform_points, voxel_to_ras
from SPRCore.io import write_affine_tfm, write_displacement, write_landmarks, write_volume

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

SHAPE = (8, 9, 10)
FIELD_FILES = ["displacement.nii.gz", "displacement.nii", "displacement.nrrd", "displacement.mha"]
VOLUME_FILES = ["image.nii.gz", "image.nrrd", "image.mha"]
MARKUP_FILES = ["points.mrk.json", "points.fcsv"]


def displacement_mm(points):
    """A displacement of second degree, of up to some 10 mm.

    Slicer interpolates fields that it has loaded by cubic convolution, which is exact for the second degree, so that
    its answer between the voxels can be told in advance.
    """
    x, y, z = np.moveaxis(points, -1, 0) / 20
    return np.stack([2 + x * y, z * z - 3 * x, 1 - y + x * z], axis=-1)


@pytest.fixture(scope="module", params=[False, True], ids=["right-handed", "left-handed"])
def case(request, tmp_path_factory):
    """What was written, on an oblique and anisotropic grid, and what Slicer read."""
    folder, generator = tmp_path_factory.mktemp("slicer"), np.random.default_rng(5)
    directions, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    directions[:, 0] *= np.sign(np.linalg.det(directions)) * (-1 if request.param else 1)
    affine, pull = np.eye(4), np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * [1.0, 2.0, 3.5], [10, -20, 30]
    pull[:3] += generator.normal(scale=0.1, size=(3, 4))
    everywhere = voxel_to_ras(np.moveaxis(np.indices(SHAPE), 0, -1), affine)
    field = Field(displacement_mm(everywhere), affine)
    image = Volume(generator.normal(size=SHAPE).astype(np.float32), affine)
    points = voxel_to_ras(generator.uniform(1, np.array(SHAPE) - 2, (40, 3)), affine)
    for name in FIELD_FILES:
        write_displacement(field, folder / name)
    for name in VOLUME_FILES:
        write_volume(image, folder / name)
    for name in MARKUP_FILES:
        write_landmarks(points, folder / name)
    write_affine_tfm(pull, folder / "affine.tfm")
    asked = {
        "points": points.tolist(),
        "transforms": [str(folder / name) for name in [*FIELD_FILES, "affine.tfm"]],
        "markups": [str(folder / name) for name in MARKUP_FILES],
        "volumes": [str(folder / name) for name in VOLUME_FILES],
    }
    return image, pull, points, ask_slicer(asked)


def ask_slicer(asked):
    command = [sys.executable, Path(__file__).with_name("read_results.py"), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    return {Path(path).name: seen for kind in answer.values() for path, seen in kind.items()}


@pytest.mark.parametrize("name", FIELD_FILES)
def test_a_displacement_moves_points_as_it_should(case, name):
    _, _, points, seen = case
    kind, moved = seen[name]
    assert kind == "vtkMRMLGridTransformNode"
    np.testing.assert_allclose(moved, points + displacement_mm(points), atol=1e-3)


def test_an_affine_moves_points_as_it_should(case):
    _, pull, points, seen = case
    kind, moved = seen["affine.tfm"]
    assert kind == "vtkMRMLLinearTransformNode"
    np.testing.assert_allclose(moved, transform_points(points, pull), atol=1e-6)


@pytest.mark.parametrize("name", VOLUME_FILES)
def test_a_volume_lies_where_it_should(case, name):
    image, *_, seen = case
    voxels = [(0, 0, 0), (1, 2, 3), (7, 8, 9)]
    affine, values = seen[name]
    # Slicer turns left-handed volumes into right-handed ones: another order of voxels, at the same places.
    there = ras_to_voxel(voxel_to_ras(np.array(voxels), image.affine), np.array(affine))
    np.testing.assert_allclose(there, np.rint(there), atol=1e-3)
    seen_values = [np.array(values)[tuple(voxel)] for voxel in np.rint(there).astype(int)]
    np.testing.assert_array_equal(seen_values, [image.array[voxel] for voxel in voxels])


@pytest.mark.parametrize("name", MARKUP_FILES)
def test_landmarks_lie_where_they_should(case, name):
    *_, points, seen = case
    np.testing.assert_allclose(seen[name], points, atol=1e-6)
