"""NRRD and MetaImage files."""

from __future__ import annotations

import bz2
import gzip
import os
from functools import partial
from pathlib import Path

import numpy as np
from itk_files import FOUR, IMAGE, PLACE, SHAPE, VALUES, by_itk, nrrd
from table import Row, refused, warned

from SPRCore.geometry import Volume, affine_from_itk, is_sheared, orthogonal
from SPRCore.io import (
    count_frames,
    read_labels,
    read_volume,
    write_volume,
)

NRRD, META = "NRRD", "MetaImage"
FRAMES = np.arange(360, dtype="<i2")


def meta(path: Path, data: bytes | None = None, **fields) -> Path:
    """Write a MetaImage file; None takes a field away."""
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "1 2 3",
        "ElementSpacing": "2 3 4",
        "DimSize": "4 5 6",
        "ElementNumberOfChannels": 1,
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    } | fields
    lines = [f"{name} = {value}" for name, value in header.items() if value is not None]
    path.write_bytes("\n".join([*lines, ""]).encode() + (VALUES.tobytes() if data is None else data))
    return path


def reads(make, name: str, *, data: bytes | None = None, place=PLACE, values=IMAGE, **fields):
    def check(folder: Path) -> None:
        with warned():
            volume = read_volume(make(folder / name, data, **fields))
        np.testing.assert_allclose(volume.affine, place, atol=1e-6)
        np.testing.assert_array_equal(volume.array, values)
        assert volume.array.dtype.isnative

    return check


def wrong(make, name: str, *said: str, data: bytes | None = None, **fields):
    def check(folder: Path) -> None:
        path = make(folder / name, data, **fields)
        refused(lambda: read_volume(path), str(path), *said)

    return check


def sheared(make, name: str, **fields):
    """A sheared grid becomes the upright one that covers it, in a file that ITK opens."""

    def check(folder: Path) -> None:
        import SimpleITK as sitk

        path = make(folder / name, **fields)
        image = sitk.ReadImage(str(path))
        old = Volume(IMAGE, affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection()))
        assert is_sheared(old.affine)
        with warned("not at right angles", "not at right angles"):
            volume, labels = read_volume(path), read_labels(path)
        np.testing.assert_allclose(volume.array, orthogonal(old).array, atol=1e-4)
        np.testing.assert_array_equal(labels.array, orthogonal(old, labels=True).array)
        write_volume(volume, folder / "out.nii.gz")
        assert sitk.ReadImage(str(folder / "out.nii.gz")).GetSize() == volume.shape

    return check


def check_frames(make, name: str, frame_axis_first: bool, fields: dict, folder: Path) -> None:
    path = make(folder / name, FRAMES.tobytes(), **fields)
    refused(lambda: read_volume(path), "4-D image of shape (4, 5, 6, 3), 3 frames", f"from {name}#0 to {name}#2")
    assert count_frames(path) == 3
    shape = (3, *SHAPE) if frame_axis_first else (*SHAPE, 3)
    frames = FRAMES.reshape(shape, order="F")
    volume = read_volume(f"{path}#2")
    np.testing.assert_array_equal(volume.array, frames[2] if frame_axis_first else frames[..., 2])
    np.testing.assert_allclose(volume.affine, PLACE, atol=1e-6)
    refused(lambda: read_volume(f"{path}#3"), "a frame from 0 to 2")


def in_frames(make, name: str, frame_axis_first: bool, **fields):
    return partial(check_frames, make, name, frame_axis_first, fields)


LAST = {"dimension": 4, "sizes": "4 5 6 3", "kinds": "domain domain domain list"}
SPATIAL = {
    "space": "left-posterior-superior-time",
    "space_directions": "(2,0,0,0) (0,3,0,0) (0,0,4,0) (0,0,0,1)",
    "space_origin": "(1,2,3,0)",
    "kinds": "space space space time",
}
META_4D = {
    "NDims": 4,
    "DimSize": "4 5 6 3",
    "ElementSpacing": "2 3 4 1",
    "Offset": "1 2 3 0",
    "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
}


