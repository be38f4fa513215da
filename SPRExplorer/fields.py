"""Fields of the parameters that a page may change."""

from __future__ import annotations

from enum import Enum
from typing import Any

from SPRRegistrationLib.sliders import FIELDS

SHOWN = (
    *("showDeformed", "deformedOpacity", "flicker", "showWeight", "weightOpacity", "weightLimit", "showJacobian"),
    *("showLegend", "showUncertainty", "uncertaintyOpacity", "hatchAboveMm"),
    *("showDisplacement", "showDisplacement3D", "displacementStyle", "gridSpacingMm", "originalAnatomy"),
)
"""Fields of the views."""

CHANGEABLE = (
    *FIELDS,
    *SHOWN,
    "method",
    "refine",
    "device",
    "alignment",
    "anatomy",
    "start",
    "similarity",
    "prior",
    "live",
    "sweep",
    "mapMeasure",
)
"""All fields that a page may change."""


def converted(kind: type, value: Any) -> Any:
    """Return a value from a page as the type of a field."""
    if issubclass(kind, Enum):
        return kind(value)
    if kind is bool and not isinstance(value, bool):
        return {0: False, 1: True}.get(value, value)  # others are refused by their type
    return float(value) if kind is float else int(value) if kind is int else value
