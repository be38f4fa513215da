"""Results: tensors of the instance solver, fields in the world without the alignment, and the whole registration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from SPRCore.geometry import Field, Volume, resample_displacement
from SPRCore.metrics.sliding import SlidingSurface
from SPRCore.typing import Scalars, Vectors


@dataclass(frozen=True, kw_only=True)
class Deformation:
    """Tensors of the instance solver on the fixed grid, without the affine pre-alignment.

    Attributes:
        displacement_vox: Pull map from fixed to moving, shape (1, 3, X, Y, Z), in voxels.
        inverse_vox: Pull map from moving to fixed, the integral of minus the velocity, same shape.
        velocity_mm: Stationary velocity on its own grid, in mm.
        weight: Effective weight w = λ/r, shape (1, 1, X, Y, Z); times the stiffness factor q where one is painted.
        energies: Energy after every accepted step, a tuple per level, coarsest first, and one more for corrections.
        similarity: Mean squared local correlation on the last level.
    """

    displacement_vox: Vectors
    inverse_vox: Vectors
    velocity_mm: Vectors
    weight: Scalars
    energies: tuple[tuple[float, ...], ...]
    similarity: float


@dataclass(frozen=True, kw_only=True, eq=False)
class DeformationFields:
    """Fields of the instance solver or of a network on the fixed grid, without the affine pre-alignment, RAS mm.

    Attributes:
        displacement: Pull map from fixed to moving.
        inverse: Pull map from moving to fixed; None where it is computed on request only.
        weight: Weight w = λ/λ_max (or λ/λ_mean) of each voxel.
        velocity: Stationary velocity whose integral is the displacement, on the fixed grid or a coarser one over the
            same field of view; None if there is none.
    """

    displacement: Field
    inverse: Field | None
    weight: Volume
    velocity: Field | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RegistrationResult:
    """A registered pair in world coordinates, the affine pre-alignment included.

    Attributes:
        warped: Moving image on the fixed grid, sampled once from the original.
        displacement: Total pull map from fixed to moving, RAS mm.
        inverse: Total pull map from moving to fixed, on the moving grid, RAS mm; None from a baseline.
        weight: Weight w = λ/λ_max (or λ/λ_mean) of each voxel on the fixed grid: low is free to move, high is stiff.
            The minimizer of the energy, the prediction of a network, or the most probable weight for the field of a
            network that predicts none; None from a baseline.
        velocity: Stationary velocity whose integral is the displacement without the pre-alignment, RAS mm, on the fixed
            grid or a coarser one over the same field of view; None if there is none.
        uncertainty: One standard deviation of the displacement in mm (root mean square length of its error), on the
            fixed grid; None unless asked for.
        samples: Samples of the error of the displacement, in mm along RAS, on a coarse grid; added to the displacement
            they are deformations that the images allow as well. Empty without uncertainty.
        affine_ras: Affine pre-alignment, pull map from fixed to moving world points, shape (4, 4); None if none ran.
        weight_reliability: Standard deviation of the weight of each voxel over repeated registrations, on the fixed
            grid; None unless it was requested.
        sliding: Surfaces with slide and opening by label, and ``stiffness_valley``; empty if they were not asked for.
        report: Inputs, settings, times and metrics, as in ``report.json``.
    """

    warped: Volume
    displacement: Field
    inverse: Field | None = None
    weight: Volume | None = None
    velocity: Field | None = None
    uncertainty: Volume | None = None
    samples: tuple[Field, ...] = ()
    affine_ras: np.ndarray | None = None
    weight_reliability: Volume | None = None
    sliding: Mapping[str, SlidingSurface] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    def sampled_displacement(self, sample: Field) -> Field:
        """Return the displacement plus one of its ``samples``."""
        change = resample_displacement(sample, self.displacement.grid, continued=True)
        return Field(self.displacement.array + change.array, self.displacement.affine)
