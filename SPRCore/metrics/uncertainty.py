"""Summaries of the uncertainty of a displacement."""

from __future__ import annotations

from typing import Any

import numpy as np

from SPRCore.geometry import Annotations, Field, MaskedVolume, Volume
from SPRCore.metrics.landmarks import sample_volume, tre_mm


def uncertainty_metrics(
    uncertainty: Volume, displacement: Field, fixed: MaskedVolume, annotations: Annotations
) -> dict[str, Any]:
    """Summarize an uncertainty where the fixed image has data, by label and at landmarks.

    Args:
        uncertainty: One standard deviation of the displacement in mm, on the fixed grid.
        displacement: Total pull displacement fixed -> moving in RAS mm.
        fixed: Fixed image with its data.
        annotations: Labels on the fixed grid, and landmarks.

    Returns:
        ``uncertainty_mm`` {median, p95, max, labels {label: {median, p95}}} and ``landmarks``, a list of {error_mm,
        uncertainty_mm} in their order; ``labels`` and ``landmarks`` only if given.
    """
    values = uncertainty.array
    inside = values if fixed.valid is None else values[fixed.valid]
    summary: dict[str, Any] = _summary(inside) | {"max": float(inside.max())}
    if annotations.fixed_labels is not None:
        labels = annotations.fixed_labels.array
        present = [label for label in np.unique(labels) if label != 0]
        summary["labels"] = {str(int(label)): _summary(values[labels == label]) for label in present}
    result: dict[str, Any] = {"uncertainty_mm": summary}
    points = annotations.fixed_points
    if points is not None and annotations.moving_points is not None and len(points):
        errors, deviations = tre_mm(points, annotations.moving_points, displacement), sample_volume(uncertainty, points)
        rows = zip(errors.tolist(), deviations.tolist(), strict=True)
        result["landmarks"] = [{"error_mm": error, "uncertainty_mm": deviation} for error, deviation in rows]
    return result


def _summary(values: np.ndarray) -> dict[str, float]:
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95))}
