"""What a caller gives as images, labels, landmarks and masks, as what is registered and what measures it."""

from __future__ import annotations

from SPRCore.analysis.annotations import Annotations
from SPRCore.geometry import MaskedVolume, Volume
from SPRCore.io import PointsLike, VolumeLike, as_labels, as_mask, as_points, as_volume

_WORDS = {"labels": "labels", "points": "landmarks", "mask": "mask"}


def given_pair(
    fixed: VolumeLike | MaskedVolume, moving: VolumeLike | MaskedVolume, **marks: VolumeLike | PointsLike | None
) -> tuple[MaskedVolume, MaskedVolume, Annotations]:
    """Return what was given as two images with their data and what is marked in them.

    Args:
        fixed: Fixed image; one that knows where it has data is taken as it is.
        moving: Moving image, likewise.
        marks: Volumes, arrays of points, paths or images of other libraries by the names that `Annotations` has for
            them, such as `fixed_labels`; None stands for what was not given.

    Returns:
        Fixed and moving image, and the annotations.

    Raises:
        InputError: Something is of another kind, a file cannot be read, or an image cannot be registered.
    """
    images = {"fixed": _image(fixed, "fixed image"), "moving": _image(moving, "moving image")}
    taken = {}
    for name, value in marks.items():
        side, kind = name.split("_")
        what = f"{side} {_WORDS[kind]}"
        if kind == "points":
            taken[name] = as_points(value, what, images[side].grid)
        else:
            taken[name] = (as_labels if kind == "labels" else as_mask)(value, what)
    marked = Annotations(**taken)
    return (*marked.masked(*images.values()), marked)


def _image(given: VolumeLike | MaskedVolume, what: str) -> Volume | MaskedVolume:
    return given if isinstance(given, MaskedVolume) else as_volume(given, what)
