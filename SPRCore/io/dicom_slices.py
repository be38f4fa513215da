"""One record for each slice of DICOM files, read from their headers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.io.paths import reason_of

_SUFFIXES = ("", ".dcm", ".dicom", ".ima", ".img")
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_MAP_MACRO = "PixelValueTransformationSequence"
_ORDER = (
    # Attributes that distinguish the frames of a 4-D series, in order of priority, and their macro in enhanced files.
    ("TemporalPositionIdentifier", ""),
    ("TemporalPositionIndex", "FrameContentSequence"),
    ("EchoNumbers", ""),
    ("EchoTime", ""),
    ("EffectiveEchoTime", "MREchoSequence"),
    ("DiffusionBValue", ""),
    ("DiffusionBValue", "MRDiffusionSequence"),
    ("TriggerTime", ""),
    ("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence"),
    ("AcquisitionNumber", ""),
    ("FrameAcquisitionNumber", "FrameContentSequence"),
    ("AcquisitionTime", ""),
    ("FrameReferenceDateTime", "FrameContentSequence"),
    ("FrameAcquisitionDateTime", "FrameContentSequence"),
    ("ContentTime", ""),
)


@dataclass(frozen=True)
class DicomSlice:
    """One slice of an image, geometry in LPS mm.

    Args:
        file: Where its pixels are.
        index: Which frame of the file, None if the file holds one slice.
        series: Series instance UID; never shown, since it identifies the patient.
        number: Series number.
        modality: CT, MR, PT, ...
        uid: SOP instance UID.
        size: Rows and columns.
        position: Center of the first pixel, 3 numbers, or None.
        axes: Unit vectors along a row and down a column, shape (2, 3), or None.
        spacing: Distance between rows and between columns, or None.
        thickness: Distance to the next slice by the header, or thickness, or 0.
        scaling: Slope and intercept of the stored values.
        kind: Values of ImageType.
        order: Sort key of slices at one position: times, echoes, instance number.
    """

    file: Path
    index: int | None
    series: str
    number: str
    modality: str
    uid: str
    size: tuple[int, int]
    position: np.ndarray | None = field(repr=False)
    axes: np.ndarray | None = field(repr=False)
    spacing: tuple[float, float] | None
    thickness: float
    scaling: tuple[float, float]
    kind: tuple[str, ...]
    order: tuple[Any, ...] = field(repr=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress pydicom's warnings."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextmanager
def headers_of(path: Path) -> Iterator[None]:
    """Convert errors of pydicom about invalid headers to `InputError`, and suppress its warnings."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except Exception as error:  # values are parsed on access, and may raise anything
        got = f"a DICOM header that cannot be read ({reason_of(error)})"
        raise InputError(str(path), got=got, expected="a whole one", remedy="export the series again") from error


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its preamble, or by its content where the suffix allows it."""
    with path.open("rb") as stream:
        if stream.read(132)[128:] == b"DICM":
            return True
    known = path.suffix.lower() in _SUFFIXES or path.suffix[1:].isdigit()
    return known and read_header(path) is not None


def read_header(path: Path) -> Any:
    """Read a DICOM header without pixels; None if the file is not DICOM, or a DICOMDIR.

    Raises:
        InputError: The file is DICOM, but damaged or empty.
    """
    import pydicom

    with quiet():
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if "SOPClassUID" not in header and "DirectoryRecordSequence" not in header:
                raise damaged(path)
        except InputError:
            raise
        except pydicom.errors.InvalidDicomError:
            header = _without_mark(path)
        except OSError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise damaged(path) from error
    if header is None and path.suffix.lower() in _SUFFIXES[1:4] and path.stat().st_size == 0:
        raise damaged(path)
    return None if header is None or "SOPClassUID" not in header or "DirectoryRecordSequence" in header else header


def damaged(path: Path) -> InputError:
    """Return the error about a DICOM file that cannot be read."""
    remedy = "copy or export the series again"
    return InputError(str(path), got="a damaged DICOM file", expected="a whole one", remedy=remedy)


def slices_of(path: Path, header: Any) -> list[DicomSlice]:
    """Return the records of all slices of a file with a header; none if it holds no image.

    Raises:
        InputError: A pixel is not a single real number, or the header contradicts itself.
    """
    if "Rows" not in header or "Columns" not in header:
        return []
    with headers_of(path):
        _check_kind(path, header)
        count = frame_count(header)
        if "PerFrameFunctionalGroupsSequence" in header:
            return _enhanced(path, header, count)
        return _stacked(path, header, count) if count > 1 else [_record(path, None, header, [header])]


def frame_count(header: Any) -> int:
    """Return the number of slices of a file by its header; 1 without a valid number."""
    text = str(header.get("NumberOfFrames") or 1)
    return int(text) if text.isdigit() else 1


def _without_mark(path: Path) -> Any:
    """Read a header without preamble, as written by old scanners."""
    import pydicom

    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] not in (b"\x02\0", b"\x08\0") or start[3:4] not in (b"\0", b"\x01"):
        return None  # a header begins with group 2 or 8; pydicom would walk through any other file to its end
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        return header if "SOPInstanceUID" in header and "Rows" in header else None
    except Exception:  # arbitrary bytes
        return None


def _check_kind(path: Path, header: Any) -> None:
    expected = "one real number per pixel"
    if header.get("SOPClassUID") == _SEGMENTATION:
        remedy = "export the segmentation as a label map (NIfTI or NRRD)"
        raise InputError(str(path), got="a DICOM segmentation object", expected="an image", remedy=remedy)
    colors = str(header.get("PhotometricInterpretation", ""))
    if int(header.get("SamplesPerPixel", 1) or 1) != 1 or colors.startswith(("RGB", "YBR", "PALETTE")):
        remedy = "give the series that was acquired, not a screenshot or colored result of it"
        raise InputError(str(path), got=f"DICOM pixels in colors ({colors})", expected=expected, remedy=remedy)
    if "MOSAIC" in (header.get("ImageType") or ()):
        remedy = "convert the series, for example with dcm2niix"
        got = "a Siemens mosaic: a volume tiled in one slice"
        raise InputError(str(path), got=got, expected="slices", remedy=remedy)


def _enhanced(path: Path, header: Any, count: int) -> list[DicomSlice]:
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = header.PerFrameFunctionalGroupsSequence
    if len(frames) != count:
        got = f"{count} frames and what belongs to {len(frames)}"
        raise InputError(str(path), got=got, expected="as many of each", remedy="export the series again")
    groups = [[group for group in (frame, shared) if group is not None] for frame in frames]
    return [_record(path, index, header, group) for index, group in enumerate(groups)]


def _stacked(path: Path, header: Any, count: int) -> list[DicomSlice]:
    """Frames of nuclear medicine or of a dose, one behind the other at distances listed in the header."""
    first = _record(path, 0, header, [header, *(header.get("DetectorInformationSequence") or [])[:1]])
    offsets = [float(value) for value in header.get("GridFrameOffsetVector") or ()]
    step = float(header.get("SpacingBetweenSlices") or 0)
    if not offsets and step and "SliceVector" in header:
        offsets = [(int(number) - 1) * step for number in header.SliceVector]
    if len(offsets) != count or first.position is None or first.axes is None:
        got = f"a DICOM file of {count} frames without their positions"
        remedy = "a film in time cannot be registered; convert a volume to NIfTI first"
        raise InputError(str(path), got=got, expected="slices with positions", remedy=remedy)
    normal = np.cross(*first.axes)
    slope = (float(header.get("DoseGridScaling", first.scaling[0])), first.scaling[1])
    changes = [
        {"index": index, "position": first.position + offset * normal, "scaling": slope, "order": (*first.order, index)}
        for index, offset in enumerate(offsets)
    ]
    return [DicomSlice(**{**first.__dict__, **change}) for change in changes]


def _record(path: Path, index: int | None, header: Any, groups: list[Any]) -> DicomSlice:
    """The record of one slice; `groups` have its own attributes, in order of priority."""
    position = _numbers(_find(groups, "PlanePositionSequence", "ImagePositionPatient"), 3)
    axes = _numbers(_find(groups, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    spacing = _numbers(_find(groups, "PixelMeasuresSequence", "PixelSpacing"), 2)
    between = header.get("SpacingBetweenSlices") or _find(groups, "PixelMeasuresSequence", "SpacingBetweenSlices")
    thickness = _find(groups, "PixelMeasuresSequence", "SliceThickness")
    slope = _find(groups, _MAP_MACRO, "RescaleSlope")
    intercept = _find(groups, _MAP_MACRO, "RescaleIntercept")
    return DicomSlice(
        file=path,
        index=index,
        series=str(header.get("SeriesInstanceUID", "")),
        number=str(header.get("SeriesNumber", "") or "(none)").strip(),
        modality=str(header.get("Modality", "") or "?"),
        uid=str(header.get("SOPInstanceUID", "")),
        size=(int(header.Rows), int(header.Columns)),
        position=position,
        axes=None if axes is None else _right_angled(path, axes.reshape(2, 3)),
        spacing=None if spacing is None or spacing.min() <= 0 else (float(spacing[0]), float(spacing[1])),
        thickness=abs(float(between or thickness or 0)),
        scaling=(float(1 if slope is None else slope), float(intercept or 0)),
        kind=tuple(str(word) for word in _find(groups, "", "ImageType") or header.get("ImageType") or ()),
        order=_order(header, groups, index),
    )


def _find(groups: list[Any], macro: str, name: str) -> Any:
    """The value of an attribute in the macro of the first group that has it, or in a group itself."""
    for group in groups:
        item = (group.get(macro) or [None])[0] if macro else None
        for source in (item, group):
            if source is not None and source.get(name) is not None and source.get(name) != "":
                return source.get(name)
    return None


def _numbers(value: Any, count: int) -> np.ndarray | None:
    if value is None:
        return None
    numbers = np.array([float(number) for number in value])
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _right_angled(path: Path, axes: np.ndarray) -> np.ndarray | None:
    """Unit axes at right angles; written numbers are rounded. None where there is no orientation at all (zeros)."""
    lengths = np.linalg.norm(axes, axis=1)
    if lengths.min() < 1e-3:
        return None
    row, column = axes / lengths[:, None]
    if abs(row @ column) > 1e-2:
        got = f"an image orientation whose axes are not at right angles ({axes.ravel().tolist()})"
        raise InputError(str(path), got=got, expected="a right angle", remedy="export the series again")
    column = column - (row @ column) * row
    return np.stack([row, column / np.linalg.norm(column)])


def _order(header: Any, groups: list[Any], index: int | None) -> tuple[Any, ...]:
    values = [_find([*groups, header], macro, name) for name, macro in _ORDER]
    kind = "/".join(str(word) for word in _find(groups, "", "ImageType") or header.get("ImageType") or ())
    instance = float(header.get("InstanceNumber") or 0)
    return (*(_number(value) for value in values), kind, instance, -1 if index is None else index)


def _number(value: Any) -> float:
    """A number or a time (HHMMSS.f, with or without the date before it) as a number that sorts; 0 for nothing."""
    try:
        return float(str(value)) if value not in (None, "") else 0.0
    except ValueError:
        return 0.0
