"""All metrics of one registration in one dictionary, as `report.json` holds them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from SPRCore.functional import kept_memory
from SPRCore.geometry import Field, Grid, MaskedVolume, Volume, resample
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
    fixed_labels: Volume | None = None,
    moving_labels: Volume | None = None,
    warped_labels: Volume | None = None,
    fixed_points: np.ndarray | None = None,
    moving_points: np.ndarray | None = None,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    device: torch.device | None = None,
) -> dict[str, Metrics]:
    """Metrics before and after registration from whatever is given.

    Before means no displacement at all: the moving side is only resampled onto the fixed grid.

    Args:
        displacement: Pull displacement fixed -> moving in RAS mm (the total map, pre-alignment included).
        inverse: Pull displacement moving -> fixed in RAS mm.
        fixed: Fixed image with its data.
        moving: Moving image with its data, on its own grid.
        warped: Moving image on the fixed grid after registration; made from `moving` if not given.
        fixed_labels: Label map of the fixed image.
        moving_labels: Label map of the moving image on its own grid.
        warped_labels: Moving labels on the fixed grid after registration; made from `moving_labels` if not given.
        fixed_points: Landmarks (N, 3) in RAS mm.
        moving_points: Their partners (N, 3) in RAS mm.
        fixed_mask: Voxels of the fixed grid that count for the regularity. For the similarity those count where both
            images have data.
        moving_mask: Not looked at, since the moving image knows where it has data; so that all that belongs to a pair
            can be passed together.
        device: Where to compute similarity and regularity: a CUDA device, or the CPU for any other (they need float64)
            and for None. The numbers of both agree up to rounding.

    Returns:
        {"before": {...}, "after": {...}} with the keys dice_mean, dice, hd95_mm, tre_mm, lncc, overlap_percent (the
        part of the fixed image's data at which the moving image has data, too), folding_percent, ndv_percent, jacobian,
        displacement_mm, inverse_consistency_mm. A key whose inputs were not given is absent, as is "after" without a
        displacement or anything warped; a value that does not exist (the HD95 of a label that one map lacks) is None,
        so that the result is valid JSON. Labels are strings for the same reason.

    Raises:
        InputError: Inputs that do not fit each other.
    """
    device = device if device is not None and device.type == "cuda" else None
    with ThreadPoolExecutor(1) as pool:  # each half spends much of its time in steps that run on one thread
        regularity = pool.submit(_regularity, displacement, inverse, fixed_mask, device)
        before: Metrics = _overlap(fixed_labels, moving_labels, None)
        after: Metrics = {}
        if displacement is not None or warped_labels is not None:
            labels = warped_labels if warped_labels is not None else moving_labels
            after.update(_overlap(fixed_labels, labels, None if warped_labels is not None else displacement))
        for side, part in zip((before, after), _similarity(fixed, moving, displacement, warped, device), strict=True):
            side.update(part)
    if fixed_points is not None and moving_points is not None and len(fixed_points):
        before["tre_mm"] = summarize(tre_mm(fixed_points, moving_points))
        if displacement is not None:
            after["tre_mm"] = summarize(tre_mm(fixed_points, moving_points, displacement))
    after.update(regularity.result())
    return {name: _plain(part) for name, part in (("before", before), ("after", after)) if part}


def _on(grid: Grid, volume: Volume, displacement: Field | None, labels: bool) -> Volume:
    """The volume pulled onto the grid; untouched if it is there already."""
    if displacement is None and volume.grid.matches(grid):
        return volume
    return resample(volume, grid, displacement=displacement, labels=labels)


def _overlap(fixed: Volume | None, moving: Volume | None, displacement: Field | None) -> Metrics:
    """Dice and HD95, if both label maps are there."""
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
    """How alike the images are before and after, as far as they are there."""
    if fixed is None or (moving is None and warped is None):
        return {}, {}
    similarity = Similarity(fixed, device=device)
    before = {} if moving is None else similarity.measure(moving)
    is_moved = displacement is not None or warped is not None
    return before, similarity.measure(moving, displacement, warped) if is_moved else {}


def _regularity(
    displacement: Field | None, inverse: Field | None, mask: Volume | None, device: torch.device | None
) -> Metrics:
    """Everything that the displacements tell alone; nothing of the Jacobian for fewer than 3 voxels along an axis."""
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


def _plain(value: Any) -> Any:
    """The value as JSON knows it: string keys, None for NaN."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
