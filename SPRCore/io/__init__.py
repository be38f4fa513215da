"""Files: images, labels, displacement fields, landmarks, affine transforms and models.

Readers return RAS millimeters for any file, and raise `InputError` for bad input. Writers are atomic. The names below
are loaded on first use, and nibabel and SimpleITK by the first function that needs them: model headers and folders can
be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from SPRCore.lazy import lazy_names

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
        VolumeLike,
        as_pair,
        as_volume,
    )
    from SPRCore.io.volumes import count_frames, read_labels, read_volume, write_volume

__all__ = [
    "AnnotationsLike",
    "Bundle",
    "ModelCard",
    "VolumeLike",
    "as_pair",
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "user_input": (
            "AnnotationsLike",
            "VolumeLike",
            "as_pair",
            "as_volume",
        ),
        "bundles": ("Bundle", "find_bundle", "list_bundles", "read_bundle", "read_card", "write_bundle"),
        "cards": ("ModelCard",),
        "atomic": ("atomic_directory", "atomic_path"),
        "volumes": ("count_frames", "read_labels", "read_volume", "write_volume"),
        "paths": ("on_disk", "split_frame", "with_frame"),
        "transforms": ("read_affine_tfm", "write_affine_tfm"),
        "displacement": ("read_displacement", "write_displacement"),
        "landmarks": ("read_landmarks", "write_landmarks"),
    },
)
