"""Slices through volumes in radiological convention: three planes, in millimeters, the right side on the left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SPRCore.geometry import (
    Grid,
    Volume,
    displacement_mm_to_vox,
    percentiles,
    ras_to_voxel,
    robust_extremes,
    voxel_to_ras,
)

_FOREGROUND = 0.15  # of the range from the lowest value to the 99.5th percentile; air and background are below
_OTHERS = ((1, 2), (0, 2), (0, 1))  # the axes across each axis
_MARGIN = 0.04  # of the extent of the anatomy, left around it in a picture


@dataclass(frozen=True)
class Plane:
    """An orthogonal plane in radiological convention.

    Args:
        name: "Axial", "Coronal" or "Sagittal".
        normal: RAS axis across the plane.
        across: RAS axis along the width of the picture; its positive end (R or A) is on the left.
        up: RAS axis that points upward.
        marks: Letters at the left, right, upper and lower edge.
    """

    name: str
    normal: int
    across: int
    up: int
    marks: tuple[str, str, str, str]


PLANES = (
    Plane("Axial", 2, 0, 1, ("R", "L", "A", "P")),
    Plane("Coronal", 1, 0, 2, ("R", "L", "S", "I")),
    Plane("Sagittal", 0, 1, 2, ("A", "P", "S", "I")),
)


class SliceExtractor:
    """Extracts slices of arrays on one grid through one point.

    Axes are reordered and flipped to the nearest RAS order; an oblique grid is cut along its own axes, without
    interpolation.

    Args:
        grid: Grid of the arrays.
        point_mm: Point of the planes in RAS mm; clamped to the grid.
        box: Shown part of the grid, (first, last) voxel index per axis; None for all of it.
    """

    def __init__(self, grid: Grid, point_mm: np.ndarray, box: np.ndarray | None = None) -> None:
        from nibabel.orientations import io_orientation

        self._affine = grid.affine
        orientation = io_orientation(grid.affine).astype(int)
        self._order = np.argsort(orientation[:, 0])
        self._sign = orientation[self._order, 1]
        self._shape = np.array(grid.shape)[self._order]
        self.spacing = np.array(grid.spacing)[self._order]
        box = np.stack([np.zeros(3, int), np.array(grid.shape) - 1], axis=1) if box is None else np.asarray(box)
        ends = np.stack([self._canonical(box[:, 0]), self._canonical(box[:, 1])])
        self._low, self._high = ends.min(axis=0), ends.max(axis=0)
        index = np.clip(np.rint(ras_to_voxel(point_mm, grid.affine)), 0, np.array(grid.shape) - 1).astype(int)
        self._index = np.clip(self._canonical(index), self._low, self._high)

    def extract(self, array: np.ndarray, plane: Plane) -> np.ndarray:
        """Return the slice (up, across) of an array (X, Y, Z) or (X, Y, Z, C), row 0 at the bottom."""
        canonical = np.transpose(array, (*self._order, *range(3, array.ndim)))
        canonical = canonical[tuple(slice(None, None, sign) for sign in self._sign)]
        window = [slice(low, high + 1) for low, high in zip(self._low, self._high, strict=True)]
        window[plane.normal] = slice(self._index[plane.normal], self._index[plane.normal] + 1)
        picture = np.take(canonical[tuple(window)], 0, axis=plane.normal)
        return np.swapaxes(picture, 0, 1)[:, ::-1]  # `across` is the first remaining axis; its positive end is left

    def coordinates(self, displacement_mm: np.ndarray, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates x + u(x) of a slice along `across` and `up`, in mm.

        Args:
            displacement_mm: Displacement (X, Y, Z, 3) in RAS mm.
            plane: The plane.
        """
        displacement_vox = displacement_mm_to_vox(self.extract(displacement_mm, plane), self._affine)
        moved = displacement_vox[..., self._order] * self._sign
        # x runs with RAS from the first voxel that is shown; `across` is drawn from right to left.
        across = np.arange(moved.shape[1])[::-1] + moved[..., plane.across]
        up = np.arange(moved.shape[0])[:, None] + moved[..., plane.up]
        return across * self.spacing[plane.across], up * self.spacing[plane.up]

    def size_mm(self, plane: Plane) -> tuple[float, float]:
        """Return width and height of a slice in mm."""
        extent = (self._high - self._low + 1) * self.spacing
        return float(extent[plane.across]), float(extent[plane.up])

    def _canonical(self, index: np.ndarray) -> np.ndarray:
        """Convert an index of the grid to RAS order."""
        ordered = np.asarray(index)[self._order]
        return np.where(self._sign > 0, ordered, self._shape - 1 - ordered)


def foreground(image: Volume, valid: np.ndarray | None = None) -> np.ndarray:
    """Return the mask of the anatomy by a threshold, for centering and cropping; all voxels if it would be empty.

    Args:
        image: The image.
        valid: Mask of the voxels with data, of its shape; None for all.
    """
    data = image.array if valid is None else image.array[valid]
    lowest, highest = robust_extremes(data)[0], percentiles(data, [99.5])[0]
    mask = image.array > lowest + _FOREGROUND * (highest - lowest)
    mask = mask if valid is None else mask & valid
    return mask if mask.any() else np.ones(image.shape, dtype=bool)


def center_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the center of mass of a nonempty mask (X, Y, Z), in RAS mm."""
    counts = [mask.sum(axis=axes) for axes in _OTHERS]
    return voxel_to_ras(np.array([(np.arange(count.size) * count).sum() / count.sum() for count in counts]), affine)


def bounding_box(mask: np.ndarray) -> np.ndarray:
    """Return the (first, last) voxel of a mask along each axis, shape (3, 2), with a small margin."""
    lines = [np.flatnonzero(mask.any(axis=axes)) for axes in _OTHERS]
    low, high = (np.array([line[end] for line in lines]) for end in (0, -1))
    margin = np.ceil(_MARGIN * (high - low)).astype(int)
    return np.stack([np.maximum(low - margin, 0), np.minimum(high + margin, np.array(mask.shape) - 1)], axis=1)
