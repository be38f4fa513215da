"""NIfTI files: values, damage and frames."""

from __future__ import annotations

import gzip
import logging
from functools import partial
from pathlib import Path

import numpy as np
from nifti_files import IMAGE, SFORM, check_refused, write, wrong
from table import Row, refused

from SPRCore.geometry import Volume
from SPRCore.io import count_frames, read_labels, read_volume, write_volume

VALUES, DAMAGE, FRAMES = "NIfTI: values", "NIfTI: damage", "NIfTI: frames"


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


COLORS = np.zeros(IMAGE.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])

ROWS = [
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
