"""Replies of a live session in process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from SPRCore.errors import SPRError
from SPRCore.geometry import Field, Volume
from SPRCore.live.parts import ReplySummary, UncertaintySummary

Setting = Mapping[str, float]
"""All hyperparameters of a prior, by name."""

ShouldStop = Callable[[], bool]
"""Called between the steps of a computation; returning True stops it with `ComputationStopped`."""


class ComputationStopped(SPRError):
    """`should_stop` stopped a computation; the session is unchanged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply(ReplySummary):
    """A deformation at one setting.

    Attributes:
        displacement: Total pull map from fixed to moving, RAS mm: on the fixed grid if exact, otherwise on a coarser
            grid over the same field of view.
        weight: Weight map λ/λ_max (or λ/λ_mean), on the grid of the displacement.
        inverse: Total pull map from moving to fixed on the moving grid, RAS mm; of committed replies only.
        warped: Moving image on the fixed grid, resampled once; of committed replies only.
    """

    displacement: Field
    weight: Volume
    inverse: Field | None = None
    warped: Volume | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class UncertaintyReply(UncertaintySummary):
    """The uncertainty of the displacement of a reply.

    Attributes:
        uncertainty: One standard deviation of the displacement in mm, the root mean square length of its error, on a
            coarse grid over the field of view of the fixed image.
    """

    uncertainty: Volume
