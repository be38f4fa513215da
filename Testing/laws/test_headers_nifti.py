"""Any header of a NIfTI file: voxels lie where ITK puts them and hold what ITK reads, or one line refuses the file."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SPRCore.errors import InputError
from SPRCore.geometry import Volume, affine_from_itk, orthogonal
from SPRCore.io import count_frames, read_volume

nibabel = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")

UNIT_MM = {1: 1e3, 3: 1e-3}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    yield
    sitk.ProcessObject.SetGlobalWarningDisplay(before)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def mostly(usual, *others):
    return st.one_of(st.just(usual), st.just(usual), st.sampled_from(others))


HEADERS = st.fixed_dictionaries(
    {
        "shape": st.tuples(*(st.integers(2, 5) for _ in range(3))),
        "frames": mostly(1, 2, 3),
        "dtype": st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8", "u8"]),
        "order": st.sampled_from("<>"),
        "codes": st.tuples(st.sampled_from([0, 1, 2, 4, 9, -1]), st.sampled_from([0, 1, 2, 9, -1])),
        "form": st.sampled_from(["same", "same", "own", "turned", "mirrored", "sheared", "zero", "scaled"]),
        "spacing": st.tuples(*(st.sampled_from([0.3, 1.0, 1.0, 2.5, 4.2]) for _ in range(3))),
        "signs": mostly((1, 1, 1), (-1, 1, 1), (1, -1, -1)),
        "qfac": st.sampled_from([1, 1, -1, 0]),
        "units": mostly(2, 0, 1, 3, 4, 10, 11),
        "slope": mostly((1.0, 0.0), (0.0, 0.0), (0.0, 5.0), (0.5, -3.0), (-2.0, 1.0), (np.nan, 5.0), (2.0, np.nan)),
        "rounding": mostly(1.0, 1 + 2e-6, 1 - 2e-6),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def header_of(drawn, magic=b"n+1"):
    """The 348 bytes that a case asks for, and its random numbers."""
    random = np.random.default_rng(drawn["seed"])
    header = np.zeros((), nibabel.Nifti1Header.template_dtype.newbyteorder(drawn["order"]))
    header["sizeof_hdr"], header["magic"] = 348, magic
    header["vox_offset"] = 352 if magic == b"n+1" else 0
    header["dim"] = 4 if drawn["frames"] > 1 else 3, *drawn["shape"], drawn["frames"], 1, 1, 1
    blank = nibabel.Nifti1Header()
    blank.set_data_dtype(np.dtype(drawn["dtype"]))
    header["datatype"], header["bitpix"] = int(blank["datatype"]), int(blank["bitpix"])
    header["pixdim"] = drawn["qfac"], *(np.array(drawn["spacing"]) * drawn["signs"]), 1, 1, 1, 1
    header["xyzt_units"] = drawn["units"]
    header["scl_slope"], header["scl_inter"] = drawn["slope"]
    header["sform_code"], header["qform_code"] = drawn["codes"]
    turn = Rotation.random(random_state=int(random.integers(2**31)))
    b, c, d, a = turn.as_quat() * drawn["rounding"]
    sign = 1 if a >= 0 else -1
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = sign * b, sign * c, sign * d
    origin = random.uniform(-200, 200, 3)
    header["qoffset_x"], header["qoffset_y"], header["qoffset_z"] = origin
    axes = turn.as_matrix() * drawn["spacing"] * [1, 1, -1 if drawn["qfac"] < 0 else 1]
    if drawn["form"] in ("own", "sheared", "zero"):
        origin = random.uniform(-200, 200, 3)
        axes = Rotation.random(random_state=int(random.integers(2**31))).as_matrix() * drawn["spacing"]
    axes = {"turned": axes[:, ::-1], "mirrored": axes * [-1, 1, 1], "zero": axes * 0, "scaled": axes * 1.5}.get(
        drawn["form"], axes
    )
    if drawn["form"] == "sheared":
        axes = axes @ np.array([[1, 0.3, 0.1], [0, 1, -0.2], [0, 0, 1]])
    for k, name in enumerate(("srow_x", "srow_y", "srow_z")):
        header[name] = *axes[k], origin[k]
    return header, random


def values_of(drawn, random):
    shape = (*drawn["shape"], drawn["frames"])
    if drawn["dtype"][0] == "f":
        return random.normal(scale=100, size=shape).astype(drawn["order"] + drawn["dtype"])
    limits = np.iinfo(drawn["dtype"])
    return random.integers(limits.min, limits.max, shape, drawn["dtype"]).astype(drawn["order"] + drawn["dtype"])


def by_itk(path, frame):
    """Values and affine to RAS as SimpleITK reads them, None if it refuses the file."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        return None
    image = image[:, :, :, frame] if image.GetDimension() == 4 else image
    values = sitk.GetArrayFromImage(image).T
    return values, affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def check(path, drawn, header, stored):
    frame = drawn["frames"] - 1
    assert count_frames(path) == drawn["frames"]
    theirs = by_itk(path, frame)
    unit = UNIT_MM.get(drawn["units"] & 7, 1.0)
    name = f"{path}#{frame}" if drawn["frames"] > 1 else path
    if theirs is None and drawn["form"] == "zero":
        with pytest.raises(InputError, match="spacing above 0") as caught:
            read_volume(name)
        assert "\n" not in str(caught.value)
        event("refused by both")
        return
    ours = read_volume(name)
    if theirs is None:  # ITK refuses shear and a missing qform; the sform says where the voxels lie
        event("sheared")
        sform = np.vstack([*(header[row] for row in ("srow_x", "srow_y", "srow_z")), [0, 0, 0, 1]]).astype(float)
        slope, intercept = (1.0, 0.0) if np.isnan(drawn["slope"][0]) else np.nan_to_num(drawn["slope"])
        image = (stored[..., frame] * (slope or 1.0) + intercept).astype(np.float32)
        expected = orthogonal(Volume(image, np.diag([unit, unit, unit, 1.0]) @ sform))
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours.affine, expected.affine, atol=1e-5 * max(unit, 1))
        np.testing.assert_allclose(ours.array, expected.array, rtol=1e-4, atol=1e-3 * np.abs(image).max())
        return
    values, affine = theirs
    event("as ITK")
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(ours.shape) - 1)
    apart = corners @ (ours.affine - affine)[:3, :3].T + (ours.affine - affine)[:3, 3]
    rounding = 5e-4 if drawn["form"] == "same" else 2e-5  # float32, and two forms that differ by it
    assert np.abs(apart).max() <= rounding * max(unit, 1.0)
    if np.isnan(drawn["slope"][0]):
        values = stored[..., frame]  # the standard: no scale; ITK computes with it
    np.testing.assert_allclose(ours.array, values.astype(ours.array.dtype), rtol=1e-5, atol=1e-5)


