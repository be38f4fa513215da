"""Resolution levels of a coarse-to-fine registration, as isotropic as the voxels allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from SPRCore.functional import step_ratio

LEAST_SIZE = 12
"""The longest axis of the coarsest level has at least this many voxels."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One resolution level.

    Attributes:
        shape: Sizes (X, Y, Z).
        spacing: Voxel size along each axis, in mm.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


def make_level(shape: Sequence[int], spacing: Sequence[float], step_mm: float) -> Level:
    """Return the level with voxels of at least about ``step_mm``; coarser axes keep their voxels.

    Its corner voxels coincide with those of the full grid of a shape and a spacing in mm.
    """
    sizes = tuple(
        n if s >= 0.75 * step_mm else min(n, max(2, round((n - 1) * s / step_mm) + 1))
        for n, s in zip(shape, spacing, strict=True)
    )
    steps = tuple(s * step_ratio(n, m) for n, m, s in zip(shape, sizes, spacing, strict=True))
    return Level(shape=sizes, spacing=steps)


def pyramid_steps(shape: Sequence[int], spacing: Sequence[float], levels: int) -> list[float]:
    """Return the voxel sizes of at most `levels` levels in mm, coarsest first, each half the one before."""
    finest = min(s for s, n in zip(spacing, shape, strict=True) if n > 1)
    longest = max((n - 1) * s for n, s in zip(shape, spacing, strict=True))
    steps = [finest * 2**k for k in range(levels)]
    return [step for step in reversed(steps) if step == finest or longest / step + 1 >= LEAST_SIZE]
