"""Affine pre-alignment of two volumes in world space: centers, rigid or affine."""

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

_Init = Literal["auto", "none", "center", "rigid", "affine"]
_MODES: tuple[str, ...] = ("auto", "none", "center", "rigid", "affine")

_LEAST_GAIN = 0.01
"""Least relative gain over the score of the headers; less is within the noise of the estimate."""

_AS_GOOD = 0.85
"""The headers are taken as right if their score is at least this fraction of the best start's; the result from another
start has to be better by the same factor."""

_DOUBTFUL = 0.3
"""The headers are no start if their score is below this fraction of the best start's; an offset of three voxels scores
higher."""


@dataclass(frozen=True, kw_only=True)
class PreAlignment:
    """Result of the affine pre-alignment.

    Attributes:
        affine_ras: Pull map from fixed to moving world points, shape (4, 4), RAS mm; None for no alignment.
        mode: Kind of the map: ``none``, ``center``, ``rigid``, ``affine``, or ``given``.
        reason: Reason, in words.
    """

    affine_ras: np.ndarray | None
    mode: str
    reason: str


def prealign(fixed: MaskedVolume, moving: MaskedVolume, mode: _Init | Affine = "auto") -> PreAlignment:
    """Align two volumes.

    ``auto`` does not align volumes that share a grid and whose centers of mass agree (a follow-up, two phases, a
    prepared cohort). Otherwise, and for ``rigid`` and ``affine``, three starts are compared: the headers, the centers
    of mass, and the centers of the fields of view. The best one is refined by mutual information (6, then 12
    parameters), and the result is kept only if it scores higher than the headers. Voxels without data and intensity
    outliers are excluded. The result is deterministic.

    Args:
        fixed: Fixed volume with its data.
        moving: Moving volume with its data, on any grid.
        mode: ``none`` trusts the headers; ``center`` brings the centers of mass together; ``rigid``; ``affine``;
            ``auto`` decides between ``none`` and ``affine``. Or a pull map from fixed to moving world points in RAS
            mm, shape (4, 4), which is used as it is.

    Raises:
        InputError: Unknown mode, or no such matrix; ``none`` or a matrix, and the volumes do not overlap in the world;
            or no start makes the volumes overlap.
    """
    if not isinstance(mode, str):
        return _given(fixed, moving, mode)
    if mode not in _MODES:
        raise InputError("init", got=repr(mode), expected=" | ".join(_MODES))
    overlap = overlap_fraction(fixed.grid, moving.grid)
    if mode == "none":
        if overlap == 0.0:
            raise InputError(
                "fixed and moving volume",
                got="no overlap in the world by their headers",
                expected="overlapping volumes",
                remedy="align them first with --init center, rigid, affine or auto",
            )
        return PreAlignment(affine_ras=None, mode="none", reason="requested")
    apart = center_of_mass_mm(moving) - center_of_mass_mm(fixed)
    if mode == "center":
        logger.info("affine pre-alignment: center (requested)")
        return PreAlignment(affine_ras=_shift(apart), mode=mode, reason="requested")
    reason = "requested"
    if mode == "auto":
        apart_mm, extent_mm = np.linalg.norm(apart), np.median(np.array(fixed.grid.shape) * fixed.grid.spacing)
        if fixed.grid.matches(moving.grid) and apart_mm <= 0.1 * extent_mm:
            return PreAlignment(
                affine_ras=None, mode="none", reason=f"same grid, centers of mass {apart_mm:.1f} mm apart"
            )
        reason = f"different grids or positions (overlap {100 * overlap:.0f} %, centers {apart_mm:.1f} mm apart)"
    logger.info("affine pre-alignment: %s (%s)", "rigid" if mode == "rigid" else "affine", reason)
    return _refined(ReducedPair.of(fixed, moving), apart, "rigid" if mode == "rigid" else "affine", reason)


def _given(fixed: MaskedVolume, moving: MaskedVolume, value: Affine) -> PreAlignment:
    """Return an alignment that was given as a matrix."""
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    is_affine = matrix.shape == (4, 4) and np.isfinite(matrix).all() and np.allclose(matrix[3], (0, 0, 0, 1))
    if not is_affine or np.linalg.det(matrix[:3, :3]) <= 0:
        got = "a matrix that mirrors or flattens" if is_affine else " ".join(repr(value).split())[:80]
        expected = f"{' | '.join(_MODES)}, or a pull map in RAS mm, shape (4, 4), with the last row 0 0 0 1"
        raise InputError("init", got=got, expected=expected)
    aligned = Grid(moving.grid.shape, np.linalg.solve(matrix, moving.grid.affine))
    if overlap_fraction(fixed.grid, aligned) == 0.0:
        raise InputError(
            "fixed and moving volume",
            got="no overlap after the given alignment",
            expected="overlapping volumes",
            remedy="check that it maps points of the fixed to points of the moving volume",
        )
    return PreAlignment(affine_ras=matrix, mode="given", reason="requested")