@settings(max_examples=150)
@given(drawn=HEADERS, packed=st.booleans())
def test_a_single_file(folder, drawn, packed):
    header, random = header_of(drawn)
    stored = values_of(drawn, random)
    content = header.tobytes() + bytes(4) + stored.tobytes(order="F")
    path = folder / ("packed.nii.gz" if packed else "plain.nii")  # of two files x.nii and x.nii.gz ITK mixes the halves
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    check(path, drawn, header, stored)


@settings(max_examples=60)
@given(drawn=HEADERS, suffix=st.sampled_from([".hdr", ".img"]), packed=st.booleans())
def test_a_pair_of_files_lies_where_a_single_one_does(folder, drawn, suffix, packed):
    header, random = header_of(drawn, b"ni1")
    end = ".gz" if packed else ""
    stored = values_of(drawn, random)
    for part, content in ((".hdr", header.tobytes()), (".img", stored.tobytes(order="F"))):
        (folder / f"pair{end[1:]}{part}{end}").write_bytes(gzip.compress(content, 1) if packed else content)
    path = folder / f"pair{end[1:]}{suffix}{end}"
    check(path, drawn, header, stored)


@settings(max_examples=30)
@given(drawn=HEADERS.filter(lambda drawn: drawn["dtype"] in ("u1", "i2", "i4", "f4", "f8")))
def test_analyze_has_neither_form(folder, drawn):
    """The same bytes without NIfTI's mark: neither orientation nor scale nor unit counts."""
    drawn = {**drawn, "units": 0, "slope": (0.0, 0.0)}
    header, random = header_of(drawn, b"\0")
    for name in ("srow_x", "srow_y", "srow_z", "qoffset_x", "qoffset_y", "qoffset_z"):
        header[name] = 0
    for name in ("sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d"):
        header[name] = 0
    (folder / "old.hdr").write_bytes(header.tobytes())
    stored = values_of(drawn, random)
    (folder / "old.img").write_bytes(stored.tobytes(order="F"))
    check(folder / "old.img", drawn, header, stored)


