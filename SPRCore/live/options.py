"""Options of a live session."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveOptions:
    """Computation of a live session beyond method and prior.

    Attributes:
        init: Pre-alignment: "none", "center", "rigid", "affine", "auto", or a matrix, as for `SPRCore.register`.
        start: Start of the instance optimization: "rest", or "search" for a discrete search, computed once.
        similarity: "lncc", "mind" or "mse"; None for "lncc", or the one of the model.
        refine: Maximum number of instance optimization steps after a model, for exact replies.
        stiffness: Painted factor > 0 of the weight of each voxel, on any grid, 1 outside; None for 1.
        budget_ms: Time budget of a preview, which determines its grid by timing; None for 80 ms, or 200 ms above a
            million voxels.
        cache_mb: Memory for visited settings in MiB; the last exact reply is kept in addition.

    Raises:
        InputError: A budget or cache size that is not above 0.
    """

    init: str | np.ndarray = "none"
    start: str = "rest"
    similarity: str | None = None
    refine: int = 0
    stiffness: Volume | None = None
    budget_ms: float | None = None
    cache_mb: float = 1024.0

    def __post_init__(self) -> None:
        for name, value in (("budget_ms", self.budget_ms), ("cache_mb", self.cache_mb)):
            if value is not None and not 0 < value < math.inf:
                raise InputError(name, got=f"{value:g}", expected="a number above 0")