def overlap_fraction(fixed: Grid, moving: Grid) -> float:
    """Return the fraction of the fixed grid, sampled coarsely, inside the moving grid."""
    lines = [np.linspace(0, size - 1, min(size, 16)) for size in fixed.shape]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
    index = ras_to_voxel(voxel_to_ras(points, fixed.affine), moving.affine)
    return float(((index >= -0.5) & (index <= np.array(moving.shape) - 0.5)).all(axis=1).mean())


def center_of_mass_mm(image: MaskedVolume) -> np.ndarray:
    """Return the center of mass of the intensities above the minimum, outliers saturated, in RAS mm, shape (3,)."""
    low, high = robust_extremes(image.data)
    mass = np.clip(image.volume.array.astype(np.float64), low, high) - low
    if image.valid is not None:
        mass *= image.valid
    sums = [mass.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    index = np.array([(line * np.arange(line.size)).sum() / line.sum() for line in sums])
    return voxel_to_ras(index, image.grid.affine)


def _center_of_view_mm(image: MaskedVolume) -> np.ndarray:
    """Return the center of the bounding box of the data, in RAS mm."""
    if image.valid is None:
        return voxel_to_ras((np.array(image.grid.shape) - 1) / 2.0, image.grid.affine)
    lines = [np.flatnonzero(image.valid.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return voxel_to_ras(np.array([(line[0] + line[-1]) / 2.0 for line in lines]), image.grid.affine)


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """An alignment with its score, the kind of the map and the name of the start."""

    matrix: Affine
    score: float
    kind: str
    start: str


def _refined(pair: ReducedPair, apart: np.ndarray, mode: str, reason: str) -> PreAlignment:
    """Refine the best start and keep the result if it scores higher than the headers."""
    views = _center_of_view_mm(pair.moving_image) - _center_of_view_mm(pair.fixed_image)
    starts = {"headers": np.eye(4), "centers of mass": _shift(apart), "centers of the fields of view": _shift(views)}
    scored = [
        _Candidate(matrix=matrix, score=pair.score(matrix), kind="center", start=n) for n, matrix in starts.items()
    ]
    headers, best = scored[0], max(scored, key=lambda candidate: candidate.score)
    if best.score <= 0.0:
        raise InputError(
            "pre-alignment",
            got="volumes that have nothing in common, by their headers, centers of mass or fields of view",
            expected="volumes of the same body region",
            remedy="align them by hand first, or check the files",
        )
    # Headers nearly as good as the best start are the only start, since vertebrae and ribs also match their neighbors.
    taken = [headers] if headers.score >= _DOUBTFUL * best.score else []
    taken += [best] if headers.score < _AS_GOOD * best.score else []
    # Rigid first, so that shears do not replace a rotation. Each runs on one thread, both in parallel.
    with ThreadPoolExecutor() as pool:
        first, *others = pool.map(lambda start: _improved(pair, start, "rigid"), taken)
    found = others[0] if others and others[0].score > first.score / _AS_GOOD else first
    found = _improved(pair, found, "affine") if mode == "affine" else found
    if found.score < (1.0 + _LEAST_GAIN) * headers.score:
        logger.info("the affine pre-alignment scores no higher than the headers, which are kept")
        return PreAlignment(affine_ras=None, mode="none", reason="no alignment beats the headers")
    return PreAlignment(affine_ras=found.matrix, mode=found.kind, reason=f"{reason}, from the {found.start}")


def _improved(pair: ReducedPair, start: _Candidate, kind: str) -> _Candidate:
    """Optimise from a start; return the start if that fails, scores no higher, or is implausible."""
    try:
        matrix = pair.optimised(start.matrix, kind)
    except AlignmentFailure as failure:
        logger.warning("affine pre-alignment from the %s: %s; this step is skipped", start.start, failure)
        return start
    score = pair.score(matrix)
    if score <= start.score or not _is_plausible(matrix):
        return start
    return _Candidate(matrix=matrix, score=score, kind=kind, start=start.start)


def _is_plausible(matrix: Affine) -> bool:
    """Return whether no direction is scaled by more than the difference between a child and an adult."""
    sizes = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(sizes.min() > 0.5 and sizes.max() < 2.0 and np.linalg.det(matrix[:3, :3]) > 0)


def _shift(vector_mm: np.ndarray) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = vector_mm
    return matrix
