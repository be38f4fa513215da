"""Distances between the surfaces of label maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.metrics.checks import label_pair

Box = tuple[slice, slice, slice]


def hd95_mm(a: Volume | np.ndarray, b: Volume | np.ndarray, spacing: Sequence[float] | None = None) -> dict[int, float]:
    """Robust Hausdorff distance in mm of every label: the larger of the two directed 95th percentiles.

    A surface is the set of voxels of the label with a face neighbor outside it; what lies beyond the grid counts as
    outside. Distances run between voxel centers.

    Args:
        a: Label map (X, Y, Z), whole numbers; 0 is background and not reported.
        b: Label map on the same grid.
        spacing: Voxel size in mm along X, Y, Z; None to take it from `a`, which then must be a Volume.

    Returns:
        {label: mm} in rising order; NaN for a label that one of the maps lacks, because no distance exists.

    Raises:
        InputError: Values that are not whole numbers, two different grids, or no spacing.

    References:
        Huttenlocher et al., IEEE TPAMI 1993, doi:10.1109/34.232073 (ranked, directed distances).
    """
    first, second = label_pair(a, b)
    if spacing is None:
        if not isinstance(a, Volume):
            raise InputError("spacing", got="none beside plain arrays", expected="three numbers in mm")
        spacing = a.spacing
    boxes_a, boxes_b = _boxes(first), _boxes(second)
    result = {}
    for label in sorted(boxes_a.keys() | boxes_b.keys()):
        if label not in boxes_a or label not in boxes_b:
            result[label] = float("nan")
            continue
        box = _union(boxes_a[label], boxes_b[label])
        result[label] = _hd95(first[box] == label, second[box] == label, spacing)
    return result


def _boxes(labels: np.ndarray) -> dict[int, Box]:
    """Bounding box of every label but 0."""
    from scipy.ndimage import find_objects

    if labels.min() < 0 or labels.max() >= 1 << 16:  # find_objects makes one entry per number up to the largest
        values, inverse = np.unique(labels, return_inverse=True)
        compact = _boxes(inverse.reshape(labels.shape) + 1)
        return {int(values[k - 1]): box for k, box in compact.items() if values[k - 1] != 0}
    found = find_objects(labels.astype(np.int32, copy=False))
    return {k + 1: box for k, box in enumerate(found) if box is not None}


def _union(a: Box, b: Box) -> Box:
    """Smallest box around both."""
    x, y, z = (slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return x, y, z


def _surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbor outside it."""
    padded = np.pad(mask, 1)
    core = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + mask.shape[axis])
            core &= padded[tuple(window)]
    return mask & ~core


def _hd95(a: np.ndarray, b: np.ndarray, spacing: Sequence[float]) -> float:
    """Symmetric 95th percentile distance of two non-empty masks in mm."""
    from scipy.spatial import cKDTree

    # A tree of the surface points costs the surface, a distance transform would cost the label's whole box.
    points_a, points_b = (np.argwhere(_surface(mask)) * np.asarray(spacing, dtype=float) for mask in (a, b))
    to_b, _ = cKDTree(points_b).query(points_a)
    to_a, _ = cKDTree(points_a).query(points_b)
    return float(max(np.percentile(to_b, 95), np.percentile(to_a, 95)))
