"""Conversion of user input (objects, paths, images of other libraries) to volumes, landmarks and annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.geometry import Annotations, Grid, MaskedVolume, Volume
from SPRCore.io.landmarks import read_landmarks
from SPRCore.io.volumes import read_labels, read_volume, upright, whole
from SPRCore.typing import Points

VolumeLike = Volume | str | Path | Any
"""A `Volume`, the path of a file or DICOM folder, or an image of nibabel or SimpleITK."""

_PointsLike = np.ndarray | str | Path | Any
"""Points in RAS mm, shape (N, 3), as an array or nested lists, or the path of a file."""

AnnotationsLike = Annotations | Mapping[str, VolumeLike | _PointsLike | None]
"""`Annotations`, or a mapping from the names of its fields to volumes, points or paths."""

_PARTS = {"labels": "labels", "points": "landmarks", "mask": "mask", "channel": "second channel"}
_EXPECTED = "a Volume, a path, or an image of nibabel or SimpleITK"


def as_pair(
    fixed: VolumeLike | MaskedVolume, moving: VolumeLike | MaskedVolume, annotations: AnnotationsLike | None = None
) -> tuple[MaskedVolume, MaskedVolume, Annotations]:
    """Return two images with the masks of their data, and their annotations.

    A `MaskedVolume` is returned unchanged.

    Raises:
        InputError: An argument has the wrong type, a file cannot be read, or an image cannot be registered.
    """
    images = {"fixed": _image(fixed, "fixed image"), "moving": _image(moving, "moving image")}
    taken = _annotations(annotations, images["fixed"].grid, images["moving"].grid)
    return (*taken.masked(*images.values()), taken)


def _annotations(value: AnnotationsLike | None, fixed: Grid, moving: Grid) -> Annotations:
    """Return annotations whose parts may be given as paths; the grids are for landmark files in voxel indices.

    Raises:
        InputError: An unknown name, a part of the wrong type, or a file that cannot be read.
    """
    expected = "Annotations, or a dictionary such as {'fixed_labels': 'labels.nii.gz'}"
    if value is not None and not isinstance(value, (Annotations, Mapping)):
        raise InputError("annotations", got=f"a {type(value).__name__}", expected=expected)
    parts = vars(value) if isinstance(value, Annotations) else dict(value or {})
    taken = {}
    for name, part in parts.items():
        check_name(name, [field.name for field in fields(Annotations)], "annotations")
        side, kind = name.split("_")
        what = f"{side} {_PARTS[kind]}"
        if kind == "points":
            taken[name] = _points(part, what, fixed if side == "fixed" else moving)
        elif kind == "channel":
            taken[name] = None if part is None else as_volume(part, what)
        else:
            taken[name] = (_labels if kind == "labels" else _mask)(part, what)
    return Annotations(**taken)


def _image(value: VolumeLike | MaskedVolume, what: str) -> Volume | MaskedVolume:
    return value if isinstance(value, MaskedVolume) else as_volume(value, what)


def as_volume(value: VolumeLike, what: str, read: Callable[[str | Path], Volume] = read_volume) -> Volume:
    """Convert user input to a volume; booleans become uint8, and a sheared grid is resampled to right angles.

    Args:
        value: The input.
        what: Name for messages, such as "fixed image".
        read: Reader of files.

    Raises:
        InputError: It has no geometry, or is a file that cannot be read.
    """
    if isinstance(value, (str, Path)):
        volume = read(value)
    elif isinstance(value, Volume):
        volume = value
    elif hasattr(value, "dataobj") and hasattr(value, "affine"):
        volume = Volume.from_nibabel(value)
    elif type(value).__module__.split(".")[0] == "SimpleITK" and hasattr(value, "GetDirection"):
        volume = Volume.from_itk(value)
    else:
        raise _no_volume(value, what)
    if volume.array.dtype.kind == "b":
        volume = volume.with_array(volume.array.astype(np.uint8))
    return upright(volume, what, labels=read is read_labels)


def _labels(value: VolumeLike | None, what: str) -> Volume | None:
    """Convert user input to a label map of integers (up to rounding); None stays None."""
    return None if value is None else whole(as_volume(value, what, read_labels), what)


def _mask(value: VolumeLike | None, what: str) -> Volume | None:
    """Convert user input to a mask; a file must hold integers; None stays None."""
    return None if value is None else as_volume(value, what, read_labels)


def _points(value: _PointsLike | None, what: str, grid: Grid | None = None) -> Points | None:
    """Convert user input to landmarks in RAS mm, shape (N, 3), float64; None stays None.

    Args:
        value: The input.
        what: Name for messages, such as "fixed landmarks".
        grid: Grid of their image, for files in voxel indices.

    Raises:
        InputError: It is not a list of triples of finite numbers, or is a file that cannot be read.
    """
    if value is None or isinstance(value, (str, Path)):
        return None if value is None else read_landmarks(value, grid=grid)
    expected = "points in RAS mm, shape (N, 3), or the path of a file"
    try:
        points = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(what, got=f"a {type(value).__name__} without such numbers", expected=expected) from None
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(what, got=f"an array of shape {points.shape}", expected=expected)
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        got = f"{bad.size} of {len(points)} points with NaN or infinity, the first at index {bad[0]}"
        raise InputError(what, got=got, expected="finite numbers", remedy="remove these points from both lists")
    return points


def _no_volume(value: Any, what: str) -> InputError:
    if value is None:
        return InputError(what, got="None", expected=_EXPECTED)
    kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
    if hasattr(value, "ndim") and hasattr(value, "shape"):
        remedy = "use Volume(array, affine) or Volume.from_array(array, spacing=(1.0, 1.0, 1.0))"
        return InputError(what, got=f"a {kind}, which has no spacing", expected=_EXPECTED, remedy=remedy)
    return InputError(what, got=f"a {kind}", expected=_EXPECTED)
