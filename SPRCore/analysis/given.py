"""What a caller gives as labels, landmarks and masks, as what measures and rules a registration."""

from __future__ import annotations

from SPRCore.analysis.annotations import Annotations
from SPRCore.geometry import Volume
from SPRCore.io import PointsLike, VolumeLike, as_labels, as_mask, as_points

_WORDS = {"labels": "labels", "points": "landmarks", "mask": "mask"}


def annotations_of(fixed: Volume, moving: Volume, **given: VolumeLike | PointsLike | None) -> Annotations:
    """Return what was given as annotations.

    Args:
        fixed: Fixed image.
        moving: Moving image.
        given: Volumes, arrays of points, paths or images of other libraries by the names that `Annotations` has for
            them, such as `fixed_labels`; None stands for what was not given.

    Returns:
        The annotations.

    Raises:
        InputError: Something is of another kind, or a file cannot be read.
    """
    grids, taken = {"fixed": fixed.grid, "moving": moving.grid}, {}
    for name, value in given.items():
        side, kind = name.split("_")
        what = f"{side} {_WORDS[kind]}"
        if kind == "points":
            taken[name] = as_points(value, what, grids[side])
        else:
            taken[name] = (as_labels if kind == "labels" else as_mask)(value, what)
    return Annotations(**taken)
