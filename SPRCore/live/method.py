"""What a live session asks of a way to register."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from SPRCore.geometry import Field, Volume
from SPRCore.live.canvas import Canvas
from SPRCore.live.settings import Axes
from SPRCore.live.visited import Visited
from SPRCore.registration.result import DeformationFields
from SPRCore.regularization import Prior
from SPRCore.typing import Scalars, Tensor, Vectors

Check = Callable[..., None]
"""Called between the parts of a computation, with the part done (0 to 1) where that is known; raises to give it up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sketch:
    """The coarse solution for one setting, as far as it has come.

    Attributes:
        prior: The setting.
        place: Where it lies between the ends of the sliders.
        velocity_mm: Velocity on the canvas, shape (1, 3, x, y, z); None for a network that predicts none.
        displacement_vox: Displacement on the canvas where there is no velocity.
        weight: Weight on the canvas; None for the closed form.
        is_final: Whether there is nothing to improve on this grid.
        kept: What to interpolate other sketches from: the field, then the weight unless it is the closed form.
        work: What the method needs to go on.
    """

    prior: Prior
    place: np.ndarray
    velocity_mm: Vectors | None
    displacement_vox: Vectors | None = None
    weight: Scalars | None = None
    is_final: bool = True
    kept: Tensor | None = None
    work: object = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Exact:
    """The exact solution for one setting.

    Attributes:
        found: The deformation on the fixed grid, its inverse perhaps left out.
        weight_gap: Mean distance of the weight from its closed form.
        sketch: The same on the canvas, where it is the only one to show.
        invert: Computes the inverse that was left out.
        longest_mm: Length of the longest displacement of `found`, where it was measured on the way.
    """

    found: DeformationFields
    weight_gap: float
    sketch: Sketch | None = None
    invert: Callable[[], Field] | None = None
    longest_mm: float | None = None


class Method(Protocol):
    """A way to register a pair, prepared for it."""

    canvas: Canvas
    axes: Axes
    has_stages: bool
    """Whether final sketches differ from exact solutions, so that they are worth showing on the way."""

    def prior(self, changes: Mapping[str, float], current: Prior) -> Prior:
        """Return a prior with changed hyperparameters; raises `InputError` for those it cannot have."""
        ...

    def begin(
        self, prior: Prior, place: np.ndarray, visited: Visited, last: Sketch | None, deadline: float, check: Check
    ) -> Sketch:
        """Sketch the solution until a point in time of `time.perf_counter`."""
        ...

    def improved(self, sketch: Sketch, deadline: float, check: Check) -> Sketch:
        """Go on with a sketch that is not final."""
        ...

    def settle(self, prior: Prior, place: np.ndarray, velocity_mm: Vectors) -> None:
        """Prepare for moves from a solution, given on the canvas."""
        ...

    def exact(self, prior: Prior, place: np.ndarray, check: Check) -> Exact:
        """Compute the exact solution; given up by `check` and asked again, it goes on where that is possible."""
        ...

    def keep_only(self, prior: Prior | None) -> None:
        """Drop what is kept of unfinished exact solutions for other settings."""
        ...

    def stiffen(self, stiffness: Volume | None) -> None:
        """Change the painted stiffness, given on the fixed grid; raises `InputError` if that has no effect."""
        ...
