"""Warnings about a pair before registration, and about its result."""

from __future__ import annotations

from typing import Any

import numpy as np

from SPRCore.config import value_at
from SPRCore.geometry import Grid, MaskedVolume, Volume, ras_to_voxel, voxel_to_ras
from SPRCore.geometry.annotations import Annotations
from SPRCore.io import ModelCard
from SPRCore.metrics.sliding import VALLEY
from SPRCore.networks.network import MIN_SIZE
from SPRCore.registration.network import beyond_training
from SPRCore.registration.prealign import overlap_fraction
from SPRCore.registration.working import working_grid
from SPRCore.regularization import Prior
from SPRCore.regularization.priors import hyperparameters

_LEAST_OVERLAP_PERCENT = 25.0
"""Overlap below which a warning is given."""

OPENING_MM = 5.0
"""A surface whose two sides part or overlap by more than this, at the 95th percentile, causes a warning."""

_COARSER = 2.5  # times the spacing of the model
_LEAST_SEEN = 0.7  # of the fixed image, by a model with a grid of fixed shape
_AIR_HU = -500.0

_MEASURES = {
    "mind": "the MIND similarity",
    "mse": "the agreement of the intensities (mean squares)",
    "lncc": "the local correlation",
}


def pair_warnings(
    fixed: MaskedVolume, moving: MaskedVolume, given: Annotations, card: ModelCard | None = None
) -> list[str]:
    """Return warnings about a pair, one sentence each.

    Args:
        fixed: Fixed image with its mask.
        moving: Moving image with its mask.
        given: Annotations, on their own grids or those of their images.
        card: Card of the model that will register the pair; None for the instance optimization.
    """
    found = []
    for side, image in (("fixed", fixed), ("moving", moving)):
        found += _label_warnings(side, image.grid, getattr(given, f"{side}_labels"))
        found += _point_warnings(side, image.grid, getattr(given, f"{side}_points"))
        found += [] if card is None else _card_warnings(side, image, card)
    return found + _common_labels(given)


def setting_warnings(card: ModelCard, prior: Prior) -> list[str]:
    """Return a warning for each hyperparameter that exceeds the training of a model."""
    values = hyperparameters(prior)
    return [
        f"{name} {values[name]:g} is beyond the training of the model {card.name}, which ended at {end:g}"
        for name, end in beyond_training(card, prior).items()
    ]


def change_warnings(metrics: dict[str, dict[str, Any]]) -> list[str]:
    """Return warnings about metrics that are worse after registration, and about little overlap, one sentence each.

    Args:
        metrics: `before` and `after`, as returned by `SPRCore.metrics.evaluate`.
    """
    before, after = metrics.get("before", {}), metrics.get("after", {})
    found = []
    measure = next(name for name in _MEASURES if name in after or name == "lncc")  # what was maximized
    for name, keys, form, sign, margin in (
        (_MEASURES[measure], (measure,), "{:.3f}", 1.0, 1e-3),
        ("the mean Dice of the labels", ("dice_mean",), "{:.3f}", 1.0, 1e-3),
        ("the mean landmark error", ("tre_mm", "mean"), "{:.2f} mm", -1.0, 0.01),
    ):
        old, new = (value_at(side, keys) for side in (before, after))
        if old is not None and new is not None and sign * (new - old) < -margin:
            way = "fell" if sign > 0 else "rose"
            found.append(f"{name} {way} from {form.format(old)} to {form.format(new)}: it was better before")
    share = after.get("overlap_percent")
    if share is not None and share < _LEAST_OVERLAP_PERCENT:
        found.append(f"only {share:.0f} % of the fixed image has a counterpart in the moving image")
    return found + _opening_warnings(after.get("sliding_mm", {}))


