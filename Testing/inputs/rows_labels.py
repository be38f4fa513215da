"""Label maps whose numbers are stored as real ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nibabel
import numpy as np
from table import Row, refused

from SPRCore.geometry import Volume
from SPRCore.io import read_labels, write_volume

WHOLE = np.arange(64).reshape(4, 4, 4) % 5
KIND = "Labels"


def check_values(change: float, folder: Path) -> None:
    write_volume(Volume((WHOLE + change * (WHOLE > 0)).astype(np.float32), np.eye(4)), folder / "labels.nii.gz")
    found = read_labels(folder / "labels.nii.gz").array
    assert found.dtype.kind == "i"
    np.testing.assert_array_equal(found, WHOLE)


def check_slope(slope: float, factor: int, folder: Path) -> None:
    image = nibabel.Nifti1Image((WHOLE * factor).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(slope, 0.0)
    image.to_filename(folder / "labels.nii.gz")
    np.testing.assert_array_equal(read_labels(folder / "labels.nii.gz").array, WHOLE)


def check_type(kind: str, folder: Path) -> None:
    write_volume(Volume(WHOLE.astype(kind), np.eye(4)), folder / "labels.nii.gz")
    found = read_labels(folder / "labels.nii.gz").array
    assert found.dtype.kind in "iu"
    np.testing.assert_array_equal(found, WHOLE != 0 if kind == "bool" else WHOLE)


def check_refused(value: float, said: tuple[str, ...], folder: Path) -> None:
    array = WHOLE.astype(np.float64)
    array[1, 2, 3] = array[3, 2, 1] = value
    nibabel.Nifti1Image(array, np.eye(4), dtype=np.float64).to_filename(folder / "labels.nii.gz")
    refused(lambda: read_labels(folder / "labels.nii.gz"), "labels.nii.gz", "2 of 64 values", *said)


def bad(what: str, value: float, *said: str) -> Row:
    return Row(KIND, what, "refused: their number and one of them are told", partial(check_refused, value, said))


ROWS = [
    Row(KIND, "labels 4.6e-5 above whole numbers", "rounded", partial(check_values, 4.6e-5)),
    Row(KIND, "labels 1e-7 below whole numbers", "rounded", partial(check_values, -1e-7)),
    Row(
        KIND, "255 · (1/255): a slope of NIfTI that makes whole numbers", "rounded", partial(check_slope, 1 / 255, 255)
    ),
    Row(KIND, "a slope of 0.1 on tens", "rounded", partial(check_slope, 0.1, 10)),
    Row(KIND, "whole numbers stored as float32", "read as integers", partial(check_type, "float32")),
    Row(KIND, "a mask of truth values", "read as 0 and 1", partial(check_type, "bool")),
    Row(KIND, "labels as 64-bit integers", "read as integers", partial(check_type, "int64")),
    bad("a probability among labels", 0.25, "0.25"),
    bad("labels that were interpolated: 1.5", 1.5, "1.5"),
    bad("a label a hundredth off", 1.01, "1.01"),
    bad("half a label above a million: a fraction that rounding would hide", 1234567.5, "1234567.5"),
    bad("NaN among labels", float("nan"), "nan"),
    bad("infinity among labels", float("inf"), "inf"),
    bad("1e20, above what is counted", 1e20, "1e+20"),
]
