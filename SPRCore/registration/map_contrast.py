"""The contrast of the weight map of a registration."""

from __future__ import annotations

import numpy as np

from SPRCore.geometry import Field, Volume, resample
from SPRCore.registration.job import RegistrationJob
from SPRCore.regularization.contrast import WeightContrast, weight_contrast
from SPRCore.regularization.contrast_move import with_move
from SPRCore.regularization.gradient_units import MM, is_isotropic
from SPRCore.regularization.most_probable import free_weight, pool_of


def map_contrast(weight: Volume, velocity: Field | None, where: np.ndarray, job: RegistrationJob) -> WeightContrast:
    """Return the contrast of a weight map, with the smallest move of a slider that restores it if it has none.

    Args:
        weight: Weight map on the fixed grid; a painted stiffness is divided out.
        velocity: Velocity of the deformation, on any grid over the field of view; without one no move is estimated.
        where: Voxels with data, bool, shape (X, Y, Z), at least one.
        job: Prior, sliders and painted stiffness.
    """
    weights = weight.array[where]
    if job.stiffness is not None:
        weights = weights / job.stiffness.array[where]
    contrast, prior = weight_contrast(weights, job.prior.name), job.prior
    if contrast.is_informative or velocity is None or not _is_in_mm(job, velocity):
        return contrast
    grid = velocity.grid
    spacing, pool = grid.spacing, pool_of(grid.spacing, job.config.pool)
    velocity_mm = velocity.to_tensor_vox()
    velocity_mm = velocity_mm * velocity_mm.new_tensor(spacing).view(1, 3, 1, 1, 1)
    inside = resample(weight.with_array(where.astype(np.float32)), grid).to_tensor() > 0.5
    if not inside.any():
        return contrast
    painted = None if job.stiffness is None else resample(job.stiffness, grid, continued=True).to_tensor()
    pooled = free_weight(velocity_mm, spacing, prior, pool, painted)[1]
    return with_move(contrast, pooled, prior, pool, inside, job.slider_ranges)


def _is_in_mm(job: RegistrationJob, velocity: Field) -> bool:
    """Whether the gradient in the loss of the method is that in mm."""
    return job.solves or job.model.card.units == MM or is_isotropic(velocity.grid.spacing)
