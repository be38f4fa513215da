"""World coordinates of a NIfTI file, by the rules of ITK and 3D Slicer.

A header can hold two affine maps, sform and qform, and a third spacing in `pixdim`. The NIfTI standard leaves open
which of them counts. The rules of ITK (`itkNiftiImageIO.cxx`, 5.3 and later) are:

* directions and origin come from the sform if its axes are at right angles and either the qform is unknown, or the
  sform is of code 1 (scanner), or both forms agree; otherwise from the qform if there is one;
* the spacing is always that of `pixdim`;
* lengths in meters or micrometers become millimeters;
* without either form the first voxel is at the origin, and axes point left, posterior and superior.

A sheared sform without a qform, which ITK refuses, is returned unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import is_sheared, spacing_of
from SPRCore.typing import Affine

_UNIT_MM = {1: 1e3, 3: 1e-3}  # meter, micrometer; all other codes are taken as mm
_SCANNER = 1
_AS_ITK = "as ITK and 3D Slicer do"


def affine_of(header: Any, ask_itk: Callable[[], Affine | None]) -> tuple[Affine, list[str]]:
    """Return the affine of a file.

    Args:
        header: A NIfTI-1, NIfTI-2 or Analyze header of nibabel, as stored, without corrections.
        ask_itk: Reads the file's affine by ITK itself, or returns None; called only if ITK's choice depends on the
            rounding of its own singular value decomposition.

    Returns:
        Voxel index to RAS mm, shape (4, 4), perhaps sheared or unusable; and warnings for the user.

    Raises:
        InputError: The spacing is 0 or not finite.
    """
    zooms = header["pixdim"][1:4].astype(np.float64)
    qform = _qform(header) if _code(header, "qform_code") > 0 else None
    sform = _sform(header) if _code(header, "sform_code") > 0 else None
    upright = sform is not None and not _fault(sform)
    notes: list[str] = []
    if sform is not None and qform is None and not upright:
        return _scaled(sform, header), notes
    if not (np.isfinite(zooms).all() and zooms.all()):
        remedy = "set the spacing right"
        raise InputError(
            "pixdim", got=f"spacing {zooms.tolist()} mm", expected="a finite spacing above 0", remedy=remedy
        )
    if sform is None and qform is None:
        notes.append(f"has no orientation; its axes are taken as left, posterior, superior, {_AS_ITK}")
        return _scaled(_spaced(np.diag([-1.0, -1.0, 1.0, 1.0]), zooms), header), notes
    if sform is None or qform is None:
        chosen = sform if qform is None else qform
    elif not upright:
        notes.append(f"has an sform that is {_fault(sform)}; its qform is used, {_AS_ITK}")
        chosen = qform
    else:
        chosen = _one_of(sform, qform, header, ask_itk, notes)
    if chosen is sform and not np.allclose(spacing_of(sform), np.abs(zooms), rtol=1e-3, atol=1e-3):
        found = f"{_rounded(spacing_of(sform))} in its sform and {_rounded(np.abs(zooms))} in pixdim"
        notes.append(f"has spacing {found}; pixdim is used, {_AS_ITK}")
    return _scaled(_spaced(chosen, zooms), header), notes


def _one_of(
    sform: Affine, qform: Affine, header: Any, ask_itk: Callable[[], Affine | None], notes: list[str]
) -> Affine:
    """Choose between two usable forms."""
    by_sform = _code(header, "sform_code") == _SCANNER
    if np.abs(sform - qform).max() <= 1e-5:
        return sform  # the same but for rounding, and the less rounded one
    if not by_sform and _only_turned(sform, qform):
        found = ask_itk()
        placed = _spaced(sform, header["pixdim"][1:4].astype(np.float64))
        by_sform = found is not None and np.allclose(_directions(found), _directions(placed), atol=1e-3)
    if not np.allclose(sform, qform, atol=0.1):
        used = "sform" if by_sform else "qform"
        notes.append(f"has two different orientations; its {used} is used, {_AS_ITK}")
    return sform if by_sform else qform


def _only_turned(sform: Affine, qform: Affine) -> bool:
    """Whether both forms share origin and spacings: ITK then compares left singular vectors alone."""
    same_origin = np.allclose(sform[:3, 3], qform[:3, 3], atol=1e-3)
    return same_origin and np.allclose(sorted(spacing_of(sform)), sorted(spacing_of(qform)), atol=1e-3)


def _code(header: Any, name: str) -> int:
    return int(header[name]) if name in header.keys() else 0


def _sform(header: Any) -> Affine:
    rows = [header[name].astype(np.float64) for name in ("srow_x", "srow_y", "srow_z")]
    return np.vstack([*rows, [0, 0, 0, 1]])


def _qform(header: Any) -> Affine:
    """The map of a quaternion, as niftilib reads it: non-finite values are 0, lengths above 1 by rounding become 1."""
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    b, c, d, *offset = (float(header[name]) if np.isfinite(header[name]) else 0.0 for name in names)
    a = 1.0 - (b * b + c * c + d * d)
    if a < 1e-7:
        length = np.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / length, c / length, d / length
    a = np.sqrt(a)
    axes = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    zooms = header["pixdim"][:4].astype(np.float64)
    zooms = np.where(np.isfinite(zooms) & (zooms > 0), zooms, [zooms[0], 1, 1, 1])
    result = np.eye(4)
    result[:3, :3] = axes * zooms[1:] * [1, 1, -1 if zooms[0] < 0 else 1]
    result[:3, 3] = offset
    return result


def _directions(form: Affine) -> np.ndarray:
    return form[:3, :3] / np.array(spacing_of(form))


def _fault(sform: Affine) -> str:
    """Reason why ITK does not use an sform; empty if it does."""
    if not np.isfinite(sform).all():
        return "not finite"
    spacing = np.array(spacing_of(sform))
    if spacing.min() <= 0 or np.linalg.cond(sform[:3, :3]) > 1e12:
        return "zero along an axis"
    return "sheared" if is_sheared(sform) else ""


def _spaced(form: Affine, zooms: np.ndarray) -> Affine:
    """Directions and origin of a form with the spacing of pixdim, in which a negative number reverses an axis."""
    result = form.copy()
    result[:3, :3] *= zooms / np.array(spacing_of(form))
    return result


def _scaled(form: Affine, header: Any) -> Affine:
    unit = int(header["xyzt_units"]) & 7 if "xyzt_units" in header.keys() else 0
    return np.diag([*[_UNIT_MM.get(unit, 1.0)] * 3, 1.0]) @ form


def _rounded(numbers: Any) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers) + " mm"
