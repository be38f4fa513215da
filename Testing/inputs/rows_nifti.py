"""NIfTI, Analyze and FreeSurfer files: geometry, values, damage."""

from __future__ import annotations

import gzip
import logging
from functools import partial
from pathlib import Path

import numpy as np
from nifti_files import IMAGE, SFORM, SHEARED, write
from table import Row, refused, warned

from SPRCore.geometry import Volume, affine_from_itk, is_sheared, orthogonal
from SPRCore.io import count_frames, read_labels, read_volume, write_volume

GEOMETRY, VALUES, DAMAGE, FRAMES = "NIfTI: geometry", "NIfTI: values", "NIfTI: damage", "NIfTI: frames"
WITH_NAN = np.array([[0, -2.0, 0, 10], [np.nan, 0, 0, 20], [0, 0, 4.0, 30]])
TURNED = (0.0, 0.0, np.sin(np.radians(12.5)))  # 25 degrees about z
NO_FORM = {"sform_code": 0, "qform_code": 0}


def itk_affine(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image = sitk.ReadImage(str(path))
    sitk.ProcessObject.SetGlobalWarningDisplay(before)
    return affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def check_as_itk(folder: Path, *said: str, name="x.nii", **fields) -> None:
    """Read where SimpleITK puts it, with these warnings, and not where a plain sform would."""
    path = write(folder / name, **fields)
    with warned(*said):
        volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, itk_affine(path), atol=1e-5, rtol=1e-6)
    np.testing.assert_array_equal(volume.array, IMAGE)


def as_itk(*said: str, **fields):
    return partial(lambda folder, **given: check_as_itk(folder, *said, **given), **fields)


def check_refused(folder: Path, *said: str, name="x.nii", **fields) -> None:
    path = write(folder / name, **fields)
    refused(lambda: read_volume(path), str(path), *said)


def wrong(*said: str, **fields):
    return partial(lambda folder, **given: check_refused(folder, *said, **given), **fields)


def check_sheared(folder: Path) -> None:
    path = write(folder / "x.nii", sform=SHEARED)
    with warned("not at right angles"):
        volume = read_volume(path)
    assert not is_sheared(volume.affine)
    itk_affine_of_output(volume, folder)
    expected = orthogonal(Volume(IMAGE, np.vstack([SHEARED, [0, 0, 0, 1]])))
    np.testing.assert_allclose(volume.array, expected.array, atol=1e-3)
    assert volume.array.min() == IMAGE.min(), "what lies outside holds the lowest value"


def itk_affine_of_output(volume: Volume, folder: Path) -> None:
    write_volume(volume, folder / "out.nii.gz")
    np.testing.assert_allclose(itk_affine(folder / "out.nii.gz"), volume.affine, atol=1e-4)


def check_sheared_labels(folder: Path) -> None:
    path = write(folder / "x.nii", IMAGE % 3, sform=SHEARED)
    with warned("not at right angles"):
        labels = read_labels(path)
    assert set(np.unique(labels.array)) == {0, 1, 2}
    assert labels.array.dtype == np.int16


def check_refused_sheared_output(folder: Path) -> None:
    volume = Volume(IMAGE, np.vstack([SHEARED, [0, 0, 0, 1]]))
    refused(lambda: write_volume(volume, folder / "x.nii.gz"), "not at right angles", "geometry.orthogonal")
    assert not list(folder.iterdir())


def check_pair(folder: Path) -> None:
    fields = {"sform_code": 2, "qform_code": 1, "quaternion": TURNED}
    single, pair = write(folder / "a.nii", **fields), write(folder / "b.img", **fields)
    with warned("qform is used", "qform is used", "qform is used"):
        first, *others = (read_volume(path) for path in (single, pair, folder / "b.hdr"))
    for other in others:
        np.testing.assert_array_equal(first.affine, other.affine)
        np.testing.assert_array_equal(first.array, other.array)


