"""All metrics of one registration in one dictionary, as `report.json` holds them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from SPRCore.config import finite
from SPRCore.functional import kept_memory
from SPRCore.geometry import Annotations, Field, Grid, MaskedVolume, Volume, resample
from SPRCore.metrics.checks import inner_mask
from SPRCore.metrics.consistency import displacement_summary, inverse_consistency_mm
from SPRCore.metrics.distance import hd95_mm
from SPRCore.metrics.intensity import Similarity
from SPRCore.metrics.jacobian import determinant_map, folding_of, ndv_percent, summary_of
from SPRCore.metrics.landmarks import summarize, tre_mm
from SPRCore.metrics.overlap import dice, dice_mean

Metrics = dict[str, Any]


@kept_memory()
def evaluate(
    *,
    displacement: Field | None = None,
    inverse: Field | None = None,
    fixed: MaskedVolume | None = None,
    moving: MaskedVolume | None = None,
    warped: Volume | None = None,
    warped_labels: Volume | None = None,
    annotations: Annotations | None = None,
    device: torch.device | None = None,
) -> dict[str, Metrics]:
    """Compute the metrics before and after registration that the arguments allow.

    Before means without displacement: the moving image is only resampled onto the fixed grid.

    Args:
        displacement: Pull displacement fixed -> moving in RAS mm (total, pre-alignment included).
        inverse: Pull displacement moving -> fixed in RAS mm.
        fixed: Fixed image with its mask of data.
        moving: Moving image with its mask of data, on its own grid.
        warped: Moving image on the fixed grid after registration; computed from `moving` if absent.
        warped_labels: Moving labels on the fixed grid after registration; computed from `moving_labels` if absent.
        annotations: Labels, landmarks and masks; the fixed mask, on the fixed grid, restricts the regularity metrics.
            Similarity is measured where both images have data.
        device: Device of similarity and regularity: CUDA, or the CPU for any other (they need float64) and for None.
            Both agree up to rounding.

    Returns:
        {"before": {...}, "after": {...}} with the keys dice_mean, dice, hd95_mm, tre_mm, lncc, overlap_percent (part of
        the data of the fixed image where the moving image has data, too), folding_percent, ndv_percent, jacobian,
        displacement_mm, inverse_consistency_mm. A key whose inputs are absent is absent, as is "after" without a
        displacement, warped image or warped labels; undefined values (the HD95 of a label that one map lacks) are None
        and labels are strings, so that the result is valid JSON.

    Raises:
        InputError: Inputs do not match each other.
    """
    device = device if device is not None and device.type == "cuda" else None
    given = annotations or Annotations()
    with ThreadPoolExecutor(1) as pool:  # each half has long single-threaded steps
        regularity = pool.submit(_regularity, displacement, inverse, given.fixed_mask, device)
        before: Metrics = _overlap(given.fixed_labels, given.moving_labels, None)
        after: Metrics = {}
        if warped_labels is not None:
            after.update(_overlap(given.fixed_labels, warped_labels, None))
        elif displacement is not None:
            after.update(_overlap(given.fixed_labels, given.moving_labels, displacement))
        for side, part in zip((before, after), _similarity(fixed, moving, displacement, warped, device), strict=True):
            side.update(part)
    if given.fixed_points is not None and given.moving_points is not None and len(given.fixed_points):
        before["tre_mm"] = summarize(tre_mm(given.fixed_points, given.moving_points))
        if displacement is not None:
            after["tre_mm"] = summarize(tre_mm(given.fixed_points, given.moving_points, displacement))
    after.update(regularity.result())
    return {name: finite(part) for name, part in (("before", before), ("after", after)) if part}


def with_similarity(
    metrics: dict[str, Metrics],
    similarity: str,
    fixed: MaskedVolume,
    moving: MaskedVolume,
    displacement: Field,
    device: torch.device | None = None,
) -> dict[str, Metrics]:
    """Add the similarity that a registration maximized, under its name, to metrics that have ``lncc`` in any case.

    The value is 1 at best; "mind" and "mse" are below 0 for unrelated images, see ``SPRCore.similarity``.

    Args:
        metrics: Metrics before and after, from ``evaluate``.
        similarity: "lncc", for which nothing is added, "mind" or "mse".
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        displacement: Total pull displacement in RAS mm.
        device: As for ``evaluate``.
    """
    if similarity == "lncc":
        return metrics
    measure = Similarity(
        fixed, device=device if device is not None and device.type == "cuda" else None, name=similarity
    )
    sides = {"before": None, "after": displacement}
    return {side: metrics.get(side, {}) | measure.measure(moving, field) for side, field in sides.items()}


def _on(grid: Grid, volume: Volume, displacement: Field | None, labels: bool) -> Volume:
    """The volume resampled onto the grid; unchanged if it is on it already."""
    if displacement is None and volume.grid.matches(grid):
        return volume
    return resample(volume, grid, displacement=displacement, labels=labels)


def _overlap(fixed: Volume | None, moving: Volume | None, displacement: Field | None) -> Metrics:
    """Dice and HD95, if both label maps are given."""
    if fixed is None or moving is None:
        return {}
    warped = _on(fixed.grid, moving, displacement, labels=True)
    scores = dice(fixed, warped)
    return {"dice_mean": dice_mean(scores), "dice": scores, "hd95_mm": hd95_mm(fixed, warped)}


def _similarity(
    fixed: MaskedVolume | None,
    moving: MaskedVolume | None,
    displacement: Field | None,
    warped: Volume | None,
    device: torch.device | None,
) -> tuple[Metrics, Metrics]:
    """Similarity before and after, as far as the images are given."""
    if fixed is None or (moving is None and warped is None):
        return {}, {}
    similarity = Similarity(fixed, device=device)
    before = {} if moving is None else similarity.measure(moving)
    is_moved = displacement is not None or warped is not None
    return before, similarity.measure(moving, displacement, warped) if is_moved else {}


def _regularity(
    displacement: Field | None, inverse: Field | None, mask: Volume | None, device: torch.device | None
) -> Metrics:
    """Metrics of the displacements alone; no Jacobian for fewer than 3 voxels along an axis."""
    if displacement is None:
        return {}
    result: Metrics = {"displacement_mm": displacement_summary(displacement, mask)}
    shape = displacement.array.shape[:3]
    if min(shape) >= 3:
        determinants, inner = determinant_map(displacement, device), inner_mask(mask, shape)
        values = determinants if inner is None else determinants[inner]
        result.update(folding_percent=folding_of(values), jacobian=summary_of(values))
        result["ndv_percent"] = ndv_percent(displacement, mask, device)
    if inverse is not None:
        result["inverse_consistency_mm"] = inverse_consistency_mm(displacement, inverse, device)
    return result
