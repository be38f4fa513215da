"""NRRD, MetaImage and other formats of SimpleITK."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SPRCore.errors import InputError, OutputError
from SPRCore.geometry import affine_from_itk, affine_to_itk
from SPRCore.io.atomic import atomic_path
from SPRCore.typing import Affine

if TYPE_CHECKING:
    import SimpleITK

_METAIMAGE = (".mha", ".mhd")
_ONE_AT_A_TIME = threading.Lock()
SUFFIXES = (".nrrd", *_METAIMAGE)
"""Suffixes of the files that `write_itk` writes."""

_NOTE = "SPRCore"  # name of the field of the header that holds a note


def to_itk(array: np.ndarray, affine: Affine) -> SimpleITK.Image:
    """Convert an array (X, Y, Z) or (X, Y, Z, C), components unchanged, with its RAS affine to a SimpleITK image."""
    import SimpleITK as sitk

    zyx = array.transpose(2, 1, 0, *range(3, array.ndim))
    image = sitk.GetImageFromArray(np.ascontiguousarray(zyx), isVector=array.ndim == 4)
    spacing, origin, direction = affine_to_itk(affine)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def from_itk(image: SimpleITK.Image) -> tuple[np.ndarray, Affine]:
    """Convert a 3-D SimpleITK image, the inverse of `to_itk`: array (X, Y, Z) or (X, Y, Z, C) and RAS affine."""
    import SimpleITK as sitk

    view = sitk.GetArrayViewFromImage(image)
    array = np.array(view.transpose(2, 1, 0, *range(3, view.ndim)), order="C")
    return array, affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())


@dataclass(frozen=True)
class ItkFile:
    """A file that SimpleITK reads.

    Args:
        path: The file.
        shape: Number of voxels along each axis, axes of length 1 behind the third dropped; the fourth counts frames.
        is_list: Whether frames are stored as the values of a voxel, as 3D Slicer writes sequences.
    """

    path: Path
    shape: tuple[int, ...]
    is_list: bool

    def read(self, frame: int = 0) -> tuple[np.ndarray, Affine]:
        """Read one frame: values of shape (X, Y, Z) or (X, Y, Z, C), and the affine to RAS mm (4, 4).

        Raises:
            InputError: The file is damaged, or not 3-D apart from its frames.
        """
        import SimpleITK as sitk

        if len(self.shape) not in (3, 4):
            what = f"a {len(self.shape)}-D image of shape {self.shape}"
            raise InputError(str(self.path), got=what, expected="a 3-D image")
        with _readable(self.path):
            reader = _information(self.path)
            if reader.GetDimension() > 3:
                rest = reader.GetDimension() - 3
                reader.SetExtractSize([*self.shape[:3], *[0] * rest])
                reader.SetExtractIndex([0, 0, 0, frame, *[0] * (rest - 1)])
            image = reader.Execute()
            return from_itk(sitk.VectorIndexSelectionCast(image, frame) if self.is_list else image)


def open_itk(path: Path) -> ItkFile:
    """Read the header of an existing file with SimpleITK (`InputError` if it cannot)."""
    with _readable(path):
        reader = _information(path)
        shape = reader.GetSize()
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        kind = "NRRD_kinds[pixel]"
        is_list = reader.HasMetaDataKey(kind) and reader.GetMetaData(kind) == "list"
        return ItkFile(path, (*shape, reader.GetNumberOfComponents()) if is_list else tuple(shape), is_list)


def affine_by_itk(path: Path) -> Affine | None:
    """Return the affine to RAS mm of a 3-D file as ITK reads it, None if it does not."""
    try:
        with quiet_itk():
            reader = _information(path)
    except RuntimeError:
        return None
    dimension = reader.GetDimension()
    if dimension < 3:
        return None
    direction = np.reshape(reader.GetDirection(), (dimension, dimension))[:3, :3].ravel()
    return affine_from_itk(reader.GetSpacing()[:3], reader.GetOrigin()[:3], direction)


def write_itk(array: np.ndarray, affine: Affine, path: Path, note: str = "") -> None:
    """Write values, shape (X, Y, Z) or (X, Y, Z, C), compressed, to an NRRD or MetaImage file with a note.

    Raises:
        OutputError: The file could not be written.
    """
    import SimpleITK as sitk

    image = to_itk(array, affine)
    if note:
        image.SetMetaData(_NOTE, note)
    with atomic_path(path) as partial, quiet_itk():
        try:
            sitk.WriteImage(image, str(partial), useCompression=True)
        except RuntimeError as error:
            reason = first_clause(error).replace(str(partial), path.name)
            remedy = "choose a writable location with free space"
            raise OutputError(str(path), got=reason, expected="to write it", remedy=remedy) from error


def read_note(path: Path) -> str:
    """Return the note in the header of a file that `write_itk` wrote, or ""; raises what SimpleITK does for others."""
    reader = _information(path)
    return reader.GetMetaData(_NOTE) if reader.HasMetaDataKey(_NOTE) else ""


def first_clause(error: Exception) -> str:
    """Return the cause that an exception of SimpleITK names, without source files, addresses and names of functions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[-1].startswith("[nrrd]"):  # the reader of NRRD lists its calls down to the cause
        return re.sub(r"^\[nrrd\] \w+:\s*", "", lines[-1]).rstrip(":. ")
    message = next((line for line in lines if "ERROR:" in line), lines[-1] if lines else type(error).__name__)
    return re.sub(r"^.*?ERROR:\s*(\w+\(0x[0-9a-fA-F]+\):\s*)?", "", message).rstrip(":. ")


