"""Similarity of a warped and a fixed image."""

from SPRCore.similarity.lncc import (
    FixedStatistics,
    attainable_correlation,
    correlate,
    lncc,
    variance_floor,
    window_radius,
)
from SPRCore.similarity.mind import mind_ssc, mind_ssc_distance
from SPRCore.similarity.mse import mse

__all__ = [
    "FixedStatistics",
    "attainable_correlation",
    "correlate",
    "lncc",
    "mind_ssc",
    "mind_ssc_distance",
    "mse",
    "variance_floor",
    "window_radius",
]
