"""What a live session answers with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from SPRCore.errors import SPRError
from SPRCore.geometry import Field, Volume

Setting = Mapping[str, float]
"""Hyperparameters of the prior by their names, all of them."""

ShouldStop = Callable[[], bool]
"""Asked between the steps of a computation; true gives it up with `Superseded`."""


class Superseded(SPRError):
    """A computation was given up because nobody waits for it any more; the session is as it was before."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good a deformation is, at the cost of a preview.

    Attributes:
        folding_percent: Share of voxels where the map folds, of the grid of the displacement, in percent.
        min_jacobian: Least Jacobian determinant there.
        max_displacement_mm: Longest displacement, alignment as a whole included.
        lncc: Mean squared local correlation on the grid of the previews, for exact replies too: so the numbers of all
            replies of a session compare. `metrics` of a committed reply holds that of the full resolution.
        weight_gap: Mean distance between the weight and the one that minimizes the energy for the same field; 0 for the
            instance method up to resampling, and a measure of what a network has learned.
    """

    folding_percent: float
    min_jacobian: float
    max_displacement_mm: float
    lncc: float
    weight_gap: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """A deformation for one setting: a preview, or exact.

    Attributes:
        displacement: Total pull map from fixed to moving, alignment as a whole included, RAS mm: on the fixed grid if
            exact, otherwise on a coarser one of the same field of view.
        weight: Weight λ/λ_max (or λ/λ_mean) of each voxel, on the grid of the displacement.
        weight_known: Whether the weight may be shown as that of this setting. False for a preview that is near nothing
            exact: on a coarse grid a weight hardly varies where the exact one does, see docs/adr/0015.
        quality: How good it is, measured on the grid of the previews; the folding of a committed reply on its own grid.
        setting: The hyperparameters it belongs to.
        exact: Whether it is what `SPRCore.register` gives at this setting; a preview otherwise.
        milliseconds: Time that the reply took, from the call to the reply.
        stage: What was done, in words.
        inverse: Total pull map from moving to fixed on the moving grid, RAS mm; for committed replies alone.
        warped: Moving image on the fixed grid, sampled once from the original; for committed replies alone.
        metrics: As in the report of `SPRCore.register`; for committed replies alone.
        warnings: What makes the result doubtful, one plain sentence each, as in the report of `SPRCore.register`.
    """

    displacement: Field
    weight: Volume
    quality: Quality
    setting: Setting
    exact: bool
    weight_known: bool
    milliseconds: float
    stage: str
    inverse: Field | None = None
    warped: Volume | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One point of the settings map.

    Attributes:
        setting: The hyperparameters.
        quality: Quality of the preview there.
        dice_mean: Mean Dice over the labels, on the grid of the previews; None without labels.
        tre_mm: Mean error at the landmarks, in mm; None without landmarks.
        milliseconds: Time that the point took.
    """

    setting: Setting
    quality: Quality
    dice_mean: float | None = None
    tre_mm: float | None = None
    milliseconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChosenSetting:
    """A setting that was chosen for the pair, without labels.

    Attributes:
        prior: Name of the prior.
        setting: Its hyperparameters.
        compared: Whether settings were compared; false where the default stands because nothing could be.
        blocks: Number of held-out blocks with information.
        warnings: What the user must know, one plain sentence each, as in the report of `SPRCore.register`.
    """

    prior: str
    setting: Setting
    compared: bool
    blocks: int
    warnings: tuple[str, ...] = ()
