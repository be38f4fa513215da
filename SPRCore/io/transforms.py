"""Affine transforms on disk, in ITK's text form."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import flip_map_lps_ras
from SPRCore.io.atomic import atomic_path
from SPRCore.io.itk import first_clause
from SPRCore.io.paths import check_exists
from SPRCore.typing import Affine


def write_affine_tfm(affine_ras: Affine, path: str | Path) -> None:
    """Write an affine map as ITK's `AffineTransform_double_3_3`, atomically.

    Args:
        affine_ras: Pull map from fixed to moving RAS mm, shape (4, 4). The file holds it in LPS, still from fixed to
            moving points: the direction in which ITK resamples and 3D Slicer reads it.
        path: File to write, `.tfm` or `.txt`.

    Raises:
        OutputError: The file could not be written.
    """
    affine_lps = flip_map_lps_ras(np.asarray(affine_ras, dtype=np.float64))
    numbers = [*affine_lps[:3, :3].ravel().tolist(), *affine_lps[:3, 3].tolist()]
    # Not by SimpleITK.WriteTransform, which silently leaves an empty file on a full disk.
    with atomic_path(path) as partial:
        partial.write_text(
            "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
            f"Parameters: {' '.join(map(repr, numbers))}\nFixedParameters: 0 0 0\n",
            encoding="ascii",
        )


def read_affine_tfm(path: str | Path) -> Affine:
    """Read a linear transform that ITK wrote: affine, rigid, similarity or a chain of them.

    Args:
        path: `.tfm`, `.txt`, `.mat` or `.h5` file.

    Returns:
        Pull map from fixed to moving RAS mm, shape (4, 4), float64.

    Raises:
        InputError: The file is missing or unreadable, or its transform is not a linear one of 3-D space.
    """
    import SimpleITK as sitk

    path = Path(path)
    check_exists(path)
    expected = "a linear 3-D transform in ITK's form"
    try:
        if _is_cut_short(path):
            raise InputError(str(path), got="a file that ends within a transform", expected=expected)
        transform = sitk.ReadTransform(str(path))
    except (RuntimeError, OSError) as error:
        got = f"a file that cannot be read ({first_clause(error)})"
        raise InputError(str(path), got=got, expected=expected) from error
    if transform.GetDimension() != 3 or not transform.IsLinear():
        raise InputError(str(path), got=f"a {transform.GetDimension()}-D {transform.GetName()}", expected=expected)
    affine_lps = np.eye(4)
    affine_lps[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    axes = [transform.TransformVector(axis, (0.0, 0.0, 0.0)) for axis in np.eye(3).tolist()]
    affine_lps[:3, :3] = np.transpose(axes)
    return flip_map_lps_ras(affine_lps)


def _is_cut_short(path: Path) -> bool:
    """Whether a text file ends within a transform; ITK would replace the missing values by the identity."""
    if path.suffix.lower() not in (".tfm", ".txt"):
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kinds = [line for line in lines if line.startswith("Transform:") and "Composite" not in line]
    return sum(line.startswith("FixedParameters:") for line in lines) < len(kinds)
