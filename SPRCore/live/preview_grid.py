"""The coarse grid on which previews are computed, and its choice by timing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from SPRCore.functional import integrate_quickly, mirrored_box_mean, resize
from SPRCore.geometry import Field, Grid, Volume, compose_affine, on_host, resample_displacement
from SPRCore.live.parts import DeformationQuality
from SPRCore.live.quality import coarse_quality, inner_determinant
from SPRCore.registration.level import LevelImages
from SPRCore.registration.pyramid import LEAST_SIZE, Level, make_level
from SPRCore.registration.solver import InstanceConfig
from SPRCore.registration.unfold import unfold
from SPRCore.regularization import Prior, squared_gradient
from SPRCore.regularization.most_probable import effective_weight, free_weight, pool_of
from SPRCore.similarity import common_floor, features, fixed_side
from SPRCore.typing import Images, Scalars, Tensor, Vectors

MAX_VOXELS = 400_000
"""Maximum number of voxels of a preview grid; finer previews look the same while a slider moves."""

_SHARE = 0.7
"""Fraction of the budget that a preview may take in the timing; the rest allows for other programs."""

_MIN_SQUARE = 1e-12  # squared gradient below which the weight is 1 at all usual settings


class Preview(NamedTuple):
    """Fields and quality of a preview."""

    displacement: Field
    weight: Volume
    quality: DeformationQuality


@dataclass(frozen=True, kw_only=True, eq=False)
class PreviewGrid:
    """Both images on a coarse grid over the field of view.

    Attributes:
        images: The images, prepared for the energy; velocities have the same grid.
        fixed: First channel of the fixed image, shape (1, 1, x, y, z).
        grid: Grid in the world.
        affine_ras: Affine pre-alignment, or None.
        settings: Solver settings, for the pooling of the weight.
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

    def stiffened(self, stiffness: Scalars | None) -> PreviewGrid:
        """Return the grid with a painted stiffness, given on any grid over the field of view; None for 1."""
        factors = None if stiffness is None else resize(stiffness.log(), self.grid.shape).exp()
        return dataclasses.replace(self, images=dataclasses.replace(self.images, stiffness=factors))

    def closed_form(self, velocity_mm: Vectors, prior: Prior, sharpness: Scalars | None = None) -> Scalars:
        """Return the weight that minimizes the energy for a velocity, its squared gradient times e^sharpness."""
        spacing, stiffness = self.images.grid.spacing, self.images.stiffness
        pool = pool_of(spacing, self.settings.pool)
        free, pooled = free_weight(velocity_mm, spacing, prior, pool, stiffness)
        free = free if sharpness is None else prior.map_weight(pooled * sharpness.exp())
        return effective_weight(free, pool, stiffness)

    def sharpness(self, velocity: Field) -> Scalars:
        """Return the log ratio of the pooled squared gradient on the grid of the solver to that on the preview grid.

        `velocity` is the exact one, on the grid of the solver. The painted stiffness multiplies both gradients and
        cancels.
        """
        step = velocity.grid.spacing
        fine_mm = velocity.to_tensor_vox().to(self.fixed.device) * self.fixed.new_tensor(step).view(1, 3, 1, 1, 1)
        fine, coarse = (
            _log_square(field, own, pool_of(own, self.settings.pool))
            for field, own in ((fine_mm, step), (self.velocity_mm(velocity), self.images.grid.spacing))
        )
        return resize(fine, self.grid.shape) - coarse

    def weight_gap(self, velocity_mm: Vectors, weight: Scalars, prior: Prior) -> float:
        """Return the mean absolute difference of a weight from the closed form of a velocity."""
        return float((weight - self.closed_form(velocity_mm, prior)).abs().mean())

    def velocity_mm(self, velocity: Field) -> Vectors:
        """Resample a velocity in the world, on any grid over the field of view; in mm along the axes."""
        if not velocity.grid.matches(self.grid):
            velocity = resample_displacement(velocity, self.grid, continued=True)
        return velocity.to_tensor_vox().to(self.fixed.device) * self.images.spacing

    def displacement_vox(self, displacement: Field) -> Vectors:
        """Resample a displacement in the world; in voxels of this grid."""
        return self.velocity_mm(displacement) / self.images.spacing

    def flow(self, velocity_mm: Vectors) -> tuple[Vectors, Vectors]:
        """Integrate a velocity, smoothed where it folds; return velocity in mm and displacement in voxels."""
        displacement_vox = integrate_quickly(velocity_mm / self.images.spacing)
        if inner_determinant(displacement_vox).min() <= 0:
            velocity_vox, displacement_vox, *_ = unfold(velocity_mm / self.images.spacing, self.settings.squarings)
            return velocity_vox * self.images.spacing, displacement_vox
        return velocity_mm, displacement_vox

    def preview(self, displacement_vox: Vectors, weight: Scalars, weight_gap: float) -> Preview:
        """Return a displacement in voxels of this grid and a weight in the world, measured.

        `weight_gap` is the mean absolute difference of the weight from its closed form.
        """
        total = self._total(displacement_vox)
        quality = self._measured(displacement_vox, total, weight_gap)
        return Preview(total, Volume(on_host(weight[0, 0]), self.grid.affine), quality)

    def quality(self, displacement_vox: Vectors, weight_gap: float) -> DeformationQuality:
        """Measure a displacement in voxels of this grid."""
        return self._measured(displacement_vox, self._total(displacement_vox), weight_gap)

    def _total(self, displacement_vox: Vectors) -> Field:
        total = Field.from_tensor_vox(displacement_vox, self.grid.affine)
        return total if self.affine_ras is None else compose_affine(total, self.affine_ras)

    def _measured(self, displacement_vox: Vectors, total: Field, weight_gap: float) -> DeformationQuality:
        determinant = inner_determinant(displacement_vox)
        if self.affine_ras is not None:
            determinant = determinant * float(np.linalg.det(self.affine_ras[:3, :3]))
        return coarse_quality(self.images, displacement_vox, total, determinant, weight_gap)


