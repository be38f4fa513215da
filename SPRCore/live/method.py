"""Interface between a live session and its method of registration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from SPRCore.geometry import Field, Volume
from SPRCore.live.preview_grid import PreviewGrid
from SPRCore.live.settings import Axes
from SPRCore.live.velocity_cache import VelocityCache
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.result import DeformationFields
from SPRCore.regularization import Prior
from SPRCore.typing import Scalars, Tensor, Vectors

Check = Callable[..., None]
"""Called between the parts of a computation, with the fraction done (0 to 1) if known; raises to stop it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoarseSolution:
    """Solution for one setting on the preview grid, perhaps not converged.

    Attributes:
        prior: The setting.
        position: Its position in the space of settings (`Axes.position`).
        velocity_mm: Velocity, shape (1, 3, x, y, z); None for a network that predicts displacements.
        displacement_vox: Displacement if there is no velocity.
        weight: Weight; None for the closed form.
        is_final: Whether it has converged.
        interpolable: Channels from which other solutions are interpolated: the field, then the weight unless that is
            the closed form.
        descent: Unfinished computation of the method.
    """

    prior: Prior
    position: np.ndarray
    velocity_mm: Vectors | None
    displacement_vox: Vectors | None = None
    weight: Scalars | None = None
    is_final: bool = True
    interpolable: Tensor | None = None
    descent: object = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactSolution:
    """Exact solution for one setting.

    Attributes:
        deformation: Deformation on the fixed grid; the inverse may be missing.
        weight_gap: Mean absolute difference of the weight from its closed form.
        coarse: The same on the preview grid, if the method has no other coarse solution.
        invert: Computes the missing inverse.
        max_displacement_mm: Length of the longest displacement, if already known.
    """

    deformation: DeformationFields
    weight_gap: float
    coarse: CoarseSolution | None = None
    invert: Callable[[], Field] | None = None
    max_displacement_mm: float | None = None


class LiveMethod(Protocol):
    """Method of registration, prepared for one pair."""

    preview_grid: PreviewGrid
    axes: Axes
    trained: Mapping[str, float]
    """Largest value of each slider in the training of a model; empty for the instance optimization."""
    measures_gap: bool
    """Whether the weight of a network can be compared with the closed form on the preview grid, in mm."""
    has_stages: bool
    """Whether converged coarse solutions differ from exact ones, so that they are worth showing first."""

    def prior(self, changes: Mapping[str, float], current: Prior) -> Prior:
        """Return a prior with changed hyperparameters; raises `InputError` for invalid ones."""
        ...

    def warnings(self, prior: Prior) -> tuple[str, ...]:
        """Return reasons to doubt results at a setting, in sentences."""
        ...

    def begin(
        self, prior: Prior, velocities: VelocityCache, last: CoarseSolution | None, deadline: float, check: Check
    ) -> CoarseSolution:
        """Return a coarse solution computed before a deadline of `time.perf_counter`."""
        ...

    def improved(self, solution: CoarseSolution, deadline: float, check: Check) -> CoarseSolution:
        """Continue a coarse solution that is not final."""
        ...

    def settle(self, prior: Prior, position: np.ndarray, velocity_mm: Vectors) -> None:
        """Prepare for changes from a solution on the preview grid."""
        ...

    def exact(self, prior: Prior, position: np.ndarray, check: Check) -> ExactSolution:
        """Compute the exact solution; after an interruption by `check` it is resumed if possible."""
        ...

    def keep_only(self, prior: Prior | None) -> None:
        """Drop unfinished exact solutions of other settings."""
        ...

    def problem(self) -> InstanceProblem:
        """Return the pair prepared for the solver, for the uncertainty."""
        ...

    def stiffen(self, stiffness: Volume | None) -> None:
        """Replace the painted stiffness on the fixed grid; raises `InputError` if it has no effect."""
        ...
