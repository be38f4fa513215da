"""Metrics: overlap, surface distances, landmarks, regularity, inverse consistency, similarity."""

from __future__ import annotations

from SPRCore.metrics.consistency import displacement_summary, inverse_consistency_mm
from SPRCore.metrics.conventions import FoldingRegion, LabelInterpolation, MetricConventions
from SPRCore.metrics.distance import hd95_mm
from SPRCore.metrics.intensity import local_correlation
from SPRCore.metrics.jacobian import determinant_map, folding_percent, jacobian_summary, ndv_percent
from SPRCore.metrics.landmarks import sample_displacement_mm, summarize, tre_mm
from SPRCore.metrics.overlap import dice, dice_mean
from SPRCore.metrics.report import evaluate, with_similarity
from SPRCore.metrics.slider_fidelity import slider_fidelity
from SPRCore.metrics.uncertainty import uncertainty_metrics

__all__ = [
    "FoldingRegion",
    "LabelInterpolation",
    "MetricConventions",
    "determinant_map",
    "dice",
    "dice_mean",
    "displacement_summary",
    "evaluate",
    "folding_percent",
    "hd95_mm",
    "inverse_consistency_mm",
    "jacobian_summary",
    "local_correlation",
    "ndv_percent",
    "sample_displacement_mm",
    "slider_fidelity",
    "summarize",
    "tre_mm",
    "uncertainty_metrics",
    "with_similarity",
]