def check_analyze(folder: Path) -> None:
    path = write(folder / "x.img", magic=b"\0\0\0", **NO_FORM)
    with warned("no orientation"):
        volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, np.diag([-3.0, -2.0, 4.0, 1.0]))
    np.testing.assert_allclose(volume.affine, itk_affine(path), atol=1e-6)


def check_lone_header(folder: Path) -> None:
    path = write(folder / "x.hdr")
    (folder / "x.img").unlink()
    refused(lambda: read_volume(path), str(path), "no x.img beside it", "both files of a pair")


def check_nifti_2(folder: Path) -> None:
    import nibabel

    affine = np.vstack([SFORM, [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti2Image(IMAGE, affine), folder / "x.nii")
    np.testing.assert_allclose(read_volume(folder / "x.nii").affine, affine, atol=1e-6)


def check_freesurfer(name: str, folder: Path) -> None:
    import nibabel

    affine = np.vstack([SFORM, [0, 0, 0, 1]])
    nibabel.save(nibabel.MGHImage(IMAGE.astype(np.int32), affine), folder / name)
    volume = read_volume(folder / name)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(volume.array, IMAGE)


def check_values(expected: np.ndarray, dtype: str, folder: Path, *, name="x.nii", values=IMAGE, **fields) -> None:
    volume = read_volume(write(folder / name, values, **fields))
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
    assert volume.array.dtype == np.dtype(dtype)
    assert volume.array.dtype.isnative


def holds(expected, dtype, **fields):
    return partial(check_values, expected, dtype, **fields)


def check_bytes(name: str, content: bytes, *said: str, folder: Path) -> None:
    path = folder / name
    path.write_bytes(content)
    refused(lambda: read_volume(path), str(path), *said)


def damaged(name: str, content: bytes, *said: str):
    return lambda folder: check_bytes(name, content, *said, folder=folder)


def check_cut(name: str, folder: Path) -> None:
    path = folder / name
    write_volume(Volume(np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(lambda: read_volume(path), str(path), "cannot be read", "copy or export the file again")


def check_silent(folder: Path) -> None:
    """Nibabel writes a line of its own to the standard error, where a program has set up no logging."""
    logger = logging.getLogger("nibabel.global")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    try:
        check_refused(folder, "cannot be read (data code 1536 not supported)", datatype=1536, bitpix=128)
    finally:
        logger.removeHandler(handler)
    assert not lines


def check_gzip_named_nii(folder: Path) -> None:
    path = write(folder / "x.nii", packed=True)
    refused(lambda: read_volume(path), str(path), "gzip data under a name without .gz", "rename it to x.nii.gz")


def check_plain_named_gz(folder: Path) -> None:
    path = write(folder / "x.nii.gz", packed=False)
    np.testing.assert_array_equal(read_volume(path).array, IMAGE)


SERIES = np.stack([IMAGE, IMAGE + 200, IMAGE + 400], axis=-1)


def check_frames_refused(folder: Path) -> None:
    path = write(folder / "x.nii.gz", SERIES)
    said = ("4-D image of shape (4, 5, 6, 3), 3 frames", "from x.nii.gz#0 to x.nii.gz#2")
    refused(lambda: read_volume(path), str(path), *said)
    refused(lambda: read_labels(path), str(path), *said)
    assert count_frames(path) == 3


def check_frame(name: str, folder: Path) -> None:
    path = write(folder / name, SERIES)
    volume = read_volume(f"{path}#2")
    np.testing.assert_array_equal(volume.array, IMAGE + 400)
    np.testing.assert_allclose(volume.affine[:3], SFORM)
    assert read_labels(f"{path}#0").array.dtype == np.int16


def check_frame_scaled(folder: Path) -> None:
    path = write(folder / "x.nii", SERIES, scl_slope=0.5, scl_inter=-3)
    np.testing.assert_allclose(read_volume(f"{path}#1").array, (IMAGE + 200) * 0.5 - 3)


def check_frame_missing(folder: Path) -> None:
    path = write(folder / "x.nii", SERIES)
    refused(lambda: read_volume(f"{path}#3"), str(path), "frame 3", "a frame from 0 to 2")


def check_frame_of_one(folder: Path) -> None:
    path = write(folder / "x.nii")
    np.testing.assert_array_equal(read_volume(f"{path}#0").array, IMAGE)
    refused(lambda: read_volume(f"{path}#1"), "frame 1", "the image is 3-D")


def check_frame_word(folder: Path) -> None:
    path = write(folder / "x.nii", SERIES)
    refused(lambda: read_volume(f"{path}#last"), "x.nii exists", "'last' is no frame", "counted from 0")


def check_name_with_mark(folder: Path) -> None:
    path = write(folder / "scan#3")
    path.rename(folder / "scan#3.nii")
    np.testing.assert_array_equal(read_volume(folder / "scan#3.nii").array, IMAGE)
    series = write(folder / "scan#4.nii", SERIES)
    np.testing.assert_array_equal(read_volume(f"{series}#1").array, IMAGE + 200)


def check_trailing_ones(folder: Path) -> None:
    path = write(folder / "x.nii", IMAGE[..., None, None])
    assert read_volume(path).shape == IMAGE.shape
    assert count_frames(path) == 1


def check_vectors(folder: Path) -> None:
    path = write(folder / "x.nii", np.zeros((4, 5, 6, 1, 3), np.float32), intent_code=1007)
    refused(lambda: read_volume(path), str(path), "5-D", "3-D image with one value per voxel")


def check_cut_frame(folder: Path) -> None:
    path = write(folder / "x.nii", SERIES)
    path.write_bytes(path.read_bytes()[:-10])
    np.testing.assert_array_equal(read_volume(f"{path}#0").array, IMAGE)
    refused(lambda: read_volume(f"{path}#2"), str(path), "cannot be read")


SHEAR_AND_QFORM = {"sform": SHEARED, "sform_code": 1, "qform_code": 1, "quaternion": TURNED}
COLORS = np.zeros(IMAGE.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])

ROWS = [
    Row(GEOMETRY, "lengths in micrometers (`xyzt_units` 3)", "read in mm, as ITK does", as_itk(xyzt_units=3)),
    Row(GEOMETRY, "lengths in meters (`xyzt_units` 1)", "read in mm, as ITK does", as_itk(xyzt_units=1)),
    Row(
        GEOMETRY,
        "lengths in micrometers, placed by the qform",
        "read in mm, offsets too",
        as_itk(xyzt_units=3, sform_code=0, qform_code=1, quaternion=TURNED),
    ),
    Row(GEOMETRY, "lengths in micrometers, times in seconds", "read in mm", as_itk(xyzt_units=3 + 8)),
    Row(GEOMETRY, "no unit, or one that the standard does not know", "taken as mm", as_itk(xyzt_units=4)),
    Row(GEOMETRY, "sform alone", "the sform is used", as_itk()),
    Row(
        GEOMETRY,
        "qform alone",
        "the qform is used",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "neither sform nor qform",
        "first voxel at the origin, axes to the left, posterior and superior, as ITK does; a warning",
        as_itk("no orientation", **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "two different forms, the sform of code 1 (scanner)",
        "the sform is used, as ITK does; a warning",
        as_itk("its sform is used", qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "two different forms, the sform of code 2 (aligned)",
        "the qform is used, as ITK does; a warning",
        as_itk("its qform is used", sform_code=2, qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "two different forms, the sform of code 4 (MNI)",
        "the qform is used, as ITK does; a warning",
        as_itk("its qform is used", sform_code=4, qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "two forms that mirror each other about one origin, the sform of code 2",
        "as the installed ITK decides; a warning",
        as_itk(
            "two different orientations",
            sform=np.array([[-3.0, 0, 0, 1], [0, 2.0, 0, 2], [0, 0, 4.0, 3]]),
            sform_code=2,
            qform_code=1,
        ),
    ),
    Row(
        GEOMETRY,
        "an sform of code 1 filled with zeros, and a qform",
        "the qform is used, as ITK does; a warning",
        as_itk("sform that is zero", sform=SFORM * 0, qform_code=1, quaternion=TURNED),
    ),
    Row(GEOMETRY, "an sform of code 1 filled with zeros, no qform", "refused", wrong("spacing", sform=SFORM * 0)),
    Row(
        GEOMETRY,
        "an sform with NaN, and a qform",
        "the qform is used, as ITK does; a warning",
        as_itk("sform that is not finite", sform=WITH_NAN, qform_code=1, quaternion=TURNED),
    ),
    Row(GEOMETRY, "an sform with NaN, no qform", "refused", wrong("finite numbers", sform=SFORM * np.nan)),
    Row(
        GEOMETRY,
        "a sheared sform, no qform (ITK refuses it)",
        "resampled to axes at right angles that cover it, in a grid that ITK opens; a warning",
        check_sheared,
    ),
    Row(GEOMETRY, "the same, a label map", "nearest voxels, type kept, 0 outside; a warning", check_sheared_labels),
    Row(
        GEOMETRY,
        "a sheared sform and a qform",
        "the qform is used, as ITK and 3D Slicer do; a warning",
        as_itk("sform that is sheared", **SHEAR_AND_QFORM),
    ),
    Row(
        GEOMETRY,
        "axes almost in one plane",
        "refused",
        wrong("right angles", sform=np.array([[3.0, 1.99, 0, 0], [0, 0.05, 0, 0], [0, 0, 4.0, 0]])),
    ),
    Row(
        GEOMETRY,
        "writing a volume on a sheared grid, in Python",
        "refused: ITK and 3D Slicer could not open it; nothing is written",
        check_refused_sheared_output,
    ),
    Row(
        GEOMETRY,
        "a quaternion longer than 1 by rounding (b² + c² + d² = 1.000004)",
        "read, as ITK does (nibabel refuses it)",
        as_itk(sform_code=0, qform_code=1, quaternion=np.array([0.6, 0.8, 0.002])),
    ),
    Row(
        GEOMETRY,
        "a quaternion of length 3",
        "brought to length 1, as ITK does",
        as_itk(sform_code=0, qform_code=1, quaternion=(2, 2, 1)),
    ),
    Row(
        GEOMETRY,
        "a quaternion with NaN",
        "NaN taken as 0, as ITK does",
        as_itk(sform_code=0, qform_code=1, quaternion=(np.nan, 0, 0.3)),
    ),
    Row(
        GEOMETRY,
        "`qfac` -1 (left-handed)",
        "the third axis is turned round",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED, pixdim=(-1, 3, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "`qfac` 0",
        "taken as 1",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED, pixdim=(0, 3, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "negative `pixdim`, qform",
        "the axis is turned round, as ITK does",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED, pixdim=(1, -3, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "negative `pixdim`, sform",
        "the axis is turned round, as ITK does",
        as_itk(pixdim=(1, 3, -2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "negative `pixdim`, neither form",
        "the axis is turned round, as ITK does; a warning",
        as_itk("no orientation", pixdim=(1, -3, 2, 4, 1, 1, 1, 1), **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "spacing 0 in `pixdim`",
        "refused",
        wrong("spacing above 0", pixdim=(1, 0, 2, 4, 1, 1, 1, 1), **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "spacing 0 in `pixdim` beside a whole sform",
        "refused: programs read it differently",
        wrong("spacing above 0", pixdim=(1, 0, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "NaN in `pixdim`",
        "refused",
        wrong("finite spacing", pixdim=(1, np.nan, 2, 4, 1, 1, 1, 1), **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "another spacing in `pixdim` than in the sform",
        "that of `pixdim`, as ITK does; a warning",
        as_itk("pixdim is used", pixdim=(1, 1, 1, 1, 1, 1, 1, 1)),
    ),
    Row(GEOMETRY, "an sform of a code that the standard does not know (9)", "used", as_itk(sform_code=9)),
    Row(
        GEOMETRY,
        "negative form codes",
        "as if there were no form; a warning",
        as_itk("no orientation", sform_code=-1, qform_code=-1),
    ),
    Row(
        GEOMETRY,
        "a left-handed sform",
        "read as it is",
        as_itk(sform=SFORM * [[-1], [1], [1]]),
    ),
    Row(GEOMETRY, "a pair `.hdr` and `.img`, either named", "lies where the `.nii` with that header does", check_pair),
    Row(GEOMETRY, "a packed pair `.hdr.gz` and `.img.gz`", "read", as_itk(name="x.img.gz")),
    Row(GEOMETRY, "Analyze 7.5", "as without a form: ITK's place; a warning", check_analyze),
    Row(GEOMETRY, "a `.hdr` without its `.img`", "refused: names the file that is missing", check_lone_header),
    Row(GEOMETRY, "NIfTI-2 (which ITK does not read)", "read by the same rules", check_nifti_2),
    Row(GEOMETRY, "FreeSurfer `.mgz`", "read where nibabel puts it", partial(check_freesurfer, "x.mgz")),
    Row(GEOMETRY, "FreeSurfer `.mgh`", "read where nibabel puts it", partial(check_freesurfer, "x.mgh")),
    Row(VALUES, "big-endian file", "read, in native order", holds(IMAGE, "i2", order=">")),
    Row(VALUES, "8-bit unsigned", "type kept", holds(IMAGE, "u1", values=IMAGE.astype("u1"))),
    Row(VALUES, "64-bit integers", "type kept", holds(IMAGE + np.int64(2**40), "i8", values=IMAGE + np.int64(2**40))),
    Row(
        VALUES,
        "64-bit unsigned integers beyond 2⁶³",
        "type kept",
        holds(IMAGE.astype("u8") + np.uint64(2**63), "u8", values=IMAGE.astype("u8") + np.uint64(2**63)),
    ),
    Row(VALUES, "64-bit real numbers", "read in 32 bits", holds(IMAGE / 4, "f4", values=IMAGE / 4.0)),
    Row(VALUES, "slope 0.5 and intercept -3", "applied", holds(IMAGE * 0.5 - 3, "f4", scl_slope=0.5, scl_inter=-3)),
    Row(VALUES, "slope 0", "no scale", holds(IMAGE, "i2", scl_slope=0)),
    Row(VALUES, "slope 0 and intercept 5", "5 is added, as ITK does", holds(IMAGE + 5, "f4", scl_slope=0, scl_inter=5)),
    Row(VALUES, "slope NaN", "no scale", holds(IMAGE, "i2", scl_slope=np.nan, scl_inter=5)),
    Row(VALUES, "intercept NaN", "taken as 0", holds(IMAGE * 2, "f4", scl_slope=2, scl_inter=np.nan)),
    Row(VALUES, "negative slope", "applied", holds(7.0 - IMAGE, "f4", scl_slope=-1, scl_inter=7)),
    Row(VALUES, "complex numbers", "refused", wrong("one real number per voxel", values=IMAGE.astype("c8"))),
    Row(VALUES, "colors (RGB)", "refused", wrong("one real number per voxel", values=COLORS)),
    Row(VALUES, "1 bit per voxel", "refused", wrong("cannot be read", datatype=1, bitpix=1)),
    Row(VALUES, "128-bit real numbers", "refused", check_silent),
    Row(VALUES, "a type code that the standard does not know", "refused", wrong("cannot be read", datatype=77)),
    Row(
        VALUES, "a single slice", "an image of one voxel in depth", holds(IMAGE[:, :, :1], "i2", values=IMAGE[:, :, :1])
    ),
    Row(DAMAGE, "a file of no bytes", "refused", damaged("x.nii.gz", b"", "less than a header")),
    Row(DAMAGE, "text named `.nii`", "refused", damaged("x.nii", b"hello", "5 bytes, less than a header")),
    Row(DAMAGE, "text named `.nii.gz`", "refused", damaged("x.nii.gz", b"hello " * 99, "cannot be read")),
    Row(DAMAGE, "gzip of nothing", "refused", damaged("x.nii.gz", gzip.compress(b""), "less than a header")),
    Row(DAMAGE, "gzip of zeros", "refused", damaged("x.nii.gz", gzip.compress(bytes(1000)), "cannot be read")),
    Row(DAMAGE, "gzip cut within the header", "refused", damaged("x.nii.gz", gzip.compress(bytes(999))[:15], "cannot")),
    Row(DAMAGE, "a `.nii` of which the second half is missing", "refused", partial(check_cut, "x.nii")),
    Row(DAMAGE, "a `.nii.gz` of which the second half is missing", "refused", partial(check_cut, "x.nii.gz")),
    Row(DAMAGE, "a packed file named `.nii`", "refused: rename it to `.nii.gz`", check_gzip_named_nii),
    Row(DAMAGE, "a file named `.nii.gz` that is not packed", "read, as ITK does", check_plain_named_gz),
    Row(DAMAGE, "an axis of no voxels", "refused", wrong(dim=(3, 4, 0, 6, 1, 1, 1, 1))),
    Row(DAMAGE, "a negative size", "refused", wrong(dim=(3, 4, -5, 6, 1, 1, 1, 1))),
    Row(DAMAGE, "a size far beyond the file", "refused", wrong("cannot be read", dim=(3, *[32767] * 3, 1, 1, 1, 1))),
    Row(
        DAMAGE,
        "the same, packed",
        "refused before memory is taken",
        wrong("more than it can hold", name="x.nii.gz", dim=(3, 20000, 20000, 6, 1, 1, 1, 1)),
    ),
    Row(DAMAGE, "a header that says 8 axes", "refused", wrong("cannot be read", dim=(8, 4, 5, 6, 1, 1, 1, 1))),
    Row(DAMAGE, "data that begin within the header", "refused", wrong("cannot be read", vox_offset=40)),
    Row(DAMAGE, "a header without its mark (`magic`)", "refused", wrong("cannot be read", magic=b"abc")),
    Row(
        FRAMES,
        "a 4-D image",
        "refused: says how many frames there are, and to name one (`PATH#0`)",
        check_frames_refused,
    ),
    Row(FRAMES, "`PATH#2` of a `.nii`", "the third frame; nothing else is read", partial(check_frame, "x.nii")),
    Row(FRAMES, "`PATH#2` of a `.nii.gz`", "the third frame", partial(check_frame, "x.nii.gz")),
    Row(FRAMES, "`PATH#2` of a pair", "the third frame", partial(check_frame, "x.img")),
    Row(FRAMES, "`PATH#1` of a 4-D image with slope and intercept", "the second frame, scaled", check_frame_scaled),
    Row(FRAMES, "`PATH#3` of three frames", "refused: a frame from 0 to 2", check_frame_missing),
    Row(FRAMES, "`PATH#0` and `PATH#1` of a 3-D image", "the image; refused", check_frame_of_one),
    Row(FRAMES, "`PATH#last`", "refused: a frame is a number, counted from 0", check_frame_word),
    Row(
        FRAMES,
        "a file whose own name holds `#`",
        "that file, and `#1` behind its name is a frame",
        check_name_with_mark,
    ),
    Row(FRAMES, "axes of length 1 behind the third", "dropped", check_trailing_ones),
    Row(FRAMES, "vectors (5-D)", "refused", check_vectors),
    Row(FRAMES, "a 4-D image cut in its last frame", "whole frames are read, the cut one is refused", check_cut_frame),
]
