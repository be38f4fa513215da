"""Files: images, labels, displacement fields, landmarks, affine transforms and models.

Readers return RAS millimeters whatever the file holds, and raise `InputError` for all that a user can give them wrong.
Writers write a whole file or none. The names below are loaded on first use, and nibabel and SimpleITK by the first
function that needs them: the headers and places of models can be looked at without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SPRCore.io.atomic import atomic_directory, atomic_path
    from SPRCore.io.bundles import Bundle, find_bundle, list_bundles, read_bundle, read_card, write_bundle
    from SPRCore.io.cards import ModelCard
    from SPRCore.io.displacement import read_displacement, write_displacement
    from SPRCore.io.landmarks import read_landmarks, write_landmarks
    from SPRCore.io.paths import on_disk, split_frame, with_frame
    from SPRCore.io.transforms import read_affine_tfm, write_affine_tfm
    from SPRCore.io.user_input import (
        AnnotationsLike,
        PointsLike,
        VolumeLike,
        as_annotations,
        as_labels,
        as_mask,
        as_pair,
        as_points,
        as_volume,
    )
    from SPRCore.io.volumes import count_frames, read_labels, read_volume, write_volume

_HOME = {
    "AnnotationsLike": "user_input",
    "Bundle": "bundles",
    "ModelCard": "cards",
    "PointsLike": "user_input",
    "VolumeLike": "user_input",
    "as_annotations": "user_input",
    "as_labels": "user_input",
    "as_mask": "user_input",
    "as_pair": "user_input",
    "as_points": "user_input",
    "as_volume": "user_input",
    "atomic_directory": "atomic",
    "atomic_path": "atomic",
    "count_frames": "volumes",
    "find_bundle": "bundles",
    "list_bundles": "bundles",
    "on_disk": "paths",
    "read_affine_tfm": "transforms",
    "read_bundle": "bundles",
    "read_card": "bundles",
    "read_displacement": "displacement",
    "read_labels": "volumes",
    "read_landmarks": "landmarks",
    "read_volume": "volumes",
    "split_frame": "paths",
    "with_frame": "paths",
    "write_affine_tfm": "transforms",
    "write_bundle": "bundles",
    "write_displacement": "displacement",
    "write_landmarks": "landmarks",
    "write_volume": "volumes",
}

__all__ = [
    "AnnotationsLike",
    "Bundle",
    "ModelCard",
    "PointsLike",
    "VolumeLike",
    "as_annotations",
    "as_labels",
    "as_mask",
    "as_pair",
    "as_points",
    "as_volume",
    "atomic_directory",
    "atomic_path",
    "count_frames",
    "find_bundle",
    "list_bundles",
    "on_disk",
    "read_affine_tfm",
    "read_bundle",
    "read_card",
    "read_displacement",
    "read_labels",
    "read_landmarks",
    "read_volume",
    "split_frame",
    "with_frame",
    "write_affine_tfm",
    "write_bundle",
    "write_displacement",
    "write_landmarks",
    "write_volume",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
