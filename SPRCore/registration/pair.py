"""Registration of an aligned pair by the instance solver, a network, or both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.functional import kept_memory, logarithm, step_ratio
from SPRCore.geometry import (
    Field,
    Grid,
    MaskedVolume,
    Volume,
    affine_field,
    compose_affine,
    resample,
    resample_displacement,
)
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.job import RegistrationJob
from SPRCore.registration.level import completed
from SPRCore.registration.network import register_network
from SPRCore.registration.result import Deformation, DeformationFields, RegistrationResult
from SPRCore.registration.uncertainty_fields import uncertainty_fields
from SPRCore.typing import Images, Scalars, Vectors

logger = logging.getLogger("SPRCore")


@dataclass(frozen=True, kw_only=True, eq=False)
class PairTensors:
    """An aligned pair on the fixed grid, on the device of the instance solver.

    Attributes:
        fixed: Fixed image, shape (1, C, X, Y, Z): 2 channels if both images have a second one, otherwise 1.
        moving: Moving image, same shape.
        spacing: Voxel size along each axis, in mm.
        mask: Voxels of the fixed image that hold data (nonzero), shape (1, 1, X, Y, Z), or None for all.
        moving_mask: The same of the moving image.
        stiffness: Painted factor q > 0 of the weight of each voxel, or None for 1.
    """

    fixed: Images
    moving: Images
    spacing: Sequence[float]
    mask: Scalars | None = None
    moving_mask: Scalars | None = None
    stiffness: Scalars | None = None


def register_pair(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    affine_ras: np.ndarray | None,
    job: RegistrationJob,
    callback: Callable[[float], None] | None = None,
) -> RegistrationResult:
    """Register an aligned pair and compose the deformation with the alignment; the report of the result is empty.

    Args:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        affine_ras: Affine pre-alignment, pull map from fixed to moving world points, shape (4, 4); None for none.
        job: Method and its settings.
        callback: Called with the fraction done by the instance solver, 0 to 1.

    Raises:
        InputError: The images or the prior do not suit the model or the solver.
        ConvergenceError: The energy became NaN or infinite.
    """
    found, model, problem = None, job.model, None
    if model is not None:
        options = {"prior": job.prior, "affine_ras": affine_ras, "inverse": not job.refine}
        found = register_network(fixed, moving, model.network, model.card, **options)
    if found is None or job.refine:
        with kept_memory():
            problem = problem_of(fixed, moving, affine_ras, job)
            start = None if found is None else start_mm(found, job.device)
            found = to_world(problem.course(job.prior, start).completed(callback), fixed.grid)
    result = assembled(fixed.grid, moving, found, affine_ras)
    if job.uncertainty is None:
        return result
    with kept_memory():
        problem = problem or problem_of(fixed, moving, affine_ras, job)
        given = {"prior": job.prior, "affine_ras": affine_ras, "config": job.uncertainty}
        uncertainty = completed(uncertainty_fields(problem, found, start_mm(found, job.device), **given))
    return replace(result, uncertainty=uncertainty.on(fixed.grid), samples=uncertainty.samples)


def assembled(
    fixed: Grid, moving: MaskedVolume, found: DeformationFields, affine_ras: np.ndarray | None
) -> RegistrationResult:
    """Compose the deformation, with its inverse, with the alignment and warp the moving image; the report is empty."""
    displacement = found.displacement if affine_ras is None else compose_affine(found.displacement, affine_ras)
    return RegistrationResult(
        warped=resample(moving.original, fixed, displacement=displacement),  # sampled once from the original
        displacement=displacement,
        inverse=_total_inverse(found.inverse, moving.grid, affine_ras),
        weight=found.weight,
        affine_ras=affine_ras,
    )


def problem_of(
    fixed: MaskedVolume, moving: MaskedVolume, affine_ras: np.ndarray | None, job: RegistrationJob
) -> InstanceProblem:
    """Prepare a pair for the instance solver."""
    return InstanceProblem.of(**vars(aligned_tensors(fixed, moving, affine_ras, job)), config=job.config)


def aligned_tensors(
    fixed: MaskedVolume, moving: MaskedVolume, affine_ras: np.ndarray | None, job: RegistrationJob
) -> PairTensors:
    """Resample the moving image on the fixed grid and copy the pair, with the stiffness of a job, to its device."""
    if (fixed.channel is None) != (moving.channel is None):
        raise InputError("second channel", got="that of one image only", expected="those of both images, or none")
    images = {"fixed": fixed.tensor_on(fixed.grid), "moving": moving.tensor_on(fixed.grid, affine_ras)}
    valid = moving.known_on(fixed.grid, affine_ras=affine_ras)
    moving_mask = None if valid.all() else fixed.volume.with_array(valid.astype(np.uint8))
    masks = {"mask": fixed.mask, "moving_mask": moving_mask, "stiffness": job.stiffness}
    parts = images | {name: None if part is None else part.to_tensor() for name, part in masks.items()}
    moved = {name: None if part is None else part.to(job.device) for name, part in parts.items()}
    return PairTensors(spacing=fixed.grid.spacing, **moved)


def to_world(solved: Deformation, fixed: Grid) -> DeformationFields:
    """Convert the tensors of the instance solver to fields in the world."""
    return DeformationFields(
        displacement=Field.from_tensor_vox(solved.displacement_vox, fixed.affine),
        inverse=Field.from_tensor_vox(solved.inverse_vox, fixed.affine),
        weight=Volume(solved.weight[0, 0].cpu().numpy(), fixed.affine),
        velocity=_velocity_field(solved.velocity_mm, fixed),
    )


def _velocity_field(velocity_mm: Vectors, fixed: Grid) -> Field:
    """Convert a velocity along the axes of the fixed grid to a field in the world, at its own resolution."""
    sizes = zip(fixed.shape, velocity_mm.shape[2:], strict=True)
    factors = [step_ratio(wide, narrow) for wide, narrow in sizes]
    spacing = velocity_mm.new_tensor([factor * step for factor, step in zip(factors, fixed.spacing, strict=True)])
    return Field.from_tensor_vox(velocity_mm / spacing.view(1, 3, 1, 1, 1), fixed.affine @ np.diag([*factors, 1.0]))


def start_mm(found: DeformationFields, device: torch.device) -> Vectors:
    """Return the velocity of a deformation, fitted if it has none, in mm along the axes of the fixed grid."""
    if found.velocity is not None:
        velocity_vox = found.velocity.to_tensor_vox().to(device)
    else:
        velocity_vox, left_vox = logarithm(found.displacement.to_tensor_vox().to(device))
        logger.info("The model predicts no velocity: one was fitted, mean error %.2g voxels.", left_vox)
    return velocity_vox * velocity_vox.new_tensor(found.displacement.grid.spacing).view(1, 3, 1, 1, 1)


def _total_inverse(inverse: Field, grid: Grid, affine_ras: np.ndarray | None) -> Field:
    """Return the inverse of the total map on the moving grid: `w(q) = A q + v(A q) - q`, A the inverse alignment.

    The inverse displacement v is that of the deformation alone, on the fixed grid, RAS mm.
    """
    back = np.eye(4) if affine_ras is None else np.linalg.inv(affine_ras)
    if affine_ras is None and inverse.grid.matches(grid):
        return inverse
    # The voxels of the moving grid, mapped by A, are the points at which v is sampled.
    moved = resample_displacement(inverse, Grid(grid.shape, back @ grid.affine))
    return Field(affine_field(grid, back).array + moved.array, grid.affine)
