"""Overlap of label maps."""

from __future__ import annotations

import numpy as np

from SPRCore.geometry import Volume
from SPRCore.metrics.checks import label_pair

# Labels up to here are counted by a table of that length, larger or negative ones by sorting.
_TABLE = 1 << 16


def dice(a: Volume | np.ndarray, b: Volume | np.ndarray) -> dict[int, float]:
    """Dice overlap of every label that occurs in either map of one grid, 2 |A and B| / (|A| + |B|).

    Returns:
        {label: Dice in [0, 1]} in rising order, without the background 0; 0.0 for a label that one of the maps lacks.

    Raises:
        InputError: Values that are not whole numbers, or two different grids.

    References:
        Dice, Ecology 1945, doi:10.2307/1932409.
    """
    first, second = (array.ravel() for array in label_pair(a, b))
    count_a, count_b, both = (_counts(array) for array in (first, second, first[first == second]))
    labels = sorted((count_a.keys() | count_b.keys()) - {0})
    return {k: 2.0 * both.get(k, 0) / (count_a.get(k, 0) + count_b.get(k, 0)) for k in labels}


def dice_mean(scores: dict[int, float]) -> float:
    """Mean Dice over the labels of `dice`'s result; NaN if there is none."""
    return float(np.mean(list(scores.values()))) if scores else float("nan")


def _counts(labels: np.ndarray) -> dict[int, int]:
    """How often each label occurs."""
    if labels.size and 0 <= labels.min() and labels.max() < _TABLE:
        table = np.bincount(labels)
        return {int(k): int(table[k]) for k in np.flatnonzero(table)}
    return {int(k): int(n) for k, n in zip(*np.unique(labels, return_counts=True), strict=True)}
