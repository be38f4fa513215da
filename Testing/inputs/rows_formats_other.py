"""Files of other formats, paths, displacement fields on odd grids, and frames in commands and lists."""

from __future__ import annotations

import gzip
import os
from functools import partial
from pathlib import Path

import numpy as np
from itk_files import FOUR, IMAGE, PLACE, SHAPE, by_itk, nrrd
from nifti_files import SHEARED, write
from table import Row, refused, warned

from SPRCore.geometry import Field
from SPRCore.io import (
    read_displacement,
    read_volume,
    write_displacement,
)

OTHER, PLACES = "Other formats", "Paths"
FIELDS, COMMANDS = "Displacement fields", "Frames on the command line and in lists"


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
    from SPRCore.io.pairs import load_pair, read_pairs

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
