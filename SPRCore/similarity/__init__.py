"""Similarity of a warped and a fixed image."""

from .lncc import Correlation, FixedStatistics, correlate, lncc, lncc_map, window_radius

__all__ = ["Correlation", "FixedStatistics", "correlate", "lncc", "lncc_map", "window_radius"]
