"""Real DICOM folders, with what other programs made of them: the files of `dicom2nifti` and of a tilted scanner."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import is_sheared, voxel_to_ras
from SPRCore.io import count_frames, read_volume

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("pydicom")
pytestmark = pytest.mark.shared_data

TRUE = (
    "failing/slicecount",
    "ge/fmri",
    "generic/compressed",
    "generic/compressed_j2k",
    "generic/compressed_jpeg",
    "generic/compressed_jpegls",
    "generic/compressed_rle",
    "hitachi/anatomical",
    "hyperfine/anatomical",
    "philips_enhanced/fmri",
)


@pytest.fixture(scope="module")
def zoo(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(shared_data / "dicom_reader_zoo" / "dicom2nifti_tests.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "tests" / "data"


def corners(grid_shape, affine):
    index = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(grid_shape) - 1)
    return voxel_to_ras(index, affine)


@pytest.mark.parametrize("name", TRUE)
def test_a_series_is_what_another_program_made_of_it(zoo, name):
    path = zoo / name / "001"
    true = nibabel.load(f"{path}_ground_truth.nii.gz")
    values = np.asarray(true.dataobj)
    frames = values.shape[3] if values.ndim == 4 else 1
    assert count_frames(path) == frames
    for frame in range(frames):
        volume = read_volume(f"{path}#{frame}" if frames > 1 else path)
        expected = values[..., frame] if frames > 1 else values
        ours, theirs = corners(volume.shape, volume.affine), corners(expected.shape, true.affine)
        apart = np.linalg.norm(ours[:, None] - theirs[None], axis=-1)
        assert apart.min(axis=0).max() < 1e-3, "the same corners, though axes may be reversed"
        assert volume.array.sum(dtype=np.float64) == pytest.approx(expected.sum(dtype=np.float64), rel=1e-6)
        np.testing.assert_allclose(np.sort(volume.array, axis=None), np.sort(expected, axis=None), rtol=1e-4, atol=0.01)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("failing/sliceincrement", "1 missing"),
        ("failing/sliceorientation", "2 x sagittal, 2 x axial"),
        ("generic/rgb", "colors"),
    ],
)
def test_what_makes_no_volume_is_refused(zoo, name, said):
    with pytest.raises(InputError, match=said):
        read_volume(zoo / name / "001")


def test_frames_of_an_enhanced_file_are_scaled_each(zoo):
    volume = read_volume(zoo / "philips_enhanced" / "anatomical" / "001")
    assert volume.array.dtype == np.float32
    assert volume.shape == (256, 256, 8)
    np.testing.assert_allclose(volume.spacing, (1, 1, 1.2), atol=1e-4)


def test_a_tilted_gantry_becomes_upright(zoo, caplog):
    volume = read_volume(zoo / "failing" / "gantrytilting" / "001")
    assert not is_sheared(volume.affine)
    assert "not at right angles" in caplog.text
    assert volume.shape[1] > 512


def test_a_tilted_gantry_with_uneven_slices_becomes_upright_and_even(shared_data, tmp_path, caplog):
    with tarfile.open(shared_data / "ct_gantry_tilt_dicom" / "GE_head_tilt18.5_28slices.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    volume = read_volume(tmp_path / "GE")
    assert not is_sheared(volume.affine)
    assert "28 slices at uneven distances" in caplog.text
    assert "not at right angles" in caplog.text
    assert volume.array.min() == -1500


def test_time_points_of_one_series(shared_data, tmp_path):
    with tarfile.open(shared_data / "abdomen_dce_4d" / "dicom_4times_30slices.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    series = nibabel.load(shared_data / "abdomen_dce_4d" / "dce_4d.nii.gz")
    assert count_frames(tmp_path / "dicom") == 4
    volume = read_volume(f"{tmp_path / 'dicom'}#1")
    assert volume.shape == (115, 142, 30)
    ours, theirs = corners(volume.shape, volume.affine), corners(series.shape[:3], series.affine)
    assert np.linalg.norm(ours[:, None] - theirs[None], axis=-1).min(axis=0).max() < 0.05
