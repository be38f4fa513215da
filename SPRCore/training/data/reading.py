"""Reading and checks of image, labels and landmarks of a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Volume, voxel_to_ras
from SPRCore.geometry.orientation import axes_affine
from SPRCore.io import read_labels, read_landmarks, read_volume, with_frame
from SPRCore.registration.prealign import overlap_fraction
from SPRCore.training.data.cases import Case
from SPRCore.training.data.pickles import read_arrays


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """Image, labels, landmarks and second channel of a case.

    Attributes:
        image: Intensities.
        labels: Labels on the same grid, or None.
        points_mm: Landmarks in RAS mm, shape (N, 3), or None.
        channel: Second channel on any grid, or None.
    """

    image: Volume
    labels: Volume | None = None
    points_mm: np.ndarray | None = None
    channel: Volume | None = None


def read_case(case: Case, *, trust_voxels: bool = False) -> Images:
    """Read the files of a case; `trust_voxels` ignores the header of the labels.

    Raises:
        InputError: A file is missing or damaged, has non-finite values or no label; labels differ from their image in
            shape or header; a second channel does not overlap its image. The message begins with the file.
    """
    image = _read_image(case.image, case.frame, case.axes)
    labels = None
    if case.labels is not None:
        labels = _read(case.labels, case.label_frame, case.axes, labels=True)
        if labels.shape != image.shape:
            got, expected = f"labels of shape {labels.shape}", f"{image.shape} as its image {case.image.name}"
            raise InputError(str(case.labels), got=got, expected=expected)
        if not trust_voxels:
            _check_header(labels, image, case)
        if not labels.array.any():
            raise InputError(str(case.labels), got="no label but 0", expected="labels", remedy="segment it")
        labels = Volume(_exchanged(labels.array, case.exchange), image.affine)
    points = None if case.points is None else _read_points(case.points, image)
    channel = None if case.channel is None else _read_image(case.channel, None, case.axes)
    if channel is not None and overlap_fraction(image.grid, channel.grid) == 0:
        got, expected = "no overlap with its image", f"another image in the position of {case.image.name}"
        raise InputError(str(case.channel), got=got, expected=expected)
    return Images(image=image, labels=labels, points_mm=points, channel=channel)


def _read_image(path: Path, frame: int | None, axes: str) -> Volume:
    image = _read(path, frame, axes, labels=False)
    if not np.isfinite(image.array).all():
        raise InputError(str(path), got="non-finite values", expected="finite values")
    return image


def _read(path: Path, frame: int | None, axes: str, *, labels: bool) -> Volume:
    if path.suffix == ".pkl":
        return _from_pickle(path, axes, labels=labels)
    source = path if frame is None else with_frame(path, frame)
    return read_labels(source) if labels else read_volume(source)


def _check_header(labels: Volume, image: Volume, case: Case) -> None:
    """Refuse labels that their header places beside the anatomy, or mirrored."""
    if not labels.grid.matches(image.grid, tolerance_mm=0.5 * min(image.spacing)):
        got = "another position or orientation in its header than the image"
        remedy = "fix the header, or --set data.trust_voxels=true to go by voxels"
        raise InputError(str(case.labels), got=got, expected=f"that of {case.image.name}", remedy=remedy)


def _exchanged(labels: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    result = labels.copy() if pairs else labels
    for first, second in pairs:
        result[labels == first], result[labels == second] = second, first
    return result


def _from_pickle(path: Path, axes: str, *, labels: bool) -> Volume:
    """The first array as image or the second as labels, in voxels of 1 mm, without a position in space."""
    arrays = read_arrays(path)
    if len(arrays) < 1 + labels or any(array.ndim != 3 for array in arrays[: 1 + labels]):
        got = ", ".join(str(array.shape) for array in arrays)
        raise InputError(str(path), got=f"arrays of shape {got}", expected="an image and labels of three axes")
    array = arrays[1] if labels else arrays[0]
    return Volume(_whole(array, path) if labels else array.astype(np.float32), axes_affine(axes))


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    rounded = np.rint(array)
    if not np.array_equal(rounded, array):
        raise InputError(str(path), got="labels that are not whole numbers", expected="a label map")
    return rounded.astype(np.int32)


def _read_points(path: Path, image: Volume) -> np.ndarray:
    """Landmarks in RAS mm; a CSV without header is in voxels, as in Learn2Reg."""
    if path.suffix == ".csv" and path.is_file() and path.stat().st_size < 2**26:
        first = path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
        if first and not any(letter.isalpha() for letter in first.lower().replace("e", "")):
            return voxel_to_ras(_read_numbers(path), image.affine)
    return read_landmarks(path)


def _read_numbers(path: Path) -> np.ndarray:
    try:
        points = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError:
        points = np.empty((0, 0))
    if points.shape[1:] != (3,) or not np.isfinite(points).all():
        raise InputError(str(path), got="other lines than x,y,z", expected="three numbers a line")
    return points
