"""Conversion of images of nibabel and SimpleITK to arrays with an affine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry.units import affine_from_itk
from SPRCore.typing import Affine

if TYPE_CHECKING:
    import SimpleITK

_UNITS_MM = {"meter": 1e3, "micron": 1e-3}  # of NIfTI; all other units are taken as mm


def of_nibabel(image: Any) -> tuple[np.ndarray, Affine]:
    """Return array and RAS affine of an image of nibabel with one number per voxel, without further axes of length 1.

    Values are scaled as in the header, real ones as float32.

    Raises:
        InputError: It has no affine.
    """
    array = np.asanyarray(image.dataobj)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if image.affine is None:
        raise InputError("nibabel image", got="no affine", expected="an image with an affine")
    units = image.header.get_xyzt_units()[0] if hasattr(image.header, "get_xyzt_units") else "mm"
    affine = np.diag([*3 * [_UNITS_MM.get(units, 1.0)], 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    return (array.astype(np.float32) if array.dtype.kind == "f" else array), affine


def of_itk(image: SimpleITK.Image) -> tuple[np.ndarray, Affine]:
    """Return copied values (X, Y, Z) and RAS affine of an image of SimpleITK.

    Raises:
        InputError: It is not 3-D, or has several numbers per voxel.
    """
    import SimpleITK as sitk

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        got = f"{image.GetDimension()}-D with {image.GetNumberOfComponentsPerPixel()} values per voxel"
        raise InputError("SimpleITK image", got=got, expected="a 3-D image with one number per voxel")
    array = np.array(sitk.GetArrayViewFromImage(image).transpose(2, 1, 0), order="C")
    return array, affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
