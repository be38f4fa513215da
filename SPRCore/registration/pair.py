"""One pair from alignment to result, whichever way it is deformed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch

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
from SPRCore.registration.instance import InstanceProblem, InstanceResult
from SPRCore.registration.job import Job
from SPRCore.registration.network import register_network
from SPRCore.registration.result import Deformation, RegistrationResult
from SPRCore.typing import Scalars, Vectors

logger = logging.getLogger("SPRCore")


def register_pair(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    affine_ras: np.ndarray | None,
    job: Job,
    callback: Callable[[float], None] | None = None,
    start: Vectors | None = None,
) -> RegistrationResult:
    """Deform an aligned pair and put the alignment and the deformation together.

    Args:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        affine_ras: Alignment as a whole, pull map from fixed to moving world points, shape (4, 4); None for none.
        job: How to deform.
        callback: Told the fraction done by the instance solver, 0 to 1.
        start: Velocity that the instance solver starts from without a model, as for ``register_instance``.

    Returns:
        The result, its report empty.

    Raises:
        InputError: The images or the prior do not suit the model or the solver.
        ConvergenceError: The energy left the numbers.
    """
    found, model = None, job.model
    if model is not None:
        asked = {"prior": job.prior, "affine_ras": affine_ras, "inverse": not job.refine}
        found = register_network(fixed, moving, model.network, model.card, **asked)
    if found is None or job.refine:
        with kept_memory():
            problem = problem_of(fixed, moving, affine_ras, job)
            start = start if found is None else start_mm(found, job.device)
            found = deformation_of(problem.course(job.prior, start).completed(callback), fixed.grid)
    return assembled(fixed.grid, moving, found, affine_ras)


def assembled(
    fixed: Grid, moving: MaskedVolume, found: Deformation, affine_ras: np.ndarray | None
) -> RegistrationResult:
    """Put the alignment and the deformation together.

    Args:
        fixed: Grid of the fixed image.
        moving: Moving image with its data.
        found: The deformation.
        affine_ras: Alignment as a whole, or None.

    Returns:
        The result, its report empty.
    """
    displacement = found.displacement if affine_ras is None else compose_affine(found.displacement, affine_ras)
    return RegistrationResult(
        warped=resample(moving.original, fixed, displacement=displacement),  # sampled once from the original
        displacement=displacement,
        inverse=_total_inverse(found.inverse, moving.grid, affine_ras),
        weight=found.weight,
        affine_ras=affine_ras,
    )


def problem_of(fixed: MaskedVolume, moving: MaskedVolume, affine_ras: np.ndarray | None, job: Job) -> InstanceProblem:
    """Prepare a pair for the instance solver."""
    return InstanceProblem.of(
        spacing=fixed.grid.spacing, config=job.config, **aligned_tensors(fixed, moving, affine_ras, job)
    )


def aligned_tensors(
    fixed: MaskedVolume, moving: MaskedVolume, affine_ras: np.ndarray | None, job: Job
) -> dict[str, Scalars | None]:
    """Bring the moving image onto the fixed grid, and all that the instance solver sees to its device.

    Args:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        affine_ras: Alignment as a whole, or None.
        job: Stiffness and device.

    Returns:
        `fixed` and `moving` on the fixed grid, `mask` and `moving_mask` where they hold data, and `stiffness`; the last
        three may be None.
    """
    aligned, valid = moving.on(fixed.grid, affine_ras)
    parts: dict[str, Volume | None] = {
        "fixed": fixed.volume,
        "moving": aligned,
        "mask": fixed.mask,
        "moving_mask": None if valid is None else aligned.with_array(valid.astype(np.uint8)),
        "stiffness": job.stiffness,
    }
    return {name: None if part is None else part.to_tensor().to(job.device) for name, part in parts.items()}


def deformation_of(solved: InstanceResult, fixed: Grid) -> Deformation:
    """Place what the instance solver found in the world."""
    return Deformation(
        displacement=Field.from_tensor_vox(solved.displacement_vox, fixed.affine),
        inverse=Field.from_tensor_vox(solved.inverse_vox, fixed.affine),
        weight=Volume(solved.weight[0, 0].cpu().numpy(), fixed.affine),
        velocity=_velocity_field(solved.velocity_mm, fixed),
    )


def _velocity_field(velocity_mm: Vectors, fixed: Grid) -> Field:
    """Place a velocity along the axes of the fixed grid, over its field of view at its own resolution."""
    sizes = zip(fixed.shape, velocity_mm.shape[2:], strict=True)
    factors = [step_ratio(wide, narrow) for wide, narrow in sizes]
    spacing = velocity_mm.new_tensor([factor * step for factor, step in zip(factors, fixed.spacing, strict=True)])
    return Field.from_tensor_vox(velocity_mm / spacing.view(1, 3, 1, 1, 1), fixed.affine @ np.diag([*factors, 1.0]))


def start_mm(found: Deformation, device: torch.device) -> Vectors:
    """Return the velocity to start from in mm along the axes of the fixed grid, shape (1, 3, X, Y, Z)."""
    if found.velocity is not None:
        velocity_vox = found.velocity.to_tensor_vox().to(device)
    else:
        velocity_vox, left_vox = logarithm(found.displacement.to_tensor_vox().to(device))
        logger.info("The model gives no velocity: one was fitted, %.2g voxels away in the mean.", left_vox)
    return velocity_vox * velocity_vox.new_tensor(found.displacement.grid.spacing).view(1, 3, 1, 1, 1)


def _total_inverse(inverse: Field, grid: Grid, affine_ras: np.ndarray | None) -> Field:
    """Write the inverse of the total map on the moving grid: `w(q) = A q + v(A q) - q`, A the inverse alignment.

    Args:
        inverse: Inverse displacement v of the deformation alone, on the fixed grid, RAS mm.
        grid: Grid of the moving image, where the inverse is wanted: it pulls the fixed image onto the moving one.
        affine_ras: Alignment from fixed to moving world points, or None.

    Returns:
        The displacement w in RAS mm on `grid`.
    """
    back = np.eye(4) if affine_ras is None else np.linalg.inv(affine_ras)
    if affine_ras is None and inverse.grid.matches(grid):
        return inverse
    # A grid may stand anywhere: moved by A, the voxels of the moving grid lie where v has to be read.
    moved = resample_displacement(inverse, Grid(grid.shape, back @ grid.affine))
    return Field(affine_field(grid, back).array + moved.array, grid.affine)
