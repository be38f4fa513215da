"""Surfaces of regions as triangle meshes, by naive surface nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry.units import spacing_of, voxel_to_ras
from SPRCore.geometry.volume import Volume

SMOOTHING_VOXELS = 1.5
"""Standard deviation by which a signed distance is smoothed, in voxels of the finest axis: removes their steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Points on a surface with their normals, and the triangles between them.

    Attributes:
        points: RAS mm, shape (N, 3), float64.
        normals: Unit normals in RAS, shape (N, 3), out of the region.
        areas: Part of the surface that belongs to each point in mm², shape (N,).
        triangles: Indices of the corners, shape (M, 3), counterclockwise seen from outside; (0, 3) for points alone.
    """

    points: np.ndarray
    normals: np.ndarray
    areas: np.ndarray
    triangles: np.ndarray


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Return several surfaces as one, in their order."""
    starts = np.cumsum([0, *(len(mesh.points) for mesh in meshes)])
    parts = {name: np.concatenate([getattr(mesh, name) for mesh in meshes]) for name in ("points", "normals", "areas")}
    moved = [mesh.triangles + start for mesh, start in zip(meshes, starts[:-1], strict=True)]
    return Mesh(**parts, triangles=np.concatenate(moved))


def region_surface(region: Volume) -> Mesh:
    """Return the surface of the voxels that are not 0; where the region ends at the border of the grid it has none.

    The signed distance to the region is smoothed by `SMOOTHING_VOXELS`, and its zero level is the surface.

    Raises:
        InputError: The region is empty or has no voxel outside it.
    """
    inside = region.array != 0
    if inside.all() or not inside.any():
        raise InputError("surface of a region", got="no surface inside the grid", expected="voxels inside and outside")
    return zero_level(region.with_array(signed_distance(inside, spacing_of(region.affine))))


def signed_distance(inside: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the smoothed distance to a region in mm, shape (X, Y, Z), negative inside."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    outer, inner = (distance_transform_edt(part, sampling=spacing) for part in (~inside, inside))
    finest = min(spacing)
    return gaussian_filter(outer - inner, [SMOOTHING_VOXELS * finest / step for step in spacing])


def zero_level(level: Volume) -> Mesh:
    """Return the surface between negative and positive values, with normals toward positive ones.

    Each cube of eight voxels that the surface crosses has a point, the mean of its crossings with the edges of the
    cube; each edge that it crosses has two triangles between the points of the four cubes around.
    """
    from scipy.ndimage import map_coordinates

    values = level.array
    number = _numbered_cubes(values < 0)
    total, count, squares = np.zeros((number.max() + 1, 3)), np.zeros(number.max() + 1), []
    for axis in range(3):
        crossing, around, square = _crossings(values, number, axis)
        for cubes in around.T:
            known = cubes >= 0
            np.add.at(total, cubes[known], crossing[known])
            np.add.at(count, cubes[known], 1)
        squares.append(square)
    indices, corners = total / count[:, None], np.concatenate(squares)
    gradient = [map_coordinates(np.gradient(values, axis=axis), indices.T, order=1) for axis in range(3)]
    normals = np.stack(gradient, axis=-1) @ np.linalg.inv(level.affine[:3, :3])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    points = voxel_to_ras(indices, level.affine)
    if np.linalg.det(level.affine[:3, :3]) < 0:
        corners = corners[:, ::-1]
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    return Mesh(points=points, normals=normals, areas=_areas(points, triangles), triangles=triangles)


def _numbered_cubes(negative: np.ndarray) -> np.ndarray:
    """Return a number from 0 for each cube of eight voxels that the surface crosses, -1 for the others."""
    x, y, z = negative.shape
    corners = [negative[i : x - 1 + i, j : y - 1 + j, k : z - 1 + k] for i, j, k in np.ndindex(2, 2, 2)]
    crossed = np.logical_or.reduce(corners) & ~np.logical_and.reduce(corners)
    number = np.full(crossed.shape, -1)
    number[crossed] = np.arange(crossed.sum())
    return number


def _crossings(values: np.ndarray, number: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the crossings with the edges along an axis, the four cubes around each edge, and the whole squares."""
    low = np.moveaxis(values, axis, 0)
    index = np.argwhere((low[1:] < 0) != (low[:-1] < 0))
    first, second = low[tuple(index.T)], low[tuple((index + np.array([1, 0, 0])).T)]
    position = index.astype(float)
    position[:, 0] += first / (first - second)
    padded = np.pad(np.moveaxis(number, axis, 0), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    i, j, k = index.T
    around = np.stack([padded[i, j + a, k + b] for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))], axis=-1)
    # Counterclockwise around the axis; the moved second axis is left-handed.
    is_forward = (first < 0) != (axis == 1)
    square = np.where(is_forward[:, None], around, around[:, ::-1])
    back = [1, 0, 2] if axis == 1 else [1, 2, 0] if axis == 2 else [0, 1, 2]
    return position[:, back], around, square[(square >= 0).all(axis=1)]


def _areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return a third of the area of the triangles around each point."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 2
    return np.bincount(triangles.ravel(), np.repeat(area / 3, 3), minlength=len(points))
