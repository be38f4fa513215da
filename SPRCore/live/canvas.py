"""The coarse grid of the previews, chosen by measuring, and what is computed on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from SPRCore.functional import integrate_quickly, mirrored_box_mean, resize
from SPRCore.geometry import Field, Grid, Volume, compose_affine, on_host, resample_displacement
from SPRCore.live.quality import coarse_quality, inner_determinant
from SPRCore.live.reply import Quality
from SPRCore.registration.level import LevelImages, closed_form_weight, free_weight
from SPRCore.registration.pyramid import LEAST_SIZE, Level, make_level
from SPRCore.registration.solver import InstanceConfig, pool_of
from SPRCore.registration.unfold import unfold
from SPRCore.regularization import Prior, squared_gradient
from SPRCore.similarity import FixedStatistics, variance_floor, window_radius
from SPRCore.typing import Scalars, Tensor, Vectors

MOST_VOXELS = 400_000
"""Most voxels of a preview: finer ones show nothing more while a slider moves."""

SHARE = 0.7
"""Part of the budget that a preview may take when it is measured: the rest is for a machine that does other things."""


_LEAST_SQUARE = 1e-12  # of a gradient: below it a weight is 1 at every usual setting


class Picture(NamedTuple):
    """What a preview shows."""

    displacement: Field
    weight: Volume
    quality: Quality


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """A coarse grid over the field of view, with both images on it.

    Attributes:
        images: The images, prepared for evaluations; velocities live on the same grid.
        fixed: The fixed image as it is, shape (1, 1, x, y, z).
        grid: The grid in the world.
        affine_ras: Alignment as a whole, or None.
        settings: Of the solver; they say how far a weight is pooled.
    """

    images: LevelImages
    fixed: Scalars
    grid: Grid
    affine_ras: np.ndarray | None
    settings: InstanceConfig

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.grid.shape)

    def stiffened(self, stiffness: Scalars | None) -> Canvas:
        """Return the same with a stiffness, given on any grid over the field of view; None for 1."""
        factors = None if stiffness is None else resize(stiffness.log(), self.grid.shape).exp()
        return dataclasses.replace(self, images=dataclasses.replace(self.images, stiffness=factors))

    def closed_form(self, velocity_mm: Vectors, prior: Prior, sharpness: Scalars | None = None) -> Scalars:
        """Return the weight that minimizes the energy for a velocity, or for one that is as much sharper."""
        pool = pool_of(self.images, self.settings)
        if sharpness is None:
            return closed_form_weight(self.images, velocity_mm, prior, pool)
        _, pooled = free_weight(self.images, velocity_mm, prior, pool)
        weight = mirrored_box_mean(prior.map_weight(pooled * sharpness.exp()), pool)
        return weight if self.images.stiffness is None else weight * self.images.stiffness

    def sharpness(self, velocity: Field) -> Scalars:
        """Compare the gradient of an exact solution with what is left of it on the canvas.

        Args:
            velocity: The solution's velocity in the world, on the grid of the solver.

        Returns:
            Logarithm of how much larger the pooled squared gradient is on the grid of the solver, on the canvas. A
            painted stiffness is no part of it: it multiplies both.
        """
        step = velocity.grid.spacing
        pool = [self.settings.pool if one < 1.5 * min(step) else 0 for one in step]  # as `pool_of` has it
        fine_mm = velocity.to_tensor_vox().to(self.fixed.device) * self.fixed.new_tensor(step).view(1, 3, 1, 1, 1)
        fine = _log_square(fine_mm, step, pool)
        coarse = _log_square(self.velocity_mm(velocity), self.images.grid.spacing, pool_of(self.images, self.settings))
        return resize(fine, self.grid.shape) - coarse

    def weight_gap(self, velocity_mm: Vectors, weight: Scalars, prior: Prior) -> float:
        """Return the mean distance of a weight from the one that minimizes the energy for a velocity."""
        return float((weight - self.closed_form(velocity_mm, prior)).abs().mean())

    def velocity_mm(self, velocity: Field) -> Vectors:
        """Bring a velocity in the world, on any grid over the field of view, to the canvas, in mm along its axes."""
        if not velocity.grid.matches(self.grid):
            velocity = resample_displacement(velocity, self.grid, continued=True)
        return velocity.to_tensor_vox().to(self.fixed.device) * self.images.spacing

    def displacement_vox(self, displacement: Field) -> Vectors:
        """Bring a displacement in the world to the canvas, in its voxels."""
        return self.velocity_mm(displacement) / self.images.spacing

    def flow(self, velocity_mm: Vectors) -> tuple[Vectors, Vectors]:
        """Integrate a velocity, smoothed around folds if there are any: velocity in mm, displacement in voxels."""
        displacement_vox = integrate_quickly(velocity_mm / self.images.spacing)
        if inner_determinant(displacement_vox).min() <= 0:
            velocity_vox, displacement_vox, *_ = unfold(velocity_mm / self.images.spacing, self.settings.squarings)
            return velocity_vox * self.images.spacing, displacement_vox
        return velocity_mm, displacement_vox

    def picture(self, displacement_vox: Vectors, weight: Scalars, weight_gap: float) -> Picture:
        """Place a displacement in the world and measure it.

        Args:
            displacement_vox: Displacement on the canvas, in its voxels.
            weight: Weight on the canvas.
            weight_gap: Mean distance of the weight from its closed form.

        Returns:
            Total displacement, weight and quality.
        """
        total = self._total(displacement_vox)
        quality = self._measured(displacement_vox, total, weight_gap)
        return Picture(total, Volume(on_host(weight[0, 0]), self.grid.affine), quality)

    def quality(self, displacement_vox: Vectors, weight_gap: float) -> Quality:
        """Measure a displacement on the canvas, in its voxels."""
        return self._measured(displacement_vox, self._total(displacement_vox), weight_gap)

    def _total(self, displacement_vox: Vectors) -> Field:
        total = Field.from_tensor_vox(displacement_vox, self.grid.affine)
        return total if self.affine_ras is None else compose_affine(total, self.affine_ras)

    def _measured(self, displacement_vox: Vectors, total: Field, weight_gap: float) -> Quality:
        determinant = inner_determinant(displacement_vox)
        if self.affine_ras is not None:
            determinant = determinant * float(np.linalg.det(self.affine_ras[:3, :3]))
        return coarse_quality(self.images, displacement_vox, total, determinant, weight_gap)


class Easel:
    """Both images at a resolution from which any canvas is quickly made.

    Args:
        fixed: Fixed image, shape (1, 1, X, Y, Z), about [0, 1].
        moving: Moving image on the same grid.
        grid: Where it lies in the world.
        affine_ras: Alignment as a whole, or None.
        settings: Of the solver.
        mask: Voxels of the fixed image that hold data (not 0), or None for all.
        moving_mask: Likewise of the moving image.
    """

    def __init__(
        self,
        fixed: Scalars,
        moving: Scalars,
        grid: Grid,
        affine_ras: np.ndarray | None,
        settings: InstanceConfig,
        mask: Scalars | None = None,
        moving_mask: Scalars | None = None,
    ) -> None:
        self._grid, self._affine_ras, self._settings = grid, affine_ras, settings
        self._floor = max(variance_floor(fixed), variance_floor(moving))
        self._finest = min(step for step, size in zip(grid.spacing, grid.shape, strict=True) if size > 1)
        masks = [None if part is None else (part != 0).to(fixed.dtype) for part in (mask, moving_mask)]
        parts: list[Tensor | None] = [fixed, moving, *masks]
        step = self._finest
        while math.prod(parts[0].shape[2:]) > 2 * MOST_VOXELS:  # halved: a canvas from full images costs seconds
            step *= 2.0
            shape = make_level(grid.shape, grid.spacing, step).shape
            parts = [None if part is None else resize(part, shape) for part in parts]
        self._parts = parts

    def steps(self) -> list[float]:
        """Return the voxel sizes that a canvas may have, in mm, coarsest first."""
        longest = max((n - 1) * s for n, s in zip(self._grid.shape, self._grid.spacing, strict=True))
        sizes = [self._finest * 2 ** (0.5 * k) for k in range(17)]
        usable = [size for size in sizes if longest / size + 1 >= LEAST_SIZE or size == self._finest]
        return [size for size in reversed(usable) if math.prod(self._level(size).shape) <= MOST_VOXELS] or usable[-1:]

    def canvas(self, step_mm: float) -> Canvas:
        """Make a canvas of voxels of about a size, in mm."""
        level = self._level(step_mm)
        fixed, moving, mask, valid = (None if part is None else resize(part, level.shape) for part in self._parts)
        radius = window_radius(self._settings.window, level.spacing)
        where = None if mask is None else (mask > 0.5).to(fixed.dtype)
        images = LevelImages(
            level=level,
            grid=level,
            fixed=FixedStatistics.of(fixed, radius, where, self._floor),
            moving=moving,
            moving_valid=valid,
        )
        factors = [wide / narrow for wide, narrow in zip(level.spacing, self._grid.spacing, strict=True)]
        grid = Grid(level.shape, self._grid.affine @ np.diag([*factors, 1.0]))  # the first voxels coincide
        return Canvas(images=images, fixed=fixed, grid=grid, affine_ras=self._affine_ras, settings=self._settings)

    def fitting(self, attempt: Callable[[Canvas], float], budget_ms: float) -> Canvas:
        """Return the finest canvas on which an attempt fits into its share of the budget.

        Args:
            attempt: Does what a preview does on a canvas and returns the time of its thread that it took, in ms: what
                else the machine does while a pair is opened says nothing about later.
            budget_ms: The budget.

        Returns:
            The canvas; the coarsest one if none fits.
        """
        best = None
        for step in self.steps():
            canvas = self.canvas(step)
            if best is not None and not _fits(canvas, attempt, SHARE * budget_ms):
                break
            best = canvas
        return best

    def _level(self, step_mm: float) -> Level:
        return make_level(self._grid.shape, self._grid.spacing, step_mm)


def _log_square(velocity_mm: Vectors, spacing: Sequence[float], pool: Sequence[int]) -> Scalars:
    return mirrored_box_mean(squared_gradient(velocity_mm, spacing), pool).clamp(min=_LEAST_SQUARE).log()


def _fits(canvas: Canvas, attempt: Callable[[Canvas], float], most_ms: float) -> bool:
    """Tell whether an attempt takes no longer than allowed, in the best of up to three trials."""
    for _ in range(3):
        spent_ms = attempt(canvas)
        if spent_ms <= most_ms or spent_ms > 2.0 * most_ms:
            break
    return spent_ms <= most_ms
