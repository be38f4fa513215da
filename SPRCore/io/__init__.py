"""Files: images, labels, displacement fields, landmarks, affine transforms and models.

Readers return RAS millimeters whatever the file holds, and raise `InputError` for all that a user can give them wrong.
Writers write a whole file or none. nibabel and SimpleITK are loaded by the first function that needs them.
"""

from __future__ import annotations

from SPRCore.io.atomic import atomic_directory, atomic_path
from SPRCore.io.bundles import Bundle, find_bundle, list_bundles, read_bundle, read_card, write_bundle
from SPRCore.io.cards import ModelCard
from SPRCore.io.displacement import read_displacement, write_displacement
from SPRCore.io.landmarks import read_landmarks, write_landmarks
from SPRCore.io.transforms import read_affine_tfm, write_affine_tfm
from SPRCore.io.volumes import read_labels, read_volume, write_volume

__all__ = [
    "Bundle",
    "ModelCard",
    "atomic_directory",
    "atomic_path",
    "find_bundle",
    "list_bundles",
    "read_affine_tfm",
    "read_bundle",
    "read_card",
    "read_displacement",
    "read_labels",
    "read_landmarks",
    "read_volume",
    "write_affine_tfm",
    "write_bundle",
    "write_displacement",
    "write_landmarks",
    "write_volume",
]