def _opening_warnings(sliding: dict[str, dict[str, Any]]) -> list[str]:
    """Warnings about gaps and overlaps at surfaces where the displacement jumps."""
    found = []
    for name, part in sliding.items():
        opening = part["opening"] or {"p05": 0.0, "p95": 0.0}
        where = f"the surface of label {name}" if name != VALLEY else "the valleys of the stiffness"
        for size, what in ((opening["p95"], "a gap opens at"), (-opening["p05"], "the two sides overlap at")):
            if size > OPENING_MM:
                found.append(f"{what} {where}: {size:.1f} mm or more on 5 % of the area that was measured")
    return found


def _label_warnings(side: str, grid: Grid, labels: Volume | None) -> list[str]:
    if labels is None:
        return []
    marked = np.argwhere(labels.array != 0)
    if not len(marked):
        return [f"the {side} labels are 0 everywhere: they measure nothing"]
    if labels.grid.matches(grid):
        return []
    points = voxel_to_ras(marked[:: max(1, len(marked) // 20_000)], labels.affine)
    outside = 1.0 - float(_inside(points, grid).mean())
    return [f"{100 * outside:.0f} % of the {side} labels are outside of the {side} image"] if outside > 0.01 else []


def _common_labels(given: Annotations) -> list[str]:
    if given.fixed_labels is None or given.moving_labels is None:
        return []
    sides = [set(np.unique(labels.array).tolist()) - {0} for labels in (given.fixed_labels, given.moving_labels)]
    if all(sides) and not sides[0] & sides[1]:
        return ["the fixed and the moving labels have no number in common: their overlap is 0"]
    return []


def _point_warnings(side: str, grid: Grid, points: np.ndarray | None) -> list[str]:
    if points is None or not len(points):
        return []
    outside = ~_inside(points, grid)
    if not outside.any():
        return []
    index = ras_to_voxel(points[outside], grid.affine)
    nearest = voxel_to_ras(np.clip(index, -0.5, np.array(grid.shape) - 0.5), grid.affine)
    away = np.linalg.norm(points[outside] - nearest, axis=1).max()
    count = f"{int(outside.sum())} of {len(points)}"
    return [f"{count} {side} landmarks are outside of the {side} image, up to {away:.0f} mm away"]


def _inside(points_mm: np.ndarray, grid: Grid) -> np.ndarray:
    index = ras_to_voxel(points_mm, grid.affine)
    return ((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=1)


def _card_warnings(side: str, image: MaskedVolume, card: ModelCard) -> list[str]:
    """Deviations from the range of a model card."""
    found, what = [], f"the {side} image"
    shape = working_grid(image.grid, card.grid).shape
    if min(shape) < MIN_SIZE // 2:
        found.append(
            f"{what} has {min(shape)} voxels along an axis, less than half of the {MIN_SIZE} of the input of model"
            f" {card.name}: most of the input is the repeated border"
        )
    if card.grid.orientation is None and side == "fixed":
        found.append(
            f"the card of the model {card.name} does not say how the axes of its training images point: if yours point"
            " otherwise, the result is wrong"
        )
    wanted = card.grid.spacing_mm
    if wanted is not None and max(image.grid.spacing) > _COARSER * max(wanted):
        spacing = max(image.grid.spacing)
        found.append(
            f"{what} has voxels of {spacing:.3g} mm; the model {card.name} was trained at {max(wanted):.3g} mm"
        )
    if side == "fixed" and card.grid.shape is not None:
        seen = overlap_fraction(image.grid, working_grid(image.grid, card.grid))
        if seen < _LEAST_SEEN:
            found.append(f"the model {card.name} sees {100 * seen:.0f} % of the fixed image")
    is_ct = float(np.percentile(image.data, 1.0)) < _AIR_HU
    modality = card.modality.upper()
    if is_ct and "MR" in modality and "CT" not in modality:
        found.append(f"{what} looks like CT; the model {card.name} is made for {card.modality}")
    if not is_ct and modality == "CT":
        found.append(f"{what} does not look like CT in Hounsfield units, which the model {card.name} is made for")
    return found
