"""Units of the squared gradient in a training loss: mm, or voxels as in the paper and its code. It needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

MM, VOXEL = UNITS = ("mm", "voxel")

_TOLERANCE = 0.01
"""Relative difference of spacings up to which a grid counts as isotropic."""


def spacing_in(units: str, spacing: Sequence[float]) -> tuple[float, ...]:
    """Return the spacing of a grid in a unit: as it is in mm, or 1 along each axis in voxels."""
    return tuple(float(step) for step in spacing) if units == MM else (1.0, 1.0, 1.0)


def is_isotropic(spacing: Sequence[float]) -> bool:
    """Whether the squared gradient on a grid is the same in mm over mm and in voxels over voxels."""
    return max(spacing) <= (1.0 + _TOLERANCE) * min(spacing)
