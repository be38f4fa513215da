"""How long a live session takes for what, and when it gives up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from SPRCore.geometry import Grid
from SPRCore.live.method import Check
from SPRCore.live.reply import ShouldStop, Superseded

BUDGET_MS = {2**20: 80.0, math.inf: 200.0}
"""Time of a preview by the number of voxels: what still feels immediate, and for large images what shows enough."""

SLICE_S = 0.4
"""An improvement is shown about this often, in seconds."""

SLICE_VOXELS = 1_000_000
"""An image gets so many slices of better previews as it has millions of voxels, and one more, before its exact result
is computed: a tenth of what that takes, and where that is short, no more than that the eye sees something coming."""


def slices_of(fixed: Grid) -> int:
    """Return how many slices of better previews an image gets before its exact result."""
    return 1 + math.prod(fixed.shape) // SLICE_VOXELS


def default_budget_ms(fixed: Grid) -> float:
    """Return the time of a preview for an image, in ms."""
    return next(budget for most, budget in BUDGET_MS.items() if math.prod(fixed.shape) <= most)


def milliseconds_since(start: float) -> float:
    """Return the time since a moment of `time.perf_counter`, in ms."""
    return 1e3 * (time.perf_counter() - start)


def asking(should_stop: ShouldStop | None, tell: Callable[[float], None] | None = None) -> Check:
    """Return a check that gives a computation up with `Superseded` where `should_stop` says so.

    Args:
        should_stop: Says so; None for never.
        tell: Told the part done where the check is given it.
    """

    def check(fraction: float | None = None) -> None:
        if tell is not None and fraction is not None:
            tell(fraction)
        if should_stop is not None and should_stop():
            raise Superseded("computation", got="a newer request")

    return check
