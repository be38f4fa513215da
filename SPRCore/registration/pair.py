"""One pair from alignment to result, whichever way it is deformed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SPRCore.functional import logarithm
from SPRCore.geometry import (
    Field,
    Grid,
    Volume,
    affine_field,
    compose_affine,
    resample,
    resample_displacement,
)
from SPRCore.io import ModelCard, read_bundle
from SPRCore.networks import RegistrationNetwork
from SPRCore.networks.loading import build_from_bundle
from SPRCore.registration.instance import InstanceConfig, register_instance
from SPRCore.registration.network import register_network
from SPRCore.registration.result import Deformation, RegistrationResult
from SPRCore.regularization import Prior
from SPRCore.typing import Vectors

logger = logging.getLogger("SPRCore")


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network that is ready to run, with its card and the SHA-256 of its tensors."""

    network: RegistrationNetwork
    card: ModelCard
    sha256: str

    @classmethod
    def read(cls, path: Path, device: torch.device) -> Model:
        """Read a bundle and bring its network to a device."""
        bundle = read_bundle(path)
        return cls(network=build_from_bundle(bundle).to(device), card=bundle.card, sha256=bundle.sha256)


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """How a pair is to be deformed.

    Attributes:
        prior: Prior on the weight; within the ranges of the model where there is one.
        model: The model, or None for the instance solver alone.
        refine: Most steps of the instance solver that go on from what the model gave; 0 for none.
        config: Settings of the instance solver, steps included.
        mask: Voxels of the fixed image that count for the instance solver, on its grid; None for all.
        device: Where to compute.
    """

    prior: Prior
    model: Model | None
    refine: int
    config: InstanceConfig
    mask: Volume | None
    device: torch.device


def register_pair(
    fixed: Volume,
    moving: Volume,
    affine_ras: np.ndarray | None,
    job: Job,
    callback: Callable[[float], None] | None = None,
) -> RegistrationResult:
    """Deform an aligned pair and put the alignment and the deformation together.

    Args:
        fixed: Fixed image.
        moving: Moving image, on any grid.
        affine_ras: Alignment as a whole, pull map from fixed to moving world points, shape (4, 4); None for none.
        job: How to deform.
        callback: Told the fraction done by the instance solver, 0 to 1.

    Returns:
        The result, its report empty.

    Raises:
        InputError: The images or the prior do not suit the model or the solver.
        ConvergenceError: The energy left the numbers.
    """
    found, model = None, job.model
    if model is not None:
        found = register_network(fixed, moving, model.network, model.card, prior=job.prior, affine_ras=affine_ras)
    if found is None or job.refine:
        found = _solve(fixed, moving, affine_ras, job, found, callback)
    displacement = found.displacement if affine_ras is None else compose_affine(found.displacement, affine_ras)
    return RegistrationResult(
        warped=resample(moving, fixed.grid, displacement=displacement),  # sampled once from the original
        displacement=displacement,
        inverse=_total_inverse(found.inverse, moving.grid, affine_ras),
        weight=found.weight,
        affine_ras=affine_ras,
    )


def _solve(
    fixed: Volume,
    moving: Volume,
    affine_ras: np.ndarray | None,
    job: Job,
    found: Deformation | None,
    callback: Callable[[float], None] | None,
) -> Deformation:
    """Bring the moving image onto the fixed grid and run the instance solver, from what was found if anything."""
    aligned = resample(moving, fixed.grid, affine_ras=affine_ras)
    solved = register_instance(
        fixed.to_tensor().to(job.device),
        aligned.to_tensor().to(job.device),
        fixed.spacing,
        job.prior,
        job.config,
        mask=None if job.mask is None else job.mask.to_tensor().to(job.device),
        start=None if found is None else _start_mm(found, job.device),
        callback=callback,
    )
    return Deformation(
        displacement=Field.from_tensor_vox(solved.displacement_vox, fixed.affine),
        inverse=Field.from_tensor_vox(solved.inverse_vox, fixed.affine),
        weight=fixed.with_array(solved.weight[0, 0].cpu().numpy()),
    )


def _start_mm(found: Deformation, device: torch.device) -> Vectors:
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
