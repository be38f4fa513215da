"""NRRD, MetaImage and other files, places that are no images, and displacement fields on odd grids."""

from __future__ import annotations

import bz2
import gzip
import os
from functools import partial
from pathlib import Path

import numpy as np
from nifti_files import SHEARED, write
from table import Row, refused, warned

from SPRCore.geometry import Field, Volume, affine_from_itk, is_sheared, orthogonal
from SPRCore.io import (
    count_frames,
    read_displacement,
    read_labels,
    read_volume,
    write_displacement,
    write_volume,
)

NRRD, META, OTHER, PLACES = "NRRD", "MetaImage", "Other formats", "Paths"
FIELDS, COMMANDS = "Displacement fields", "Frames on the command line and in lists"
SHAPE = (4, 5, 6)
VALUES = np.arange(120, dtype="<i2")  # the first axis runs fastest
IMAGE = VALUES.reshape(SHAPE, order="F")
PLACE = np.array([[-2.0, 0, 0, -1], [0, -3.0, 0, -2], [0, 0, 4.0, 3], [0, 0, 0, 1]])
FRAMES = np.arange(360, dtype="<i2")


def nrrd(path: Path, data: bytes | None = None, **fields) -> Path:
    """Write a NRRD file; a field is given by its name with `_` for blanks, None takes it away."""
    header = {
        "type": "short",
        "dimension": 3,
        "space": "left-posterior-superior",
        "sizes": "4 5 6",
        "space directions": "(2,0,0) (0,3,0) (0,0,4)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(1,2,3)",
    } | {name.replace("_", " "): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in header.items() if value is not None]
    path.write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + (VALUES.tobytes() if data is None else data))
    return path


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


FOUR = {"dimension": 4, "sizes": "3 4 5 6", "space_directions": "none (2,0,0) (0,3,0) (0,0,4)"}
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


def by_itk(name: str, pixel: str, *said: str, size=(5, 5, 5), components: int = 0):
    """A file that SimpleITK writes, which is refused with these words."""

    def check(folder: Path) -> None:
        import SimpleITK as sitk

        image = sitk.Image(list(size), getattr(sitk, pixel), *[components] * bool(components))
        sitk.WriteImage(image, str(folder / name))
        refused(lambda: read_volume(folder / name), str(folder / name), *said)

    return check


