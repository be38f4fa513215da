"""Time budgets of a live session, and the check that stops its computations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from SPRCore.geometry import Grid
from SPRCore.live.method import Check
from SPRCore.live.reply import ComputationStopped, ShouldStop

BUDGET_MS = {2**20: 80.0, math.inf: 200.0}
"""Default budget of a preview by maximum number of voxels: perceived as immediate, longer for large images."""

SLICE_S = 0.4
"""Seconds between two improvements."""

_SLICE_VOXELS = 1_000_000
"""Voxels per improvement before the exact result, plus one: about a tenth of the time of the exact result."""


def slices_of(fixed: Grid) -> int:
    """Return the number of improvements before the exact result."""
    return 1 + math.prod(fixed.shape) // _SLICE_VOXELS


def default_budget_ms(fixed: Grid) -> float:
    """Return the default budget of a preview in ms."""
    return next(budget for most, budget in BUDGET_MS.items() if math.prod(fixed.shape) <= most)


def milliseconds_since(start: float) -> float:
    """Return the milliseconds since a time of `time.perf_counter`."""
    return 1e3 * (time.perf_counter() - start)


def stop_check(should_stop: ShouldStop | None, report: Callable[[float], None] | None = None) -> Check:
    """Return a check that raises `ComputationStopped` when `should_stop`, if given, returns True.

    `report` receives the fraction done whenever the check does.
    """

    def check(fraction: float | None = None) -> None:
        if report is not None and fraction is not None:
            report(fraction)
        if should_stop is not None and should_stop():
            raise ComputationStopped("computation", got="a newer request")

    return check
