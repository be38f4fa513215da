"""Conversions between voxels, millimeters, RAS and LPS; no other module has them.

World coordinates in SPRCore are RAS millimeters (x to the Right, y Anterior, z Superior), as in NIfTI and 3D Slicer.
ITK and DICOM use LPS, with the opposite sign of x and y. An *affine* is a (4, 4) float64 matrix that maps a voxel index
(i, j, k), counted from 0 at the center of the first voxel, to RAS millimeters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.typing import Affine

_TURN = np.array([-1.0, -1.0, 1.0])


def transform_points(points: np.ndarray, matrix: Affine) -> np.ndarray:
    """Map points, shape (..., 3), through a homogeneous matrix (4, 4): `R p + t`, float64."""
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def voxel_to_ras(points_vox: np.ndarray, affine: Affine) -> np.ndarray:
    """Convert continuous voxel indices (..., 3) of the grid with `affine` to RAS millimeters (..., 3)."""
    return transform_points(points_vox, affine)


def ras_to_voxel(points_mm: np.ndarray, affine: Affine) -> np.ndarray:
    """Convert RAS millimeters (..., 3) to continuous voxel indices (..., 3) of the grid with `affine`."""
    return transform_points(points_mm, np.linalg.inv(affine))


def flip_lps_ras(vectors: np.ndarray) -> np.ndarray:
    """Convert points or displacements (..., 3) from LPS to RAS or back; it is its own inverse."""
    return np.asarray(vectors) * _TURN.astype(np.asarray(vectors).dtype)


def flip_map_lps_ras(matrix: Affine) -> Affine:
    """Convert a world-to-world matrix (4, 4) from LPS to RAS or back: `F M F` with `F = diag(-1, -1, 1, 1)`."""
    turn = np.append(_TURN, 1.0)
    return turn[:, None] * matrix * turn


def displacement_vox_to_mm(displacement_vox: np.ndarray, affine: Affine) -> np.ndarray:
    """Convert displacements in voxels along the grid's axes (..., 3) to RAS millimeters (..., 3), dtype kept."""
    return displacement_vox @ affine[:3, :3].T.astype(displacement_vox.dtype)


def displacement_mm_to_vox(displacement_mm: np.ndarray, affine: Affine) -> np.ndarray:
    """Convert displacements in RAS millimeters (..., 3) to voxels along the grid's axes (..., 3), dtype kept."""
    return displacement_mm @ np.linalg.inv(affine)[:3, :3].T.astype(displacement_mm.dtype)


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Return the distance in millimeters between neighbors along each of the three axes: the column norms."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def affine_to_itk(affine: Affine) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Split a RAS affine into ITK's spacing (mm), origin (LPS mm) and direction (9 numbers by rows, LPS)."""
    spacing = spacing_of(affine)
    direction = _TURN[:, None] * affine[:3, :3] / np.asarray(spacing)
    return spacing, tuple((_TURN * affine[:3, 3]).tolist()), tuple(direction.ravel().tolist())


def affine_from_itk(spacing: Sequence[float], origin: Sequence[float], direction: Sequence[float]) -> Affine:
    """Build a RAS affine, (4, 4), float64, from ITK's geometry, the inverse of `affine_to_itk`."""
    affine = np.eye(4)
    affine[:3, :3] = _TURN[:, None] * np.reshape(direction, (3, 3)) * np.asarray(spacing)
    affine[:3, 3] = _TURN * np.asarray(origin)
    return affine
