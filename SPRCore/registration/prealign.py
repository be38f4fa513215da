"""Alignment of two volumes as a whole before they are deformed: centers, rigid or affine, in world space."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, MaskedVolume, robust_extremes
from SPRCore.geometry.units import ras_to_voxel, voxel_to_ras
from SPRCore.registration.reduced import AlignmentFailure, ReducedPair
from SPRCore.typing import Affine

logger = logging.getLogger("SPRCore")

Init = Literal["auto", "none", "center", "rigid", "affine"]
MODES: tuple[str, ...] = ("auto", "none", "center", "rigid", "affine")

LEAST_GAIN = 0.01
"""An alignment has to raise the score of the headers by this part: less is within the noise of the estimate."""


AS_GOOD = 0.85
"""Headers whose score is at least this part of the best start's are taken as right, and another start has to be better
by as much in the end."""

DOUBTFUL = 0.3
"""Headers below this part of the best start's score are no start: three voxels of misplacement still give more."""


@dataclass(frozen=True, kw_only=True)
class PreAlignment:
    """Outcome of the alignment as a whole.

    Attributes:
        affine_ras: Pull map from fixed to moving world points, shape (4, 4), RAS mm; None where nothing was to be done.
        mode: What was done: ``none``, ``center``, ``rigid`` or ``affine``.
        reason: Why, in words.
    """

    affine_ras: np.ndarray | None
    mode: str
    reason: str


def prealign(fixed: MaskedVolume, moving: MaskedVolume, mode: Init = "auto") -> PreAlignment:
    """Align two volumes as a whole.

    ``auto`` leaves volumes alone that share a grid and whose centers of mass agree (a follow-up, two phases, a prepared
    cohort). Otherwise, and for ``rigid`` and ``affine``, three starts are compared: the headers, the centers of mass,
    and the centers of the fields of view. The best one is refined by mutual information (6, then 12 parameters), and
    the outcome is kept only where it beats the headers. Voxels without data take no part, outliers of the intensity
    do not count, and the same pair gives the same map.

    Args:
        fixed: Fixed volume with its data.
        moving: Moving volume with its data, on any grid.
        mode: ``none`` trusts the headers; ``center`` brings the centers of mass together; ``rigid``; ``affine``;
            ``auto`` decides between ``none`` and ``affine``.

    Returns:
        The map and what was done.

    Raises:
        InputError: Unknown mode; ``none`` where the volumes do not overlap in the world; or no start brings the
            volumes together.
    """
    if mode not in MODES:
        raise InputError("init", got=repr(mode), expected=" | ".join(MODES))
    overlap = overlap_fraction(fixed.grid, moving.grid)
    if mode == "none":
        if overlap == 0.0:
            raise InputError(
                "fixed and moving volume",
                got="no overlap in the world by their headers",
                expected="overlapping volumes",
                remedy="align them first with --init center, rigid, affine or auto",
            )
        return PreAlignment(affine_ras=None, mode="none", reason="asked for")
    apart = center_of_mass_mm(moving) - center_of_mass_mm(fixed)
    if mode == "center":
        logger.info("aligning as a whole: center (asked for)")
        return PreAlignment(affine_ras=_shift(apart), mode=mode, reason="asked for")
    reason = "asked for"
    if mode == "auto":
        apart_mm, extent_mm = np.linalg.norm(apart), np.median(np.array(fixed.grid.shape) * fixed.grid.spacing)
        if fixed.grid.matches(moving.grid) and apart_mm <= 0.1 * extent_mm:
            return PreAlignment(
                affine_ras=None, mode="none", reason=f"same grid, centers of mass {apart_mm:.1f} mm apart"
            )
        reason = f"different grids or places (overlap {100 * overlap:.0f} %, centers {apart_mm:.1f} mm apart)"
    logger.info("aligning as a whole: %s (%s)", "rigid" if mode == "rigid" else "affine", reason)
    return _refined(ReducedPair.of(fixed, moving), apart, "rigid" if mode == "rigid" else "affine", reason)