def check_other(name: str, folder: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(IMAGE.T)
    image.SetSpacing((2, 3, 4))
    image.SetOrigin((1, 2, 3))
    sitk.WriteImage(image, str(folder / name))
    volume = read_volume(folder / name)
    np.testing.assert_array_equal(volume.array, IMAGE)
    np.testing.assert_allclose(volume.affine, PLACE, atol=1e-6)


def check_bytes(name: str, content: bytes, *said: str, folder: Path) -> None:
    path = folder / name
    path.write_bytes(content)
    refused(lambda: read_volume(path), str(path), *said)


def damaged(name: str, content: bytes, *said: str):
    return lambda folder: check_bytes(name, content, *said, folder=folder)


NO_FORMAT = "no known image format"
PACKED = gzip.compress(bytes(999))


def check_nameless(suffix: str, folder: Path) -> None:
    path = write(folder / "x.nii") if suffix == ".nii" else nrrd(folder / "x.nrrd")
    path = path.rename(folder / "brain")
    refused(lambda: read_volume(path), str(path), NO_FORMAT, f"rename it to brain{suffix}")


def check_missing(folder: Path) -> None:
    path = folder / "x.nii.gz"
    refused(lambda: read_volume(path), str(path), "no such file or folder", "check the path")
    refused(lambda: read_volume(f"{path}#2"), f"{path}#2", "no such file or folder")


def check_link(folder: Path) -> None:
    (folder / "x.nii").symlink_to(folder / "gone.nii")
    refused(lambda: read_volume(folder / "x.nii"), "no such file or folder")


def check_good_link(folder: Path) -> None:
    (folder / "x.nii").symlink_to(write(folder / "real.nii"))
    assert read_volume(folder / "x.nii").shape == SHAPE


def check_pipe(folder: Path) -> None:
    os.mkfifo(folder / "x.nii")
    refused(lambda: read_volume(folder / "x.nii"), "neither a file nor a folder")


def check_folder_named_nii(folder: Path) -> None:
    (folder / "x.nii.gz").mkdir()
    refused(lambda: read_volume(folder / "x.nii.gz"), "a folder without DICOM images")


def check_odd_names(folder: Path) -> None:
    for name in ("with blank.nii", "Größe 脑.nii.gz", "a.b.c.nii", "UPPER.NII.GZ", "(1).nii", "%20.nii"):
        path = write(folder / name, packed=name.lower().endswith(".gz"))
        assert read_volume(path).shape == SHAPE
        assert read_volume(nrrd(folder / f"{name}.nrrd")).shape == SHAPE


def check_sheared_field(name: str, folder: Path) -> None:
    values = np.zeros((4, 5, 6, 1, 3), np.float32)
    if name.endswith(".nii"):
        path = write(folder / name, values, sform=SHEARED, intent_code=1006)
    else:
        directions = {"space_directions": "none (2,0,0) (0.5,3,0) (0,0,4)", "kinds": "vector domain domain domain"}
        path = nrrd(folder / name, values.tobytes(), type="float", **{**FOUR, **directions})
    refused(lambda: read_displacement(path), str(path), "not at right angles", "register again")


def check_sheared_field_output(folder: Path) -> None:
    field = Field(np.zeros((4, 5, 6, 3)), np.vstack([SHEARED, [0, 0, 0, 1]]))
    refused(lambda: write_displacement(field, folder / "x.nii.gz"), "not at right angles")
    assert not list(folder.iterdir())


def check_field_forms(folder: Path) -> None:
    values = np.ones((4, 5, 6, 1, 3), np.float32)
    path = write(folder / "x.nii", values, sform_code=2, qform_code=1, quaternion=(0, 0, 0.2), intent_code=1006)
    other = write(folder / "y.nii", sform_code=2, qform_code=1, quaternion=(0, 0, 0.2))
    with warned("its qform is used", "its qform is used"):
        field, image = read_displacement(path), read_volume(other)
    np.testing.assert_allclose(field.affine, image.affine)


def check_no_field(folder: Path) -> None:
    path = write(folder / "x.nii")
    refused(lambda: read_displacement(path), "NIfTI intent code 0", "intent 1006", "displacement.nii.gz")


def check_field_frame(folder: Path) -> None:
    path = write(folder / "x.nii", np.zeros((4, 5, 6, 1, 3), np.float32), intent_code=1006)
    refused(lambda: read_displacement(f"{path}#1"), f"{path}#1", "a displacement field has no frames")


def check_register(folder: Path) -> None:
    """The report names the frame, and the SHA-256 is that of the file."""
    import json

    from SPRCore.cli import main
    from SPRCore.io.outputs import sha256

    random = np.random.default_rng(0)
    image = random.normal(size=(8, 8, 8, 2)).astype(np.float32)
    series = write(folder / "series.nii.gz", image)
    words = [f"{series}#0", f"{series}#1", "--init", "none", "--device", "cpu"]
    assert main(["register", *words, "--out", str(folder / "out")]) == 0
    inputs = json.loads((folder / "out" / "report.json").read_text())["inputs"]
    assert inputs["moving"]["path"] == f"{series}#1"
    assert inputs["moving"]["sha256"] == sha256(series)
    assert main(["register", str(series), str(series), "--out", str(folder / "other")]) == 2
    assert not (folder / "other").exists()


def check_pairs(folder: Path) -> None:
    from SPRCore.analysis.pairs import load_pair, read_pairs

    write(folder / "series.nii", np.stack([IMAGE, IMAGE + 5], axis=-1))
    (folder / "pairs.csv").write_text("fixed,moving\nseries.nii#0,series.nii#1\n")
    (pair,) = read_pairs(folder / "pairs.csv")
    loaded = load_pair(pair)
    np.testing.assert_array_equal(loaded.moving.original.array, IMAGE + 5)
    (folder / "wrong.csv").write_text("fixed,moving\nseries.nii#0,gone.nii#1\n")
    refused(lambda: read_pairs(folder / "wrong.csv"), "line 2, moving", "no file gone.nii#1")


def check_case(folder: Path) -> None:
    from SPRCore.training.data.cases import Case
    from SPRCore.training.data.cohort import check_cases
    from SPRCore.training.data.reading import read_case

    path = write(folder / "series.nii", np.stack([IMAGE, IMAGE + 5], axis=-1))
    by_path = Case(subject="a", image=Path(f"{path}#1"))
    by_number = Case(subject="b", image=path, frame=1)
    for case in (by_path, by_number):
        np.testing.assert_array_equal(read_case(case).image.array, IMAGE + 5)
    assert not check_cases([by_path])
    (problem,) = check_cases([Case(subject="c", image=Path(f"{folder / 'gone.nii'}#1"))])
    assert "no such file" in problem.text


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
    Row(OTHER, "VTK's legacy `.vtk`", "read where ITK puts it", partial(check_other, "x.vtk")),
    Row(OTHER, "GIPL", "read where ITK puts it", partial(check_other, "x.gipl")),
    Row(OTHER, "MINC", "read where ITK puts it", partial(check_other, "x.mnc")),
    Row(OTHER, "a picture (PNG)", "refused", by_itk("x.png", "sitkUInt8", "2-D", size=(5, 5))),
    Row(
        OTHER,
        "a picture in colors (JPEG)",
        "refused",
        by_itk("x.jpg", "sitkVectorUInt8", "2-D", size=(5, 5), components=3),
    ),
    Row(
        OTHER,
        "a text file",
        "refused: no known format, and what would be",
        damaged("x.txt", b"hello", NO_FORMAT, "a folder with a DICOM series"),
    ),
    Row(OTHER, "text named `.nrrd`", "refused", damaged("x.nrrd", b"hello", NO_FORMAT)),
    Row(OTHER, "text named `.dcm`", "refused", damaged("x.dcm", b"hello " * 99, NO_FORMAT)),
    Row(OTHER, "text named `.mgz`", "refused", damaged("x.mgz", b"hello", "cannot be read")),
    Row(OTHER, "an `.mgh` of zeros", "refused", damaged("x.mgh", b"\0\0\0\1" + bytes(400), "cannot be read")),
    Row(OTHER, "an empty file without a suffix", "refused", damaged("x", b"", NO_FORMAT)),
    Row(OTHER, "a ZIP archive", "refused: unpack it", damaged("x.zip", b"PK\3\4" + bytes(99), NO_FORMAT, "unpack it")),
    Row(OTHER, "a NumPy array (`.npy`)", "refused", damaged("x.npy", b"\x93NUMPY", NO_FORMAT)),
    Row(OTHER, "a NIfTI file without a suffix", "refused: rename it to `.nii`", partial(check_nameless, ".nii")),
    Row(OTHER, "an NRRD file without a suffix", "refused: rename it to `.nrrd`", partial(check_nameless, ".nrrd")),
    Row(OTHER, "a file packed by gzip and named otherwise", "refused: what it is", damaged("x.bin", PACKED, "gzip")),
    Row(PLACES, "nothing at the path", "refused", check_missing),
    Row(PLACES, "a link to nothing", "refused", check_link),
    Row(PLACES, "a link to an image", "read", check_good_link),
    Row(PLACES, "a named pipe", "refused, and not waited for", check_pipe),
    Row(PLACES, "an empty folder named `x.nii.gz`", "refused", check_folder_named_nii),
    Row(
        PLACES, "blanks, umlauts, Chinese letters, capital suffixes, `%` and brackets in names", "read", check_odd_names
    ),
    Row(FIELDS, "a NIfTI field on a sheared grid", "refused", partial(check_sheared_field, "x.nii")),
    Row(FIELDS, "an NRRD field on a sheared grid", "refused", partial(check_sheared_field, "x.nrrd")),
    Row(
        FIELDS,
        "writing a field on a sheared grid, in Python",
        "refused; nothing is written",
        check_sheared_field_output,
    ),
    Row(FIELDS, "a field with two different forms", "placed by the rules of images; a warning", check_field_forms),
    Row(FIELDS, "an image in place of a field", "refused: give `displacement.nii.gz`", check_no_field),
    Row(FIELDS, "`FIELD#1`", "refused: a field has no frames", check_field_frame),
    Row(
        COMMANDS,
        "`spr register SERIES#0 SERIES#1`",
        "registered; the report names the frames; without them exit code 2",
        check_register,
    ),
    Row(
        COMMANDS,
        "a list of pairs with `series.nii#0,series.nii#1`",
        "read; a missing file is named with its line",
        check_pairs,
    ),
    Row(COMMANDS, "a training list with `series.nii#1` as image", "that frame is read and prepared", check_case),
]
