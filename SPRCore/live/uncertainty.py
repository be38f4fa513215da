"""Uncertainty of the results of a live session, in parts, so that sliders respond in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SPRCore.functional import logarithm, resize_displacement, step_ratio
from SPRCore.geometry import Field, Volume, compose_affine, resample_displacement
from SPRCore.live.method import Check
from SPRCore.live.pair import LivePair
from SPRCore.live.preview_grid import PreviewGrid
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.level import Pausing
from SPRCore.registration.result import DeformationFields
from SPRCore.registration.uncertainty import UncertaintyConfig
from SPRCore.registration.uncertainty_fields import UncertaintyFields, uncertainty_fields
from SPRCore.regularization import Prior
from SPRCore.typing import Vectors

_FITTED_VOXELS = 20_000
"""Maximum number of voxels on which a velocity is fitted; the grid of the samples is hardly finer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EstimatedDeformation:
    """A deformation whose uncertainty is estimated.

    Attributes:
        prior: Its setting.
        displacement: Total pull map, RAS mm, on any grid over the field of view of the fixed image.
        weight: Effective weight, on any grid over the field of view.
        velocity_mm: Velocity in mm along the axes of the fixed grid, at any resolution; None to fit one.
    """

    prior: Prior
    displacement: Field
    weight: Volume
    velocity_mm: Vectors | None


class UncertaintyEstimator:
    """Estimates the uncertainty of deformations of one pair; an interrupted estimate is resumed.

    Args:
        pair: The pair.
        problem: Returns the pair prepared for the solver.
    """

    def __init__(self, pair: LivePair, problem: Callable[[], InstanceProblem]) -> None:
        self._pair, self._problem = pair, problem
        self._running: tuple[object, bool, Pausing[UncertaintyFields]] | None = None

    def estimated(
        self,
        source: object,
        deformation: Callable[[], EstimatedDeformation],
        grid: PreviewGrid,
        fine: bool,
        check: Check,
    ) -> UncertaintyFields:
        """Return the uncertainty of a deformation, without samples.

        Args:
            source: Object that the deformation belongs to; an interrupted estimate of the same one is resumed.
            deformation: Returns the deformation.
            grid: Grid on which a missing velocity is fitted.
            fine: Whether to use the settings of `SPRCore.register`; otherwise coarser ones.
            check: Called between the parts; an exception interrupts the estimate.
        """
        check()
        running = self._running
        if running is None or running[0] is not source or running[1] != fine:
            running = source, fine, self._started(deformation, grid, fine)
        try:
            while True:
                self._running = None  # an error in the estimate ends it, an error in the check does not
                next(running[2])
                self._running = running
                check()
        except StopIteration as end:
            return dataclasses.replace(end.value, samples=())

    def drop(self) -> None:
        """Drop an interrupted estimate."""
        self._running = None

    def _started(
        self, deformation: Callable[[], EstimatedDeformation], grid: PreviewGrid, fine: bool
    ) -> Pausing[UncertaintyFields]:
        affine_ras, fixed = self._pair.affine_ras, self._pair.fixed.grid
        problem = self._problem()
        yield
        of = deformation()
        yield
        own = of.displacement if affine_ras is None else compose_affine(of.displacement, np.linalg.inv(affine_ras))
        velocity_mm = _fitted_mm(own, grid) if of.velocity_mm is None else of.velocity_mm
        yield
        if not own.grid.matches(fixed):
            own = resample_displacement(own, fixed, continued=True)
            yield
        found = DeformationFields(displacement=own, inverse=None, weight=of.weight)
        config = UncertaintyConfig() if fine else UncertaintyConfig.coarse()
        options = {"prior": of.prior, "affine_ras": affine_ras, "config": config}
        return (yield from uncertainty_fields(problem, found, velocity_mm, **options))


def _fitted_mm(displacement: Field, grid: PreviewGrid) -> Vectors:
    """Return a velocity of a displacement without pre-alignment, in mm along the axes of the fixed grid."""
    displacement_vox = grid.displacement_vox(displacement)
    shape = tuple(grid.grid.shape)
    factor = min(1.0, (_FITTED_VOXELS / grid.voxels) ** (1 / 3))
    small = resize_displacement(displacement_vox, [max(2, round(factor * size)) if size > 1 else 1 for size in shape])
    velocity_vox, _residual = logarithm(small)
    sizes = zip(shape, small.shape[2:], grid.grid.spacing, strict=True)
    spacing = small.new_tensor([step * step_ratio(old, new) for old, new, step in sizes])
    return velocity_vox * spacing.view(1, 3, 1, 1, 1)
