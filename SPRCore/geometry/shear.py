"""Grids whose axes are not at right angles, and their resampling to grids that ITK and 3D Slicer support.

A tilted gantry, or an affine map that was written into a header, gives a sheared grid. ITK's NIfTI reader refuses it
and 3D Slicer's views ignore the shear, so images are resampled once, when they are read.
"""

from __future__ import annotations

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry.resampling import resample
from SPRCore.geometry.units import ras_to_voxel, spacing_of, voxel_to_ras
from SPRCore.geometry.volume import Grid, Volume
from SPRCore.typing import Affine

TOLERANCE = 1e-4
"""Largest cosine between axes at right angles: that of ITK's NIfTI reader, 0.1 mm along 1 m."""
_FLATTEST = 0.1  # volume of a voxel over that of its box, two axes 6 degrees apart: a damaged header, no tilt


def is_sheared(affine: Affine) -> bool:
    """Return whether ITK would refuse an affine: `R Rᵀ` of its unit axes R is off the identity by over `TOLERANCE`."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes @ axes.T - np.eye(3)).max() > TOLERANCE)


def orthogonal_grid(grid: Grid) -> Grid:
    """Return a grid with axes at right angles that covers every voxel of a sheared one.

    The two axes nearest to a right angle keep their direction (the plane of the slices with a tilted gantry), the third
    becomes their normal. Spacing and handedness are kept, and a voxel center coincides with the first of the old ones.

    Raises:
        InputError: The axes are almost in one plane.
    """
    spacing = np.array(spacing_of(grid.affine))
    if abs(np.linalg.det(grid.affine[:3, :3] / spacing)) < _FLATTEST:
        got = f"axes {grid.affine[:3, :3].tolist()}"
        raise InputError("affine", got=got, expected="axes nearer to right angles", remedy="check its orientation")
    axes = _right_angled(grid.affine[:3, :3] / spacing)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * spacing, grid.affine[:3, 3]
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * np.array(grid.shape) - 0.5
    outer = ras_to_voxel(voxel_to_ras(corners, grid.affine), affine)
    first = np.floor(outer.min(axis=0) + 0.5 + 1e-6)
    last = np.ceil(outer.max(axis=0) - 0.5 - 1e-6)
    shape = tuple(int(size) for size in last - first + 1)
    affine[:3, 3] = voxel_to_ras(first, affine)
    return Grid(shape, affine)


def orthogonal(volume: Volume, *, labels: bool = False) -> Volume:
    """Resample a volume on a sheared grid to `orthogonal_grid`; others are returned unchanged.

    Labels take the nearest voxel and keep the type, images are interpolated linearly in float32. Outside the old field
    of view the value is the minimum of the image, or 0 for labels.
    """
    if not is_sheared(volume.affine):
        return volume
    grid = orthogonal_grid(volume.grid)
    if labels:
        return resample(volume, grid, labels=True)
    known = volume.array[np.isfinite(volume.array)] if volume.array.dtype.kind == "f" else volume.array
    lowest, highest = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    result = resample(volume, grid, outside=lowest)
    # Rounding must not give values below that of the outside, which means "no data".
    return result.with_array(np.clip(result.array, lowest, highest, out=result.array))


def _right_angled(axes: np.ndarray) -> np.ndarray:
    """Return orthonormal axes near three unit columns: two of them made perpendicular, and their normal."""
    cosines = {(a, b): abs(float(axes[:, a] @ axes[:, b])) for a, b in ((0, 1), (0, 2), (1, 2))}
    first, second = min(cosines, key=lambda pair: (round(cosines[pair], 6), pair))
    third = 3 - first - second
    result = axes.copy()
    result[:, second] -= (axes[:, first] @ axes[:, second]) * axes[:, first]
    result[:, second] /= np.linalg.norm(result[:, second])
    normal = np.cross(result[:, first], result[:, second])
    result[:, third] = normal * np.sign(normal @ axes[:, third])
    return result