def overlap_fraction(fixed: Grid, moving: Grid) -> float:
    """Return the part of the fixed grid, sampled coarsely, that lies inside the moving grid.

    Args:
        fixed: Fixed grid.
        moving: Moving grid.

    Returns:
        Fraction in [0, 1].
    """
    lines = [np.linspace(0, size - 1, min(size, 16)) for size in fixed.shape]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
    index = ras_to_voxel(voxel_to_ras(points, fixed.affine), moving.affine)
    return float(((index >= -0.5) & (index <= np.array(moving.shape) - 0.5)).all(axis=1).mean())


def center_of_mass_mm(image: MaskedVolume) -> np.ndarray:
    """Return the center of mass of the intensities above the darkest, outliers saturated, in RAS mm, shape (3,).

    Args:
        image: Image with its data; the others have no mass.

    Returns:
        The center.
    """
    low, high = robust_extremes(image.data)
    mass = np.clip(image.volume.array.astype(np.float64), low, high) - low
    if image.valid is not None:
        mass *= image.valid
    sums = [mass.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    index = np.array([(line * np.arange(line.size)).sum() / line.sum() for line in sums])
    return voxel_to_ras(index, image.grid.affine)


def _center_of_view_mm(image: MaskedVolume) -> np.ndarray:
    """Middle of the box around the data, in RAS mm."""
    if image.valid is None:
        return voxel_to_ras((np.array(image.grid.shape) - 1) / 2.0, image.grid.affine)
    lines = [np.flatnonzero(image.valid.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return voxel_to_ras(np.array([(line[0] + line[-1]) / 2.0 for line in lines]), image.grid.affine)


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """An alignment, its score, what it is (a kind of map) and where it started."""

    matrix: Affine
    score: float
    kind: str
    start: str


def _refined(pair: ReducedPair, apart: np.ndarray, mode: str, reason: str) -> PreAlignment:
    """Refine the best start and keep the outcome where it beats the headers."""
    views = _center_of_view_mm(pair.moving_image) - _center_of_view_mm(pair.fixed_image)
    starts = {"headers": np.eye(4), "centers of mass": _shift(apart), "centers of the fields of view": _shift(views)}
    scored = [_Outcome(matrix=matrix, score=pair.score(matrix), kind="center", start=n) for n, matrix in starts.items()]
    headers, best = scored[0], max(scored, key=lambda outcome: outcome.score)
    if best.score <= 0.0:
        raise InputError(
            "pre-alignment",
            got="volumes that have nothing in common, by their headers, centers of mass or fields of view",
            expected="volumes of the same body region",
            remedy="align them by hand first, or check the files",
        )
    # Headers nearly as good as the best start are the only one, since vertebrae and ribs match their neighbors as well.
    taken = [headers] if headers.score >= DOUBTFUL * best.score else []
    taken += [best] if headers.score < AS_GOOD * best.score else []
    # Rigidly first: that keeps the shears from answering for a rotation. Each runs on one thread, both side by side.
    with ThreadPoolExecutor() as pool:
        first, *others = pool.map(lambda start: _improved(pair, start, "rigid"), taken)
    found = others[0] if others and others[0].score > first.score / AS_GOOD else first
    found = _improved(pair, found, "affine") if mode == "affine" else found
    if found.score < (1.0 + LEAST_GAIN) * headers.score:
        logger.info("the alignment as a whole does not beat the headers: they are kept")
        return PreAlignment(affine_ras=None, mode="none", reason="no alignment beats the headers")
    return PreAlignment(affine_ras=found.matrix, mode=found.kind, reason=f"{reason}, from the {found.start}")


def _improved(pair: ReducedPair, start: _Outcome, kind: str) -> _Outcome:
    """Optimise from a start; the start itself where that fails, is worse, or stretches beyond all anatomy."""
    try:
        matrix = pair.optimised(start.matrix, kind)
    except AlignmentFailure as failure:
        logger.warning("alignment as a whole from the %s: %s; this step is left out", start.start, failure)
        return start
    score = pair.score(matrix)
    if score <= start.score or not _is_plausible(matrix):
        return start
    return _Outcome(matrix=matrix, score=score, kind=kind, start=start.start)


def _is_plausible(matrix: Affine) -> bool:
    """Whether no direction is stretched or squeezed more than between a child and an adult."""
    sizes = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(sizes.min() > 0.5 and sizes.max() < 2.0 and np.linalg.det(matrix[:3, :3]) > 0)


def _shift(vector_mm: np.ndarray) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = vector_mm
    return matrix
