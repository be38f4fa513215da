"""Similarity of a warped and a fixed image."""

from SPRCore.similarity.features import FixedFeatures
from SPRCore.similarity.lncc import (
    FixedStatistics,
    ImageComparison,
    attainable_correlation,
    common_floor,
    correlate,
    lncc,
    variance_floor,
    window_radius,
)
from SPRCore.similarity.measure import (
    SIMILARITIES,
    FixedImage,
    SimilarityName,
    check_similarity,
    dissimilarity,
    features,
    fixed_side,
    reach_of,
)
from SPRCore.similarity.mind import mind_ssc, mind_ssc_distance
from SPRCore.similarity.mse import mse

__all__ = [
    "SIMILARITIES",
    "FixedFeatures",
    "FixedImage",
    "FixedStatistics",
    "ImageComparison",
    "SimilarityName",
    "attainable_correlation",
    "check_similarity",
    "common_floor",
    "correlate",
    "dissimilarity",
    "features",
    "fixed_side",
    "lncc",
    "mind_ssc",
    "mind_ssc_distance",
    "mse",
    "reach_of",
    "variance_floor",
    "window_radius",
]
