"""Pairs prepared for registration at many settings: what does not depend on the setting is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from SPRCore.analysis.methods import MethodSpec
from SPRCore.errors import InputError
from SPRCore.functional import kept_memory
from SPRCore.geometry import Grid, MaskedVolume, Volume, resample
from SPRCore.io.pairs import LoadedPair
from SPRCore.networks import RegistrationOutput
from SPRCore.registration import LoadedModel, model_prior, prealign
from SPRCore.registration.job import make_job
from SPRCore.registration.network import NetworkInput, check_output, code_of, shortened
from SPRCore.registration.pair import aligned_tensors, problem_of
from SPRCore.regularization import Prior
from SPRCore.regularization.hyperparameters import above_zero
from SPRCore.regularization.priors import with_hyperparameters
from SPRCore.typing import Affine, Scalars


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyPair:
    """A pair prepared for registration at any prior.

    Attributes:
        grid: Grid of the method: that of the network, or of the fixed image.
        affine_ras: Affine pre-alignment, pull map in RAS mm, shape (4, 4), or None.
        fixed: Fixed image on the grid, its first channel, shape (1, 1, X, Y, Z).
        moving: Moving image on the grid, aligned.
        mask: Voxels of the grid that count for the regularity, or None for all.
        valid: Voxels at which the fixed image has data, shape (1, 1, X, Y, Z), or None for all.
        moving_valid: The same of the moving image.
        step: Spacing of the grid in the unit of the squared gradient.
        has_predicted_weight: Whether a network predicts the weight; the instance optimization computes the most
            probable one.
        solve: Registers the pair at a prior: displacement in voxels without the alignment, and weight, on the grid.
    """

    grid: Grid
    affine_ras: Affine | None
    fixed: Scalars
    moving: Scalars
    mask: Volume | None
    valid: Scalars | None
    moving_valid: Scalars | None
    step: tuple[float, ...]
    has_predicted_weight: bool
    solve: Callable[[Prior], RegistrationOutput]


def setting_prior(method: MethodSpec, setting: Mapping[str, float]) -> Prior:
    """Return the prior of a method with some hyperparameters changed; a strength of 0 becomes 1e-6.

    Raises:
        InputError: The prior has no such hyperparameter, or refuses the value.
    """
    return with_hyperparameters(method.prior, {name: above_zero(name, value) for name, value in setting.items()})


def ready(
    loaded: LoadedPair, method: MethodSpec, model: LoadedModel | None, init: str, device: torch.device
) -> ReadyPair:
    """Prepare a pair: align it, and encode it by the network of a model or build its pyramid.

    Raises:
        InputError: The pair cannot be used, or the method refines.
    """
    if method.refine:
        raise InputError(f"method {method.label}", got="refine", expected="a model alone, or the instance solver")
    affine_ras = prealign(loaded.fixed, loaded.moving, init).affine_ras
    if model is None:
        return _ready_instance(loaded, method, affine_ras, device)
    return _ready_network(loaded, model.for_prepared(loaded.prepared), affine_ras)


def _ready_network(loaded: LoadedPair, model: LoadedModel, affine_ras: Affine | None) -> ReadyPair:
    network, card = model.network, model.card
    pair = NetworkInput.of(loaded.fixed, loaded.moving, network, card, affine_ras)
    shape = pair.grid.shape
    with torch.no_grad():
        features = network.encode(pair.moving, pair.fixed)

    @torch.no_grad()
    def solve(prior: Prior) -> RegistrationOutput:
        code = code_of(card, model_prior(card, prior))
        code = None if code is None else code.to(pair.moving.device)
        output = network.decode(features, code, inverse=False, velocity=False)
        check_output(output)
        displacement, weight = (shortened(field, shape) for field in (output.displacement, output.weight))
        return RegistrationOutput(displacement=displacement, weight=weight)

    return ReadyPair(
        grid=pair.grid,
        affine_ras=affine_ras,
        fixed=shortened(pair.fixed[:, :1], shape),
        moving=shortened(pair.moving[:, :1], shape),
        mask=_mask(loaded, pair.grid),
        valid=_valid(loaded.fixed, pair, None),
        moving_valid=_valid(loaded.moving, pair, affine_ras),
        step=pair.step,
        has_predicted_weight=True,
        solve=solve,
    )


def _mask(loaded: LoadedPair, grid: Grid) -> Volume | None:
    mask = loaded.annotations.fixed_mask
    return mask if mask is None or mask.grid.matches(grid) else resample(mask, grid, labels=True)


def _valid(image: MaskedVolume, pair: NetworkInput, affine_ras: Affine | None) -> Scalars | None:
    valid = image.on(pair.grid, affine_ras)[1]
    return None if valid is None else torch.from_numpy(valid).to(pair.moving)[None, None]


def _ready_instance(
    loaded: LoadedPair, method: MethodSpec, affine_ras: Affine | None, device: torch.device
) -> ReadyPair:
    fixed, moving = loaded.fixed, loaded.moving
    job = make_job(None, fixed.grid, device, prior=method.prior)
    problem = problem_of(fixed, moving, affine_ras, job)
    tensors = aligned_tensors(fixed, moving, affine_ras, job)

    def solve(prior: Prior) -> RegistrationOutput:
        with kept_memory():
            found = problem.course(prior).completed()
        return RegistrationOutput(displacement=found.displacement_vox, weight=found.weight)

    return ReadyPair(
        grid=fixed.grid,
        affine_ras=affine_ras,
        fixed=tensors.fixed[:, :1],
        moving=tensors.moving[:, :1],
        mask=loaded.annotations.fixed_mask,
        valid=tensors.mask,
        moving_valid=tensors.moving_mask,
        step=fixed.grid.spacing,
        has_predicted_weight=False,
        solve=solve,
    )
