"""What every way of registering returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from SPRCore.geometry import Field, Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Deformation:
    """How a moving image that has been aligned as a whole is deformed onto the fixed one, all on the fixed grid.

    Attributes:
        displacement: Pull map from fixed to moving, the alignment not included, RAS mm.
        inverse: Pull map back, likewise; None where it is computed only when it is asked for.
        weight: Weight w = λ/λ_max (or λ/λ_mean) of each voxel.
        velocity: Stationary velocity whose integral the displacement is, RAS mm, over the fixed grid or at the coarser
            resolution at which it was found; None where there is none.
    """

    displacement: Field
    inverse: Field | None
    weight: Volume
    velocity: Field | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RegistrationResult:
    """A registered pair in world coordinates.

    Attributes:
        warped: Moving image on the fixed grid, sampled once from the original.
        displacement: Total pull map from fixed to moving, alignment as a whole included, RAS mm.
        inverse: Total pull map from moving to fixed, on the moving grid, RAS mm; None from a baseline.
        weight: Weight w = λ/λ_max (or λ/λ_mean) of each voxel on the fixed grid: low is free to move, high is stiff.
            The minimizer of the energy, the prediction of a network, or the most probable one for the field of a
            network that predicts none; None from a baseline.
        affine_ras: Alignment as a whole, pull map from fixed to moving world points, shape (4, 4); None where none ran.
        report: Inputs, settings, times and metrics, as ``report.json`` holds them.
    """

    warped: Volume
    displacement: Field
    inverse: Field | None = None
    weight: Volume | None = None
    affine_ras: np.ndarray | None = None
    report: dict[str, Any] = field(default_factory=dict)