def _information(path: Path) -> SimpleITK.ImageFileReader:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert errors of SimpleITK about a file to an `InputError`."""
    messages: list[str] = []
    try:
        with quiet_itk(), native_lines(messages) if path.suffix.lower() in _METAIMAGE else nullcontext():
            yield
    except RuntimeError as error:
        reason = (messages[0] if messages else first_clause(error)).replace(str(path), path.name)
        if "Unable to determine ImageIO reader" in reason:
            raise InputError(
                str(path),
                got=f"a damaged file or one of no known image format ({reason})",
                expected="NIfTI, NRRD, MetaImage or another image that ITK reads, or a folder with a DICOM series",
                remedy=_remedy(path),
            ) from error
        raise InputError(
            str(path),
            got=f"a file that cannot be read ({reason})",
            expected="a complete image",
            remedy="copy or export the file again",
        ) from error


def _remedy(path: Path) -> str:
    """The remedy for a file of unknown format, by its first bytes."""
    with path.open("rb") as stream:
        start = stream.read(348)
    if start.startswith(b"PK\x03\x04"):
        return "it is a ZIP archive: unpack it and give its content"
    if start.startswith(b"\x1f\x8b"):
        return "it is packed by gzip: name it .nii.gz if it holds a NIfTI image, otherwise unpack it"
    known = {b"n+1\0": ".nii", b"n+2\0": ".nii", b"NRRD": ".nrrd"}
    found = next((known[mark] for mark in (start[344:348], start[4:8], start[:4]) if mark in known), None)
    if found is not None:
        return f"its content is that of a {found} file: rename it to {path.name}{found}"
    return "check that it is complete, and that its name has the suffix of its format"


@contextmanager
def native_lines(messages: list[str]) -> Iterator[None]:
    """Collect the lines that libraries below ITK write to the standard error."""
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as caught:
        try:
            before = os.dup(2)
        except OSError:  # no standard error
            yield
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            caught.seek(0)
            lines = caught.read().decode(errors="replace").splitlines()
            messages += [re.sub(r"^Meta\w+: (M_)?\w+: ", "", line).strip() for line in lines if line.strip()]


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Suppress ITK's warnings."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
