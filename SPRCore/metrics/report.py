"""All metrics of one registration in one dictionary, as `report.json` holds them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from SPRCore.config import finite
from SPRCore.functional import kept_memory
from SPRCore.geometry import Annotations, Field, MaskedVolume, Volume, resample
from SPRCore.metrics.checks import inner_mask
from SPRCore.metrics.consistency import displacement_summary, inverse_consistency_mm
from SPRCore.metrics.conventions import MetricConventions
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
    annotations: Annotations | None = None,
    device: torch.device | None = None,
    conventions: MetricConventions | None = None,
) -> dict[str, Metrics]:
    """Compute the metrics before and after registration that the arguments allow.

    Before means without displacement: the moving image is only resampled onto the fixed grid.

    Args:
        displacement: Pull displacement fixed -> moving in RAS mm (total, pre-alignment included).
        inverse: Pull displacement moving -> fixed in RAS mm.
        fixed: Fixed image with its mask of data.
        moving: Moving image with its mask of data, on its own grid.
        warped: Moving image on the fixed grid after registration; computed from `moving` if absent.
        annotations: Labels, landmarks and masks; the fixed mask, on the fixed grid, restricts the regularity metrics.
            Similarity is measured where both images have data.
        device: Device of similarity and regularity: CUDA, or the CPU for any other (they need float64) and for None.
            Both agree up to rounding.
        conventions: How labels are warped and over which voxels folding is taken; None for the nearest voxel and all.

    Returns:
        {"before": {...}, "after": {...}} with the keys dice_mean, dice, hd95_mm, tre_mm, lncc, overlap_percent (part of
        the data of the fixed image where the moving image has data, too), folding_percent, ndv_percent, jacobian,
        displacement_mm, inverse_consistency_mm. A key whose inputs are absent is absent, as is "after" without a
        displacement or warped image; undefined values (the HD95 of a label that one map lacks) are None
        and labels are strings, so that the result is valid JSON.

    Raises:
        InputError: Inputs do not match each other.
    """
    device = device if device is not None and device.type == "cuda" else None
    given, conventions = annotations or Annotations(), conventions or MetricConventions()
    region = conventions.region(fixed, given.fixed_mask) if displacement is not None else None
    with ThreadPoolExecutor(1) as pool:  # each half has long single-threaded steps
        regularity = pool.submit(_regularity, displacement, inverse, (given.fixed_mask, region), device)
        before: Metrics = _overlap(given, None, conventions)
        after: Metrics = {} if displacement is None else _overlap(given, displacement, conventions)
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


def _overlap(given: Annotations, displacement: Field | None, conventions: MetricConventions) -> Metrics:
    """Dice and HD95, if both label maps are given; moving labels on the grid of the fixed ones are not resampled."""
    fixed, warped = given.fixed_labels, given.moving_labels
    if fixed is None or warped is None:
        return {}
    if displacement is not None or not warped.grid.matches(fixed.grid):
        warped = resample(warped, fixed.grid, displacement=displacement, labels=conventions.labels)
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
    displacement: Field | None,
    inverse: Field | None,
    masks: tuple[Volume | None, Volume | None],
    device: torch.device | None,
) -> Metrics:
    """Metrics of the displacements alone, of their size over the first mask and of folding over the second.

    No Jacobian for fewer than 3 voxels along an axis.
    """
    if displacement is None:
        return {}
    mask, region = masks
    result: Metrics = {"displacement_mm": displacement_summary(displacement, mask)}
    shape = displacement.array.shape[:3]
    if min(shape) >= 3:
        determinants, inner = determinant_map(displacement, device), inner_mask(region, shape)
        values = determinants if inner is None else determinants[inner]
        result.update(folding_percent=folding_of(values), jacobian=summary_of(values))
        result["ndv_percent"] = ndv_percent(displacement, region, device)
    if inverse is not None:
        result["inverse_consistency_mm"] = inverse_consistency_mm(displacement, inverse, device)
    return result