def check_silent(folder: Path) -> None:
    """The reader of MetaImage writes to the standard error by itself: nothing of it reaches the terminal."""
    path = meta(folder / "x.mha", VALUES.tobytes()[:50])
    before = os.dup(2)
    with (folder / "stderr").open("w+") as stream:
        os.dup2(stream.fileno(), 2)
        try:
            refused(lambda: read_volume(path), str(path), "data not read completely")
        finally:
            os.dup2(before, 2)
            os.close(before)
    assert (folder / "stderr").read_text() == ""


def check_beside(folder: Path) -> None:
    (folder / "x.raw").write_bytes(VALUES.tobytes())
    np.testing.assert_array_equal(read_volume(meta(folder / "x.mhd", b"", ElementDataFile="x.raw")).array, IMAGE)
    np.testing.assert_array_equal(read_volume(nrrd(folder / "x.nhdr", b"", data_file="x.raw")).array, IMAGE)


ROWS = [
    Row(NRRD, "space `left-posterior-superior`", "read", reads(nrrd, "x.nrrd")),
    Row(
        NRRD,
        "space `right-anterior-superior`",
        "read where it says",
        reads(
            nrrd, "x.nrrd", space="right-anterior-superior", place=np.array([[2.0, 0, 0, 1], [0, 3, 0, 2], *PLACE[2:]])
        ),
    ),
    Row(
        NRRD,
        "no space, spacings alone",
        "taken as left, posterior, superior, as ITK does",
        reads(
            nrrd,
            "x.nrrd",
            space=None,
            space_directions=None,
            space_origin=None,
            spacings="2 3 4",
            place=np.diag([-2.0, -3.0, 4.0, 1.0]),
        ),
    ),
    Row(
        NRRD,
        "sheared space directions",
        "resampled to right angles; a warning",
        sheared(nrrd, "x.nrrd", space_directions="(2,0,0) (0.5,3,0) (0,0,4)"),
    ),
    Row(
        NRRD,
        "two equal axes",
        "refused",
        wrong(nrrd, "x.nrrd", "determinant", space_directions="(2,0,0) (2,0,0) (0,0,4)"),
    ),
    Row(
        NRRD,
        "an axis of length 0",
        "refused",
        wrong(nrrd, "x.nrrd", "spacing", space_directions="(0,0,0) (0,3,0) (0,0,4)"),
    ),
    Row(
        NRRD,
        "NaN in the directions",
        "refused",
        wrong(nrrd, "x.nrrd", "space vector", space_directions="(nan,0,0) (0,3,0) (0,0,4)"),
    ),
    Row(NRRD, "big-endian", "read", reads(nrrd, "x.nrrd", data=VALUES.astype(">i2").tobytes(), endian="big")),
    Row(NRRD, "gzip", "read", reads(nrrd, "x.nrrd", data=gzip.compress(VALUES.tobytes()), encoding="gzip")),
    Row(NRRD, "text", "read", reads(nrrd, "x.nrrd", data=b" ".join(b"%d" % v for v in VALUES), encoding="ascii")),
    Row(NRRD, "64-bit integers", "read", reads(nrrd, "x.nrrd", data=VALUES.astype("<i8").tobytes(), type="int64")),
    Row(
        NRRD,
        "bzip2",
        "refused: the cause",
        wrong(nrrd, "x.nrrd", "bzip2 encoding not available", data=bz2.compress(b"1"), encoding="bzip2"),
    ),
    Row(NRRD, "no byte order", "refused: the cause", wrong(nrrd, "x.nrrd", "require endian info", endian=None)),
    Row(NRRD, "an unknown type", "refused: the cause", wrong(nrrd, "x.nrrd", "couldn't parse type", type="quux")),
    Row(
        NRRD,
        "cut short",
        "refused: the cause",
        wrong(nrrd, "x.nrrd", "50 2-sized things, not 120", data=VALUES.tobytes()[:100]),
    ),
    Row(
        NRRD,
        "gzip cut short",
        "refused: the cause",
        wrong(nrrd, "x.nrrd", "expected 240 bytes", data=gzip.compress(VALUES.tobytes())[:20], encoding="gzip"),
    ),
    Row(
        NRRD,
        "a `.nhdr` whose data file is missing",
        "refused: names it",
        wrong(nrrd, "x.nhdr", "gone.raw", data=b"", data_file="gone.raw"),
    ),
    Row(
        NRRD,
        "a sequence of 3D Slicer (`.seq.nrrd`, kind `list` first)",
        "frames",
        in_frames(nrrd, "x.seq.nrrd", True, kinds="list domain domain domain", **FOUR),
    ),
    Row(
        NRRD,
        "kind `list` last",
        "frames",
        in_frames(nrrd, "x.nrrd", False, space_directions="(2,0,0) (0,3,0) (0,0,4) none", **LAST),
    ),
    Row(NRRD, "a fourth axis of time", "frames", in_frames(nrrd, "x.nrrd", False, **{**LAST, **SPATIAL})),
    Row(
        NRRD,
        "vectors",
        "refused",
        wrong(nrrd, "x.nrrd", "3 values per voxel", data=FRAMES.tobytes(), kinds="vector domain domain domain", **FOUR),
    ),
    Row(
        NRRD,
        "colors",
        "refused",
        wrong(
            nrrd,
            "x.nrrd",
            "without colors",
            data=FRAMES.astype("u1").tobytes(),
            type="uint8",
            kinds="RGB-color domain domain domain",
            **FOUR,
        ),
    ),
    Row(
        NRRD,
        "five axes",
        "refused",
        wrong(
            nrrd,
            "x.nrrd",
            "5-D",
            dimension=5,
            sizes="1 2 3 4 5",
            kinds=None,
            space=None,
            space_directions=None,
            space_origin=None,
        ),
    ),
    Row(NRRD, "complex numbers", "refused", by_itk("x.nrrd", "sitkComplexFloat32", "one real number per voxel")),
    Row(META, "an `.mha`", "read", reads(meta, "x.mha")),
    Row(META, "a `.mhd` or `.nhdr` with its `.raw` beside it", "read", check_beside),
    Row(
        META,
        "big-endian",
        "read",
        reads(meta, "x.mha", data=VALUES.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True"),
    ),
    Row(
        META,
        "a negative spacing",
        "the axis is turned round, as ITK does",
        reads(meta, "x.mha", ElementSpacing="-2 3 4", place=PLACE * [-1, 1, 1, 1]),
    ),
    Row(
        META,
        "a sheared `TransformMatrix`",
        "resampled to right angles; a warning",
        sheared(meta, "x.mha", TransformMatrix="1 0 0 0.3 1 0 0 0 1"),
    ),
    Row(
        META,
        "a singular `TransformMatrix`",
        "refused",
        wrong(meta, "x.mha", "determinant", TransformMatrix="1 0 0 1 0 0 0 0 1"),
    ),
    Row(META, "spacing 0", "refused", wrong(meta, "x.mha", "Zero-valued spacing", ElementSpacing="0 3 4")),
    Row(
        META,
        "a `.mhd` whose data file is missing",
        "refused: the cause",
        wrong(meta, "x.mhd", "Cannot open data file", data=b"", ElementDataFile="gone.raw"),
    ),
    Row(META, "no `DimSize`", "refused: the cause", wrong(meta, "x.mha", "DimSize required", DimSize=None)),
    Row(META, "an unknown type", "refused", wrong(meta, "x.mha", "Unknown PixelType", ElementType="MET_FOO")),
    Row(
        META,
        "a size far beyond the file",
        "refused",
        wrong(meta, "x.mha", "cannot be read", DimSize="40000 50000 60000"),
    ),
    Row(META, "cut short", "refused in one line; what ITK itself prints is kept off the terminal", check_silent),
    Row(META, "four axes", "frames", in_frames(meta, "x.mha", False, **META_4D)),
    Row(
        META,
        "three values per voxel",
        "refused",
        wrong(meta, "x.mha", "3 values per voxel", data=FRAMES.tobytes(), ElementNumberOfChannels=3),
    ),
    Row(
        META,
        "two axes",
        "refused",
        wrong(
            meta, "x.mha", "2-D", NDims=2, DimSize="4 5", ElementSpacing="2 3", Offset="1 2", TransformMatrix="1 0 0 1"
        ),
    ),
]
