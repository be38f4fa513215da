"""DICOM: folders with a series, and files of one or many slices.

Headers are read with pydicom. Pixels come from pydicom where they are stored as they are, and from GDCM, through
SimpleITK, where they are compressed. Each slice is scaled by its own slope and intercept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.io.dicom_slices import (
    DicomSlice,
    damaged,
    frame_count,
    headers_of,
    is_dicom,
    quiet,
    read_header,
    slices_of,
)
from SPRCore.io.dicom_stacks import DicomStack, stacks_of
from SPRCore.io.paths import reason_of, warn
from SPRCore.typing import Affine

__all__ = ["DicomSeries", "is_dicom", "open_dicom"]

_MOST_FILES = 20000  # looked at below a folder that holds no image itself
_STORED = {
    "1.2.840.10008.1.2",  # implicit little endian, explicit little and big endian, deflated, run lengths
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
}
_PIXEL_MODULE = (
    "SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns BitsAllocated BitsStored HighBit "
    "PixelRepresentation LossyImageCompression PixelData"
).split()


@dataclass(frozen=True)
class DicomSeries:
    """A DICOM series, sorted into frames.

    Args:
        path: The folder or file.
        stacks: The slices of each frame.
        notes: Warnings about the choice of slices.
        labels: Whether uneven slices are interpolated by nearest neighbor.
    """

    path: Path
    stacks: tuple[DicomStack, ...]
    notes: tuple[str, ...] = ()
    labels: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis, and of frames if there are several."""
        first = self.stacks[0]
        rows, columns = first.slices[0].size
        depth = len(first.slices if first.positions is None else first.positions)
        return (columns, rows, depth, *([len(self.stacks)] if len(self.stacks) > 1 else []))

    def read(self, frame: int = 0) -> tuple[np.ndarray, Affine]:
        """Read one frame: values of shape (X, Y, Z), and the affine to RAS mm (4, 4), sheared under a tilted gantry.

        Raises:
            InputError: Pixels are damaged, or of a compression unknown to pydicom and GDCM.
        """
        stack = self.stacks[frame]
        warn(self.path, *self.notes, *filter(None, [stack.note]))
        values = _scaled(_pixels(stack.slices), stack.slices)
        if stack.positions is not None:
            if self.labels:
                return _turned(values[np.rint(stack.positions).astype(int)]), stack.affine
            low = np.minimum(stack.positions.astype(int), len(values) - 2)
            part = (stack.positions - low).astype(np.float32)[:, None, None]
            values = values[low] + (values[low + 1].astype(np.float32) - values[low]) * part
        return _turned(values), stack.affine


def open_dicom(path: Path, *, labels: bool = False) -> DicomSeries:
    """Read the headers of a DICOM folder or file and sort the slices into frames; labels are not interpolated.

    Of several series in a folder the one with most slices is read, with a warning. A folder without images is replaced
    by its only subfolder with images.

    Raises:
        InputError: It holds no DICOM images, or they do not make up volumes (see `stacks_of`).
    """
    with headers_of(path):
        return _opened(path, labels)


def _opened(path: Path, labels: bool) -> DicomSeries:
    headers = list(_headers(path)) if path.is_dir() else [(path, _header(path))]
    if path.is_dir() and not any("Rows" in header for _, header in headers):
        inner = _only_folder_below(path, headers)
        note = f"holds no DICOM images itself; those in {inner.relative_to(path)} are read"
        series = _opened(inner, labels)
        return replace(series, path=path, notes=(note, *series.notes))
    notes: list[str] = []
    chosen = _largest_series(path, headers, notes)
    slices = [piece for file, header in chosen for piece in slices_of(file, header)]
    if not slices:
        raise InputError(
            str(path),
            got=f"a DICOM file without pixels ({headers[0][1].get('Modality', 'no modality')})",
            expected="an image",
            remedy="give the series of images that it belongs to",
        )
    stacks = tuple(stacks_of(path, slices, notes))
    if not path.is_dir() and len(slices) == 1:
        notes.append("is a single slice; for the whole series give its folder")
    return DicomSeries(path, stacks, tuple(notes), labels)


def _header(file: Path) -> Any:
    header = read_header(file)
    if header is None:
        remedy = "give the folder of one series"
        raise InputError(str(file), got="a DICOM file that lists others (DICOMDIR)", expected="images", remedy=remedy)
    return header


def _headers(folder: Path) -> Iterator[tuple[Path, Any]]:
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            header = read_header(file)
            if header is not None:
                yield file, header


def _only_folder_below(folder: Path, headers: Sequence[tuple[Path, Any]]) -> Path:
    """The only subfolder with DICOM images (`InputError` otherwise)."""
    files = (file for _, file in zip(range(_MOST_FILES), sorted(folder.rglob("*")), strict=False) if file.is_file())
    found: list[Path] = []
    for subfolder, group in groupby(files, key=lambda file: file.parent):
        if subfolder not in (folder, *found):
            header = next((head for head in map(read_header, group) if head is not None and "Rows" in head), None)
            found += [subfolder] if header is not None else []
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join([*(str(each.relative_to(folder)) for each in found[:5]), *["..."] * (len(found) > 5)])
        got = f"a folder whose DICOM images are in {len(found)} folders below it ({names})"
        raise InputError(str(folder), got=got, expected="the folder of one series", remedy="give one of them")
    kinds = sorted({str(header.get("Modality", "")) for _, header in headers} - {""})
    got = "a folder without DICOM images" + (f", only {', '.join(kinds)}" if kinds else "")
    remedy = "give an image file, or the folder that holds the slices themselves"
    raise InputError(str(folder), got=got, expected="an image or a DICOM folder", remedy=remedy)


