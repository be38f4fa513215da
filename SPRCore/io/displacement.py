"""Displacement fields on disk.

Files hold the pull displacement from fixed to moving points in millimeters, as 3D Slicer and ITK read it:

* NIfTI, 5-D (X, Y, Z, 1, 3), intent 1006 (displacement vector): components in RAS. ITK 5.4 turns them to LPS by itself.
* NIfTI with intent 1007 (vector), as ANTs writes it: components in LPS. Read, never written.
* NRRD and MetaImage with three values per voxel: components in LPS.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Field, flip_lps_ras, is_sheared
from SPRCore.io import itk, nifti
from SPRCore.io.paths import check_exists, named, on_disk
from SPRCore.io.volumes import check_suffix, check_upright
from SPRCore.typing import Affine

_DISPLACEMENT_VECTOR, _VECTOR = 1006, 1007


def read_displacement(path: str | Path) -> Field:
    """Read a displacement field.

    Args:
        path: A NIfTI file of intent 1006 (RAS) or 1007 (LPS), or an NRRD or MetaImage file with vectors (LPS).

    Returns:
        The pull displacement in RAS mm.

    Raises:
        InputError: The file is missing, unreadable or damaged, holds no 3-D field of three real numbers per voxel, or
            a number that is NaN or infinite.
    """
    path = Path(path)
    check_exists(path)
    if on_disk(path) != path:
        raise InputError(str(path), got="a frame", expected="a file", remedy="a displacement field has no frames")
    array, affine = _read_nifti_ras(path) if nifti.is_nifti(path) else _read_itk_ras(path)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype.kind != "f":
        got = f"an image of shape {array.shape} and type {array.dtype}"
        raise InputError(str(path), got=got, expected="a displacement field: three real numbers per voxel")
    if not np.isfinite(array).all():
        raise InputError(str(path), got="NaN or infinite displacements", expected="finite numbers")
    with named(path):
        field = Field(array, affine)
        if is_sheared(field.affine):
            raise InputError(
                "displacement field",
                got="a grid whose axes are not at right angles",
                expected="one that ITK and 3D Slicer can open",
                remedy="register again to a fixed image at right angles",
            )
        return field


def write_displacement(field: Field, path: str | Path) -> None:
    """Write a displacement field atomically.

    Args:
        field: Pull displacement in RAS mm.
        path: File to write: `.nii`, `.nii.gz` (intent 1006, RAS), `.nrrd`, `.mha` or `.mhd` (LPS).

    Raises:
        InputError: The suffix is none of these, or the grid is sheared.
        OutputError: The file could not be written.
    """
    path = Path(path)
    check_suffix(path)
    check_upright(field.affine, path)
    if nifti.is_nifti(path):
        nifti.write_nifti(field.array[:, :, :, None, :], field.affine, path, intent=_DISPLACEMENT_VECTOR)
    else:
        itk.write_itk(flip_lps_ras(field.array), field.affine, path)


def _read_nifti_ras(path: Path) -> tuple[np.ndarray, Affine]:
    file = nifti.open_nifti(path)
    array, affine, intent = file.values(), file.affine, file.intent
    if intent not in (_DISPLACEMENT_VECTOR, _VECTOR):
        raise InputError(
            str(path),
            got=f"NIfTI intent code {intent}",
            expected="a displacement field: intent 1006 (RAS mm) or 1007 (LPS mm)",
            remedy="give the displacement.nii.gz of a registration",
        )
    array = array[:, :, :, 0] if array.ndim == 5 and array.shape[3] == 1 else array
    return (_flipped(array) if intent == _VECTOR else array), affine


def _read_itk_ras(path: Path) -> tuple[np.ndarray, Affine]:
    array, affine = itk.open_itk(path).read()
    return _flipped(array), affine


def _flipped(array: np.ndarray) -> np.ndarray:
    """Convert vectors from LPS to RAS; arrays of another shape or type, which are refused later, stay unchanged."""
    return flip_lps_ras(array) if array.shape[-1] == 3 and array.dtype.kind == "f" else array
