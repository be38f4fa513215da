"""Agreement of repeated measurements."""

from __future__ import annotations

import numpy as np


def intraclass_correlation(values: np.ndarray) -> float | None:
    """Return the intraclass correlation ICC(2,1) of single measurements: two-way random effects, absolute agreement.

    It is 1 where all repetitions agree and about 0 where they differ as much as the subjects do. Shrout and Fleiss,
    1979, doi:10.1037/0033-2909.86.2.420.

    Args:
        values: One row for each subject, one column for each repetition, shape (N, K) with N and K of at least 2.

    Returns:
        The correlation; None if all values are equal.
    """
    values = np.asarray(values, dtype=np.float64)
    subjects, repetitions = values.shape
    centered = values - values.mean()
    rows, columns = centered.mean(axis=1, keepdims=True), centered.mean(axis=0, keepdims=True)
    between = repetitions * float(np.square(rows).sum()) / (subjects - 1)
    shift = subjects * float(np.square(columns).sum()) / (repetitions - 1)
    error = float(np.square(centered - rows - columns).sum()) / ((subjects - 1) * (repetitions - 1))
    total = between + (repetitions - 1) * error + repetitions * (shift - error) / subjects
    return (between - error) / total if total > 0 else None


def correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Pearson's correlation of two arrays of one shape; None if one of them is constant or empty."""
    if not first.size or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1])