def _largest_series(path: Path, headers: Sequence[tuple[Path, Any]], notes: list[str]) -> list[tuple[Path, Any]]:
    series: dict[str, list[tuple[Path, Any]]] = {}
    kinds = {header.get("SOPClassUID") for _, header in headers if "Rows" in header}
    for file, header in headers:
        if "Rows" not in header and header.get("SOPClassUID") in kinds:
            raise damaged(file)  # cut within its header
        if not path.is_dir() or "Rows" in header:
            series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((file, header))
    sizes = {uid: sum(frame_count(head) for _, head in group) for uid, group in series.items()}
    ranked = sorted(series, key=lambda uid: (-sizes[uid], _series_number(series[uid][0][1])))
    if len(ranked) > 1:
        first, *others = (f"{_series_number(series[uid][0][1])} ({sizes[uid]} slices)" for uid in ranked)
        notes.append(
            f"holds {len(ranked)} DICOM series; reading series number {first}, the largest; "
            f"for another ({', '.join(others)}) give it a folder of its own"
        )
    return series[ranked[0]]


def _series_number(header: Any) -> str:
    """The series number; UIDs and descriptions may identify the patient."""
    return str(header.get("SeriesNumber", "") or "(none)").strip()


def _turned(values: np.ndarray) -> np.ndarray:
    """Values (Z, rows, columns) as (X, Y, Z), in C order."""
    return np.ascontiguousarray(values.transpose(2, 1, 0))


def _pixels(slices: Sequence[DicomSlice]) -> Iterator[tuple[int, np.ndarray]]:
    """Number and stored values (rows, columns) of each slice, each file read once."""
    wanted: dict[Path, list[int]] = {}
    for k, piece in enumerate(slices):
        wanted.setdefault(piece.file, []).append(k)
    for file, numbers in wanted.items():
        values = _decoded(file)
        for k in numbers:
            plane = values if values.ndim == 2 else values[slices[k].index or 0]
            if plane.shape != slices[k].size:
                got = f"pixels of shape {plane.shape}"
                raise InputError(str(file), got=got, expected=f"{slices[k].size}", remedy="export the series again")
            yield k, plane


def _decoded(file: Path) -> np.ndarray:
    import pydicom

    try:
        with quiet():
            dataset = pydicom.dcmread(file, force=True)
            if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                raise ValueError("the file ends before them")
            syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
            if syntax is None:
                dataset.file_meta = pydicom.dataset.FileMetaDataset()
                dataset.file_meta.TransferSyntaxUID = syntax = pydicom.uid.ImplicitVRLittleEndian
            return dataset.pixel_array if syntax in _STORED else _by_gdcm(dataset)
    except Exception as error:  # pydicom and GDCM raise whatever damaged bytes lead to
        got = f"DICOM pixels that cannot be read ({reason_of(error)})"
        remedy = "export the series again, uncompressed if that can be chosen"
        raise InputError(str(file), got=got, expected="a whole slice", remedy=remedy) from error


def _by_gdcm(dataset: Any) -> np.ndarray:
    """Decode compressed pixels: a file of nothing else, so that GDCM applies no scale."""
    import pydicom
    import SimpleITK as sitk

    from SPRCore.io.itk import first_clause, native_lines, quiet_itk

    bare = pydicom.dataset.Dataset()
    for name in _PIXEL_MODULE:
        if name in dataset:
            setattr(bare, name, dataset[name].value)
    bare["PixelData"] = dataset["PixelData"]
    bare.SOPClassUID, bare.SOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    bare.file_meta = dataset.file_meta
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.dcm"
        pydicom.dcmwrite(path, bare, enforce_file_format=True)
        messages: list[str] = []
        try:
            with quiet_itk(), native_lines(messages):
                image = sitk.ReadImage(str(path))
            values = sitk.GetArrayFromImage(image)
        except RuntimeError as error:
            reasons = [*messages, first_clause(error).replace(str(path), "its pixels")]
            raise ValueError(reasons[0]) from None
    if corrupt := [line for line in messages if line.startswith("Corrupt")]:
        raise ValueError(corrupt[0])
    return values[0] if values.ndim == 3 and values.shape[0] == 1 else values


def _scaled(planes: Iterator[tuple[int, np.ndarray]], slices: Sequence[DicomSlice]) -> np.ndarray:
    """Stack slices (Z, rows, columns), each by its own slope and intercept; whole numbers stay integers."""
    scaling = np.array([piece.scaling for piece in slices])
    whole = bool((scaling[:, 0] == 1).all() and (scaling[:, 1] == np.rint(scaling[:, 1])).all())
    result = np.zeros(0)
    for k, plane in planes:
        if plane.dtype.kind in "iu" and whole:
            values = _shifted(plane, int(scaling[k, 1]))
        else:
            values = (plane * scaling[k, 0] + scaling[k, 1]).astype(np.float32)
        if not result.size:
            result = np.zeros((len(slices), *slices[0].size), values.dtype)
        result = result.astype(np.promote_types(result.dtype, values.dtype), copy=False)
        result[k] = values
    return result


def _shifted(plane: np.ndarray, by: int) -> np.ndarray:
    """Integers plus an offset, in the smallest type of 16 or more bits that holds the sum."""
    if not by:
        return plane.astype(plane.dtype.newbyteorder("="), copy=False)
    sums = plane.astype(np.int64) + by
    smallest = np.result_type(*map(np.min_scalar_type, (sums.min(), sums.max())))
    return sums.astype(np.promote_types(np.int16, smallest))
