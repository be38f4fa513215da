"""Distances between the surfaces of label maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.metrics.checks import label_pair


def hd95_mm(a: Volume | np.ndarray, b: Volume | np.ndarray, spacing: Sequence[float] | None = None) -> dict[int, float]:
    """Robust Hausdorff distance in mm of every label: the larger of the two directed 95th percentiles.

    A surface is the set of voxels of the label with a face neighbor outside it or off the grid. Distances run between
    voxel centers.

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
    surfaces_a, surfaces_b = (_surfaces(array, spacing) for array in (first, second))
    return {
        label: _hd95(surfaces_a[label], surfaces_b[label])
        if label in surfaces_a and label in surfaces_b
        else float("nan")
        for label in sorted(surfaces_a.keys() | surfaces_b.keys())
    }


def _surfaces(labels: np.ndarray, spacing: Sequence[float]) -> dict[int, np.ndarray]:
    """Points (N, 3) in mm of every label but 0: voxels with a face neighbor of another label or off the grid."""
    edge = np.zeros(labels.shape, dtype=bool)
    for axis in range(3):
        view, out = np.moveaxis(labels, axis, 0), np.moveaxis(edge, axis, 0)
        change = view[1:] != view[:-1]
        out[1:] |= change
        out[:-1] |= change
        out[0] = out[-1] = True
    edge &= labels != 0
    where = np.argwhere(edge)
    found = labels[edge]
    order = np.argsort(found, kind="stable")
    values, starts = np.unique(found[order], return_index=True)
    points = where[order] * np.asarray(spacing, dtype=float)
    return {int(k): part for k, part in zip(values, np.split(points, starts[1:]), strict=True)} if values.size else {}


def _hd95(a: np.ndarray, b: np.ndarray) -> float:
    """Symmetric 95th percentile distance of two point sets in mm."""
    from scipy.spatial import cKDTree

    # A tree of the surface points costs the surface, a distance transform would cost the label's whole box.
    threads = torch.get_num_threads()
    to_b, _ = cKDTree(b, balanced_tree=False).query(a, workers=threads)
    to_a, _ = cKDTree(a, balanced_tree=False).query(b, workers=threads)
    return float(max(np.percentile(to_b, 95), np.percentile(to_a, 95)))