def apart_by_rounding(drawn, header):
    """How far the maps of one turn may be apart, in mm, as ITK may choose either form of the first version.

    A quaternion holds a² as 1 - b² - c² - d²: where a is near 0, the root makes much of a small error.
    """
    square = 1 - sum(float(header[name]) ** 2 for name in ("quatern_b", "quatern_c", "quatern_d"))
    error = 4 * abs(drawn["rounding"] - 1) + 4 * float(np.finfo(np.float32).eps) + 1e-7  # below 1e-7 a is read as 0
    of_a = min(error / np.sqrt(max(square, error)), np.sqrt(error))
    return (1e-4 + 2 * of_a * max(drawn["spacing"])) * max(UNIT_MM.get(drawn["units"] & 7, 1.0), 1.0)


@settings(max_examples=40)
@given(drawn=HEADERS.filter(lambda drawn: drawn["form"] not in ("turned", "mirrored")))
def test_nifti_2_lies_where_nifti_1_does(folder, drawn):
    """ITK does not read the second version, so the first is the measure."""
    header, random = header_of(drawn)
    content = values_of(drawn, random).tobytes(order="F")
    (folder / "first.nii").write_bytes(header.tobytes() + bytes(4) + content)
    second = np.zeros((), nibabel.Nifti2Header.template_dtype.newbyteorder(drawn["order"]))
    for name in set(header.dtype.names) & set(second.dtype.names) - {"magic", "sizeof_hdr", "vox_offset"}:
        second[name] = header[name]
    second["sizeof_hdr"], second["magic"], second["eol_check"] = 540, b"n+2", (13, 10, 26, 10)
    second["vox_offset"] = 544
    (folder / "second.nii").write_bytes(second.tobytes() + bytes(4) + content)
    frame = f"#{drawn['frames'] - 1}" if drawn["frames"] > 1 else ""
    found = []
    for name in ("first.nii", "second.nii"):
        try:
            found.append(read_volume(f"{folder / name}{frame}"))
        except InputError as error:
            found.append(str(error).partition(".nii")[2])
    if isinstance(found[0], str):
        assert found[0] == found[1]
        return
    np.testing.assert_allclose(found[0].affine, found[1].affine, rtol=1e-6, atol=apart_by_rounding(drawn, header))
    np.testing.assert_array_equal(found[0].array, found[1].array)


@given(seed=st.integers(0, 2**32 - 1), suffix=st.sampled_from([".mgz", ".mgh"]))
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nibabel leaves the file open
def test_freesurfer_files_lie_where_nibabel_puts_them(folder, seed, suffix):
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=int(random.integers(2**31))).as_matrix() * random.uniform(0.5, 3, 3)
    affine[:3, 3] = random.uniform(-200, 200, 3)
    image = nibabel.MGHImage(random.normal(size=(3, 4, 5)).astype(np.float32), affine)
    nibabel.save(image, folder / f"image{suffix}")
    ours = read_volume(folder / f"image{suffix}")
    np.testing.assert_allclose(ours.affine, nibabel.load(folder / f"image{suffix}").affine, atol=1e-6)
    np.testing.assert_array_equal(ours.array, image.get_fdata().astype(np.float32))
