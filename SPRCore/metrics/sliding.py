"""Sliding in millimeters: the jump of a displacement on the surfaces of segments and in valleys of the stiffness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume, spacing_of, voxel_to_ras
from SPRCore.geometry.mesh import SMOOTHING_VOXELS, Mesh, region_surface
from SPRCore.metrics.jump import REACH, Jump, displacement_jump, step_mm

VALLEY = "stiffness_valley"
"""Key of the valleys of the stiffness beside the labels."""

VALLEY_DEPTH = 0.5
"""A valley has at most this part of the weight on the lower one of its sides."""

_LEAST_POINTS = 30  # of a surface; fewer are a speck of voxels
_MARGIN_VOXELS = 4  # around a region, for the smoothing


@dataclass(frozen=True, kw_only=True, eq=False)
class SlidingSurface:
    """A surface and the jump of a displacement on it.

    Attributes:
        surface: Points, normals and triangles; those of a valley have no triangles, and a normal of either sign.
        jump: Slide and opening at the points.
    """

    surface: Mesh
    jump: Jump

    def summary(self) -> dict[str, Any]:
        """Return statistics over the area that was measured, as in ``report.json``, in mm, mm² and percent.

        The 5th and 95th percentile of the opening are those of the signed values: overlap and gap. All three are None
        where nothing was measured.
        """
        known = np.isfinite(self.jump.slide)
        areas = self.surface.areas
        total, measured = float(areas.sum()), float(areas[known].sum())
        result: dict[str, Any] = {"area_mm2": total, "measured_percent": 100.0 * measured / total}
        if not measured:
            return result | {"sliding_percent": None, "slide": None, "opening": None}
        weights = areas[known] / measured
        slide, opening = self.jump.slide[known], self.jump.opening[known]
        p05, p95 = _percentiles(opening, weights, (0.05, 0.95))
        return result | {
            "sliding_percent": 100.0 * float(weights[~self.jump.smooth[known]].sum()),
            "slide": {"mean": float(weights @ slide), "p95": _percentiles(slide, weights, (0.95,))[0]},
            "opening": {"mean": float(weights @ opening), "p05": p05, "p95": p95},
        }


def segment_sliding(displacement: Field, labels: Volume) -> dict[str, SlidingSurface]:
    """Measure the slide on the surface of each label, by its number as text; tiny labels are left out.

    Args:
        displacement: Pull displacement in RAS mm.
        labels: Label map of the fixed image, on the grid of the displacement; 0 is background.

    Raises:
        InputError: Another grid, or labels that are not whole numbers.
    """
    if not labels.grid.matches(displacement.grid):
        raise InputError("labels", got=f"a grid of {labels.shape} voxels", expected="the grid of the displacement")
    if labels.array.dtype.kind not in "biu":
        raise InputError("labels", got=f"values of type {labels.array.dtype}", expected="whole numbers")
    from scipy.ndimage import find_objects

    # `find_objects` counts from 1, and labels may be large numbers
    values = np.unique(labels.array)
    values = values[values != 0]
    order = np.searchsorted(values, labels.array) + 1
    order[labels.array == 0] = 0
    found = {}
    for value, box in zip(values, find_objects(order), strict=True):
        surface = _surface_in(order, box, labels.affine, int(np.searchsorted(values, value)) + 1)
        if surface is not None:
            jump = displacement_jump(displacement, surface)
            found[str(int(value))] = SlidingSurface(surface=surface, jump=jump)
    return found


def valley_sliding(displacement: Field, weight: Volume) -> SlidingSurface | None:
    """Measure the slide in the valleys of the stiffness: sheets of low weight between stiffer regions.

    Args:
        displacement: Pull displacement in RAS mm.
        weight: Weight map on the grid of the displacement, as of a registration.

    Returns:
        The valleys, or None if the weight has none, as where it is the same everywhere.

    Raises:
        InputError: Another grid.
    """
    if not weight.grid.matches(displacement.grid):
        raise InputError("weight map", got=f"a grid of {weight.shape} voxels", expected="the grid of the displacement")
    surface = weight_valleys(weight)
    if surface is None:
        return None
    return SlidingSurface(surface=surface, jump=displacement_jump(displacement, surface))


def result_sliding(
    displacement: Field, labels: Volume | None, weight: Volume | None, valleys: bool = False
) -> dict[str, SlidingSurface]:
    """Measure the slide of a result on the surfaces of its labels and, if asked for, in the valleys of the stiffness.

    Args:
        displacement: Pull displacement in RAS mm.
        labels: Label map of the fixed image, on the grid of the displacement; None for none.
        weight: Weight map on that grid; None for none.
        valleys: Whether the valleys of the stiffness are measured, under the key `VALLEY`.
    """
    found = {} if labels is None else segment_sliding(displacement, labels)
    measured = valley_sliding(displacement, weight) if valleys and weight is not None else None
    return found if measured is None else found | {VALLEY: measured}


def sliding_metrics(surfaces: Mapping[str, SlidingSurface]) -> dict[str, Any]:
    """Return the statistics of each surface by its name, as ``metrics.after.sliding_mm`` in ``report.json``."""
    return {name: measured.summary() for name, measured in surfaces.items()}


def weight_valleys(weight: Volume) -> Mesh | None:
    """Return points in the middle of valleys of a weight map, without triangles; None if there is no valley.

    Across a valley the smoothed weight is least: its derivative is 0 along the direction in which it curves up most.
    """
    spacing = np.array(spacing_of(weight.affine))
    values = _smoothed(weight.array, spacing)
    high = float(np.percentile(values, 95))
    candidates = np.argwhere(values < VALLEY_DEPTH * high)
    if not 0 < high or len(candidates) < _LEAST_POINTS:
        return None
    offset, normal, extent = _across_valleys(weight.array, spacing, candidates)
    is_valley = np.isfinite(offset)
    candidates, offset, normal, extent = (part[is_valley] for part in (candidates, offset, normal, extent))
    points = candidates + offset[:, None] * normal / spacing
    deep = _is_deep(values, points, normal, spacing, weight.affine)
    if deep.sum() < _LEAST_POINTS:
        return None
    axes = weight.affine[:3, :3] / spacing
    # The voxels whose center is within half their extent of the surface fill its area times that extent.
    areas = abs(np.linalg.det(weight.affine[:3, :3])) / extent[deep]
    world = normal[deep] @ np.linalg.inv(axes)
    world /= np.linalg.norm(world, axis=1, keepdims=True)
    none = np.zeros((0, 3), dtype=int)
    return Mesh(points=voxel_to_ras(points[deep], weight.affine), normals=world, areas=areas, triangles=none)


def _surface_in(order: np.ndarray, box: tuple[slice, ...], affine: np.ndarray, number: int) -> Mesh | None:
    """Surface of a label in its bounding box, or None for one without a surface or a tiny one."""
    margin = [_MARGIN_VOXELS + int(np.ceil(2 * SMOOTHING_VOXELS))] * 3
    start = [max(part.start - m, 0) for part, m in zip(box, margin, strict=True)]
    cut = tuple(slice(a, part.stop + m) for a, part, m in zip(start, box, margin, strict=True))
    inside = order[cut] == number
    if inside.all() or min(inside.shape) < 2:
        return None
    moved = affine.copy()
    moved[:3, 3] = voxel_to_ras(np.array(start, dtype=float), affine)
    try:
        surface = region_surface(Volume(inside, moved))
    except InputError:  # a speck that the smoothing removed
        return None
    return surface if len(surface.points) >= _LEAST_POINTS else None


def _smoothed(array: np.ndarray, spacing: np.ndarray, order: tuple[int, ...] = (0, 0, 0)) -> np.ndarray:
    """Weight smoothed over one voxel of the finest axis, or a derivative of it per mm."""
    from scipy.ndimage import gaussian_filter

    sigma = np.maximum(spacing.min() / spacing, 0.5)
    smooth = gaussian_filter(array.astype(np.float32), sigma, order=order, mode="nearest")
    return smooth / np.prod(spacing ** np.array(order))


def _across_valleys(array: np.ndarray, spacing: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distance in mm to the least weight along the direction of most curvature, it, and the extent of a voxel along it.

    The distance is infinite where the weight is not least within the voxel: its slope changes its sign from minus to
    plus between the two ends of that extent.
    """
    from scipy.ndimage import map_coordinates

    at, unit = tuple(candidates.T), np.eye(3, dtype=int)
    curvature = np.empty((len(candidates), 3, 3))
    for a in range(3):
        for b in range(a, 3):
            curvature[:, a, b] = curvature[:, b, a] = _smoothed(array, spacing, tuple(unit[a] + unit[b]))[at]
    normal = np.linalg.eigh(curvature)[1][:, :, 2]
    extent = np.linalg.norm(normal * spacing, axis=1)
    slopes = [np.zeros(len(candidates)), np.zeros(len(candidates))]
    for axis in range(3):
        derivative = _smoothed(array, spacing, tuple(unit[axis]))
        for end, sign in enumerate((-0.5, 0.5)):
            ends = candidates + sign * extent[:, None] * normal / spacing
            slopes[end] += map_coordinates(derivative, ends.T, order=1, mode="nearest") * normal[:, axis]
    before, after = slopes
    is_least = (before < 0) & (after >= 0)
    position = before / np.where(is_least, before - after, 1.0) - 0.5
    return np.where(is_least, position * extent, np.inf), normal, extent


def _is_deep(
    values: np.ndarray, points: np.ndarray, normal: np.ndarray, spacing: np.ndarray, affine: np.ndarray
) -> np.ndarray:
    """Whether the weight rises enough on both sides of points within the reach of the profiles."""
    from scipy.ndimage import map_coordinates

    step = step_mm(normal @ np.linalg.inv(affine[:3, :3] / spacing), affine)
    sides = []
    for sign in (-1, 1):
        reach = (sign * step[:, None] * np.arange(1, REACH + 1))[..., None]
        along = (points[:, None] + reach * (normal / spacing)[:, None]).reshape(-1, 3)
        found = map_coordinates(values, along.T, order=1, mode="nearest")
        sides.append(found.reshape(-1, REACH).max(axis=1))
    low = map_coordinates(values, points.T, order=1, mode="nearest")
    return low <= VALLEY_DEPTH * np.minimum(*sides)


def _percentiles(values: np.ndarray, weights: np.ndarray, parts: tuple[float, ...]) -> list[float]:
    """Percentiles of values with weights that sum to 1."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return [float(values[order][min(np.searchsorted(reached, part), len(values) - 1)]) for part in parts]
