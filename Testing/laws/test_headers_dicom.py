"""Any DICOM folder or enhanced file: voxels lie where positions say, values are scaled slice by slice."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SPRCore.errors import InputError
from SPRCore.geometry import Volume, affine_from_itk, is_sheared, orthogonal, voxel_to_ras
from SPRCore.io import count_frames, read_volume

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inputs"))
pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")

from dicom_files import enhanced, save, write_slices  # noqa: E402

SERIES = st.fixed_dictionaries(
    {
        "shape": st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(2, 6)),
        "spacing": st.tuples(st.floats(0.4, 3), st.floats(0.4, 3), st.floats(0.5, 6)),
        "dtype": st.sampled_from(["u1", "u2", "i2"]),
        "scaling": st.sampled_from(["none", "ct", "one", "each"]),
        "tilt": st.sampled_from([0, 0, 18, -25]),
        "frames": st.sampled_from([1, 1, 2, 3]),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def cases(drawn):
    """Stored planes (frame, slice, rows, columns), positions, axes and scaling of what is drawn."""
    random = np.random.default_rng(drawn["seed"])
    turn = Rotation.random(random_state=int(random.integers(2**31))).as_matrix()
    rows, columns, depth = drawn["shape"]
    limits = np.iinfo(drawn["dtype"])
    shape = (drawn["frames"], depth, rows, columns)
    planes = random.integers(limits.min, limits.max, shape, drawn["dtype"], endpoint=True)
    along = turn[:, 2] + np.tan(np.radians(drawn["tilt"])) * turn[:, 1]
    start = random.uniform(-200, 200, 3)
    positions = start + np.arange(depth)[:, None] * drawn["spacing"][2] * along
    scaling = {
        "none": np.tile([1.0, 0.0], (depth, 1)),
        "ct": np.tile([1.0, -1024.0], (depth, 1)),
        "one": np.tile([0.25, 3.5], (depth, 1)),
        "each": np.stack([random.uniform(1e-4, 2, depth), random.uniform(-5, 5, depth)], axis=1),
    }[drawn["scaling"]]
    return planes, positions, turn[:, :2].T.ravel(), np.round(scaling, 8), random


def expected_of(drawn, planes, positions, axes, scaling):
    values = planes.astype(np.float64) * scaling[:, 0, None, None] + scaling[:, 1, None, None]
    step = positions[1] - positions[0]
    down, across = drawn["spacing"][:2]
    length = np.linalg.norm(step)
    direction = np.stack([axes[:3], axes[3:], step / length], axis=1)
    affine = affine_from_itk((across, down, length), positions[0], direction.ravel())
    return Volume(values.transpose(2, 1, 0), affine)


def check(path, drawn, planes, positions, axes, scaling):
    frames = drawn["frames"]
    assert count_frames(path) == frames
    frame = frames - 1
    ours = read_volume(f"{path}#{frame}" if frames > 1 else path)
    true = expected_of(drawn, planes[frame], positions, axes, scaling)
    if is_sheared(true.affine) and not is_sheared(ours.affine):
        drift = np.tan(np.radians(abs(drawn["tilt"]))) * drawn["spacing"][2] * (len(positions) - 1)
        if drift > 0.1 * min(drawn["spacing"][:2]):
            true = orthogonal(true.with_array(true.array.astype(np.float32)))
    assert ours.shape == true.shape
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(ours.shape) - 1)
    np.testing.assert_allclose(voxel_to_ras(corners, ours.affine), voxel_to_ras(corners, true.affine), atol=1e-5)
    np.testing.assert_allclose(ours.array, true.array, rtol=1e-5, atol=1e-3 * max(1, np.abs(true.array).max() / 1e3))
    if drawn["scaling"] in ("none", "ct") and not drawn["tilt"]:
        assert ours.array.dtype.kind in "iu"


@settings(max_examples=60)
@given(drawn=SERIES)
def test_a_folder_of_slices(drawn):
    planes, positions, axes, scaling, random = cases(drawn)
    depth, frames = len(positions), drawn["frames"]
    order = random.permutation(depth * frames)
    slopes = (
        {}
        if drawn["scaling"] == "none"
        else {
            "RescaleSlope": [f"{scaling[k % depth, 0]:.8g}" for k in order],
            "RescaleIntercept": [f"{scaling[k % depth, 1]:.8g}" for k in order],
        }
    )
    with tempfile.TemporaryDirectory() as name:
        write_slices(
            Path(name) / "series",
            planes.reshape(-1, *planes.shape[2:])[order],
            positions[order % depth],
            axes=axes,
            spacing=drawn["spacing"][:2],
            TemporalPositionIdentifier=[int(k // depth) + 1 for k in order],
            InstanceNumber=[int(k) + 1 for k in order],
            **slopes,
        )
        check(Path(name) / "series", drawn, planes, positions, axes, scaling)


@settings(max_examples=40)
@given(drawn=SERIES)
def test_an_enhanced_file_with_shuffled_frames(drawn):
    planes, positions, axes, scaling, random = cases(drawn)
    depth, frames = len(positions), drawn["frames"]
    order = random.permutation(depth * frames)
    with tempfile.TemporaryDirectory() as name:
        image = enhanced(
            planes.reshape(-1, *planes.shape[2:])[order],
            positions[order % depth],
            axes=axes,
            spacing=drawn["spacing"][:2],
            scaling=None if drawn["scaling"] == "none" else scaling[order % depth],
            index=order // depth + 1,
        )
        check(save(image, Path(name) / "image.dcm"), drawn, planes, positions, axes, scaling)


@settings(max_examples=25)
@given(drawn=SERIES)
def test_an_upright_series_lies_where_itk_puts_it(drawn):
    drawn = {**drawn, "tilt": 0, "frames": 1, "scaling": "ct"}
    planes, positions, axes, _, random = cases(drawn)
    order = random.permutation(len(positions))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "series"
        write_slices(
            *(folder, planes[0][order], positions[order]),
            axes=axes,
            spacing=drawn["spacing"][:2],
            RescaleSlope="1",
            RescaleIntercept="-1024",
        )
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
        theirs, ours = reader.Execute(), read_volume(folder)
    affine = affine_from_itk(theirs.GetSpacing(), theirs.GetOrigin(), theirs.GetDirection())
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(ours.shape) - 1)
    np.testing.assert_allclose(voxel_to_ras(corners, ours.affine), voxel_to_ras(corners, affine), atol=1e-5)
    np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs).T)


@settings(max_examples=30)
@given(drawn=SERIES, fault=st.sampled_from(["doubled", "missing", "moved"]))
def test_slices_that_make_no_volume_are_refused(drawn, fault):
    drawn = {**drawn, "shape": (*drawn["shape"][:2], 6), "frames": 1, "scaling": "none"}
    planes, positions, axes, _, random = cases(drawn)
    which = int(random.integers(1, 5))
    keep = [k for k in range(6) if fault != "missing" or k != which] + ([which] if fault == "doubled" else [])
    if fault == "moved":
        positions[which] += 3 * max(drawn["spacing"]) * axes[:3]
    with tempfile.TemporaryDirectory() as name:
        write_slices(
            *(Path(name) / "series", planes[0][keep], positions[keep]), axes=axes, spacing=drawn["spacing"][:2]
        )
        with pytest.raises(InputError, match=r"uneven distances|straight line") as caught:
            read_volume(Path(name) / "series")
    assert "\n" not in str(caught.value)
