"""NRRD, MetaImage, DICOM and whatever else SimpleITK reads."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SPRCore.errors import InputError, OutputError
from SPRCore.geometry import affine_from_itk, affine_to_itk
from SPRCore.io.atomic import atomic_path
from SPRCore.typing import Affine

if TYPE_CHECKING:
    import SimpleITK

logger = logging.getLogger("SPRCore")

SUFFIXES = (".nrrd", ".mha", ".mhd")
"""Suffixes of the files that `write_itk` writes."""

_NOTE = "SPRCore"  # name of the field of the header that holds a note


def to_itk(array: np.ndarray, affine: Affine) -> SimpleITK.Image:
    """Make a SimpleITK image of an array.

    Args:
        array: Values of shape (X, Y, Z), or (X, Y, Z, C) for C values per voxel.
        affine: Voxel to RAS mm, shape (4, 4).

    Returns:
        The image, its geometry in LPS; vector components are passed on as they are.
    """
    import SimpleITK as sitk

    zyx = array.transpose(2, 1, 0, *range(3, array.ndim))
    image = sitk.GetImageFromArray(np.ascontiguousarray(zyx), isVector=array.ndim == 4)
    spacing, origin, direction = affine_to_itk(affine)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def from_itk(image: SimpleITK.Image) -> tuple[np.ndarray, Affine]:
    """Take a 3-D SimpleITK image apart, the inverse of `to_itk`: array (X, Y, Z) or (X, Y, Z, C) and RAS affine."""
    import SimpleITK as sitk

    view = sitk.GetArrayViewFromImage(image)
    array = np.array(view.transpose(2, 1, 0, *range(3, view.ndim)), order="C")
    return array, affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def read_itk(path: Path) -> tuple[np.ndarray, Affine]:
    """Read an image file, or a folder that holds a DICOM series.

    Args:
        path: An existing file or folder. Of several series in a folder the one with most files is read, and said so.

    Returns:
        Values of shape (X, Y, Z) or (X, Y, Z, C), and the affine to RAS mm (4, 4).

    Raises:
        InputError: SimpleITK cannot read it, it is not 3-D, the folder holds no DICOM series, or slices are missing.
    """
    import SimpleITK as sitk

    try:
        with _quiet():
            image = _read_series(path) if path.is_dir() else sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(
            str(path),
            got=f"a file that cannot be read ({first_clause(error)})",
            expected="a complete image: NIfTI, NRRD, MetaImage or a folder with a DICOM series",
        ) from error
    while image.GetDimension() > 3 and image.GetSize()[-1] == 1:
        image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
    if image.GetDimension() != 3:
        raise InputError(
            str(path), got=f"a {image.GetDimension()}-D image of size {image.GetSize()}", expected="a 3-D image"
        )
    return from_itk(image)


def write_itk(array: np.ndarray, affine: Affine, path: Path, note: str = "") -> None:
    """Write values, compressed, to an NRRD or MetaImage file.

    Args:
        array: Values of shape (X, Y, Z) or (X, Y, Z, C).
        affine: Voxel to RAS mm, shape (4, 4).
        path: The file, with one of `SUFFIXES`.
        note: Words for the header, in a field of its own.

    Raises:
        OutputError: The file could not be written.
    """
    import SimpleITK as sitk

    image = to_itk(array, affine)
    if note:
        image.SetMetaData(_NOTE, note)
    with atomic_path(path) as partial, _quiet():
        try:
            sitk.WriteImage(image, str(partial), useCompression=True)
        except RuntimeError as error:
            reason = first_clause(error).replace(str(partial), path.name)
            remedy = "choose a place that can be written and has space left"
            raise OutputError(str(path), got=reason, expected="to write it", remedy=remedy) from error


def read_note(path: Path) -> str:
    """Return the note in the header of a file that `write_itk` wrote, or ""; raises what SimpleITK does for others."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader.GetMetaData(_NOTE) if reader.HasMetaDataKey(_NOTE) else ""


def first_clause(error: Exception) -> str:
    """Return what an exception of SimpleITK says first, without its source files and addresses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "ERROR:" in line), lines[-1] if lines else type(error).__name__)
    return re.sub(r"^.*?ERROR:\s*(\w+\(0x[0-9a-fA-F]+\):\s*)?", "", said).rstrip(":. ")


def _read_series(folder: Path) -> SimpleITK.Image:
    import SimpleITK as sitk

    files = {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in _series_of(folder)}
    largest = max(files.values(), key=len)
    if len(files) > 1:
        number = _series_number(largest[0])
        logger.warning("%s holds %d DICOM series; reading series number %s, the largest", folder, len(files), number)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(largest)
    reader.MetaDataDictionaryArrayUpdateOn()
    image = reader.Execute()
    if not _is_even(_slice_heights(reader, image)):
        raise InputError(
            str(folder),
            got=f"{len(largest)} DICOM slices at uneven distances",
            expected="a series without missing or repeated slices",
            remedy="export the series again, alone in a folder",
        )
    return image


def _slice_heights(reader: SimpleITK.ImageSeriesReader, image: SimpleITK.Image) -> np.ndarray:
    """Return the places of the slices along their normal in mm; none if the files do not tell."""
    position = "0020|0032"
    slices = range(len(reader.GetFileNames()))
    if image.GetDimension() != 3 or not all(reader.HasMetaDataKey(k, position) for k in slices):
        return np.empty(0)
    points = [np.array(reader.GetMetaData(k, position).split("\\"), dtype=float) for k in slices]
    return np.array(points) @ np.array(image.GetDirection())[2::3]


def _is_even(heights: np.ndarray) -> bool:
    steps = np.diff(heights)
    # A tenth of a step: scanners round positions, a missing or repeated slice shifts them by a whole one.
    return steps.size == 0 or bool(np.abs(steps - np.median(steps)).max() <= 0.1 * np.abs(np.median(steps)))


def _series_of(folder: Path) -> tuple[str, ...]:
    import SimpleITK as sitk

    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise InputError(str(folder), got="a folder without DICOM images", expected="an image or a DICOM folder")
    return series


def _series_number(file: str) -> str:
    """Return a number that the scanner's console shows too; UIDs and descriptions may point to the patient."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader.GetMetaData("0020|0011").strip() if reader.HasMetaDataKey("0020|0011") else "(none)"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ITK's warnings off the terminal; what matters is raised or logged."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