class PreviewPyramid:
    """Both images at a resolution from which preview grids are resampled quickly.

    Args:
        fixed: Fixed image, shape (1, C, X, Y, Z), about [0, 1].
        moving: Moving image on the same grid.
        grid: Its grid in the world.
        affine_ras: Affine pre-alignment, or None.
        settings: Solver settings.
        mask: Voxels of the fixed image with data (not 0), or None for all.
        moving_mask: The same for the moving image.
    """

    def __init__(
        self,
        fixed: Images,
        moving: Images,
        grid: Grid,
        affine_ras: np.ndarray | None,
        settings: InstanceConfig,
        mask: Scalars | None = None,
        moving_mask: Scalars | None = None,
    ) -> None:
        self._grid, self._affine_ras, self._settings = grid, affine_ras, settings
        self._floor = common_floor(fixed, moving)
        self._finest = min(step for step, size in zip(grid.spacing, grid.shape, strict=True) if size > 1)
        masks = [None if part is None else (part != 0).to(fixed.dtype) for part in (mask, moving_mask)]
        parts: list[Tensor | None] = [fixed, moving, *masks]
        step = self._finest
        while math.prod(parts[0].shape[2:]) > 2 * MAX_VOXELS:  # resampling from full images would take seconds
            step *= 2.0
            shape = make_level(grid.shape, grid.spacing, step).shape
            parts = [None if part is None else resize(part, shape) for part in parts]
        self._parts = parts

    def steps(self) -> list[float]:
        """Return the usable voxel sizes in mm, coarsest first."""
        longest = max((n - 1) * s for n, s in zip(self._grid.shape, self._grid.spacing, strict=True))
        sizes = [self._finest * 2 ** (0.5 * k) for k in range(17)]
        usable = [size for size in sizes if longest / size + 1 >= LEAST_SIZE or size == self._finest]
        return [size for size in reversed(usable) if math.prod(self._level(size).shape) <= MAX_VOXELS] or usable[-1:]

    def preview_grid(self, step_mm: float) -> PreviewGrid:
        """Return the preview grid for a voxel size of about `step_mm`."""
        level = self._level(step_mm)
        fixed, moving, mask, valid = (None if part is None else resize(part, level.shape) for part in self._parts)
        settings = self._settings
        where = None if mask is None else (mask > 0.5).to(fixed.dtype)
        images = LevelImages(
            level=level,
            grid=level,
            fixed=fixed_side(
                settings.similarity,
                features(settings.similarity, fixed, level.spacing),
                level.spacing,
                settings.window,
                where,
                self._floor,
            ),
            moving=features(settings.similarity, moving, level.spacing),
            moving_valid=valid,
        )
        factors = [wide / narrow for wide, narrow in zip(level.spacing, self._grid.spacing, strict=True)]
        grid = Grid(level.shape, self._grid.affine @ np.diag([*factors, 1.0]))  # the first voxels coincide
        return PreviewGrid(images=images, fixed=fixed[:, :1], grid=grid, affine_ras=self._affine_ras, settings=settings)

    def fitting(self, attempt: Callable[[PreviewGrid], float], budget_ms: float) -> PreviewGrid:
        """Return the finest preview grid on which an attempt takes `_SHARE` of the budget, or the coarsest one.

        `attempt` computes a preview and returns its thread time in ms, which is independent of other programs.
        """
        best = None
        for step in self.steps():
            preview_grid = self.preview_grid(step)
            if best is not None and not _fits(preview_grid, attempt, _SHARE * budget_ms):
                break
            best = preview_grid
        return best

    def _level(self, step_mm: float) -> Level:
        return make_level(self._grid.shape, self._grid.spacing, step_mm)


def _log_square(velocity_mm: Vectors, spacing: Sequence[float], pool: Sequence[int]) -> Scalars:
    return mirrored_box_mean(squared_gradient(velocity_mm, spacing), pool).clamp(min=_MIN_SQUARE).log()


def _fits(preview_grid: PreviewGrid, attempt: Callable[[PreviewGrid], float], max_ms: float) -> bool:
    """Whether the fastest of up to three attempts takes at most `max_ms`."""
    for _ in range(3):
        spent_ms = attempt(preview_grid)
        if spent_ms <= max_ms or spent_ms > 2.0 * max_ms:
            break
    return spent_ms <= max_ms
