"""Pairs that are ready to be registered at any setting: all that does not depend on the setting is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.pairs import LoadedPair
from SPRCore.errors import InputError
from SPRCore.functional import kept_memory
from SPRCore.geometry import Grid, MaskedVolume, Volume, resample
from SPRCore.networks import RegistrationOutput
from SPRCore.registration import LoadedModel, model_prior, prealign
from SPRCore.registration.job import make_job
from SPRCore.registration.network import NetworkInput, check_output, code_of, shortened
from SPRCore.registration.pair import aligned_tensors, problem_of
from SPRCore.regularization import Prior
from SPRCore.regularization.hyperparameters import above_zero
from SPRCore.regularization.priors import with_hyperparameters
from SPRCore.training.losses import map_gap
from SPRCore.typing import Affine, Scalars, Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Solved:
    """What a method gave at one setting.

    Attributes:
        displacement_vox: Pull map on the grid of the pair, shape (1, 3, X, Y, Z), in voxels, without the alignment.
        weight: Weight on the same grid, shape (1, 1, X, Y, Z), or None.
        map_gap: Mean distance of a predicted weight from the most probable one, or None.
    """

    displacement_vox: Vectors
    weight: Scalars | None
    map_gap: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyPair:
    """A pair of which only the setting is still open.

    Attributes:
        grid: The grid of a method's own: that of the network, or of the fixed image.
        affine_ras: Alignment beforehand, pull map in the world, shape (4, 4); None for none.
        fixed: Fixed image on it, shape (1, 1, X, Y, Z).
        moving: Moving image on it, aligned.
        mask: Voxels of it that count for the regularity, or None for all.
        valid: Voxels of it at which the fixed image has data, shape (1, 1, X, Y, Z), or None for all.
        moving_valid: Likewise of the moving image.
        solve: Registers the pair at a prior.
    """

    grid: Grid
    affine_ras: Affine | None
    fixed: Scalars
    moving: Scalars
    mask: Volume | None
    valid: Scalars | None
    moving_valid: Scalars | None
    solve: Callable[[Prior], Solved]


def setting_prior(method: MethodSpec, setting: Mapping[str, float]) -> Prior:
    """Return the prior of a method with the hyperparameters of a setting; a strength of 0 becomes one of 1e-6.

    Args:
        method: The method, its own prior for what the setting leaves open.
        setting: Hyperparameters by name.

    Returns:
        The prior.

    Raises:
        InputError: The prior has no such hyperparameter, or cannot take the value.
    """
    return with_hyperparameters(method.prior, {name: above_zero(name, value) for name, value in setting.items()})


def ready(
    loaded: LoadedPair, method: MethodSpec, model: LoadedModel | None, init: str, device: torch.device
) -> ReadyPair:
    """Prepare a pair: align it, and encode it or build its pyramid.

    Args:
        loaded: The pair.
        method: A method of this package without refinement.
        model: Its network on the device, or None for the instance solver.
        init: Alignment beforehand, as for `SPRCore.register`.
        device: Where to compute.

    Returns:
        The pair, ready.

    Raises:
        InputError: The pair cannot be used, or the method refines.
    """
    if method.refine:
        raise InputError(f"method {method.label}", got="refine", expected="a model alone, or the instance solver")
    affine_ras = prealign(loaded.fixed, loaded.moving, init).affine_ras
    if model is None:
        return _ready_instance(loaded, method, affine_ras, device)
    return _ready_network(loaded, model, affine_ras)


def _ready_network(loaded: LoadedPair, model: LoadedModel, affine_ras: Affine | None) -> ReadyPair:
    network, card = model.network, model.card
    pair = NetworkInput.of(loaded.fixed, loaded.moving, network, card, affine_ras)
    shape, spacing = pair.grid.shape, pair.grid.spacing
    with torch.no_grad():
        features = network.encode(pair.moving, pair.fixed)

    @torch.no_grad()
    def solve(prior: Prior) -> Solved:
        code = code_of(card, model_prior(card, prior))
        code = None if code is None else code.to(pair.moving.device)
        output = network.decode(features, code, inverse=False, velocity=False)
        check_output(output)
        displacement, weight = (shortened(field, shape) for field in (output.displacement, output.weight))
        gap = map_gap(RegistrationOutput(displacement=displacement, weight=weight), spacing, prior)
        return Solved(displacement_vox=displacement, weight=weight, map_gap=gap)

    images = {name: shortened(getattr(pair, name), shape) for name in ("fixed", "moving")}
    masks = {
        "mask": _mask(loaded, pair.grid),
        "valid": _valid(loaded.fixed, pair, None),
        "moving_valid": _valid(loaded.moving, pair, affine_ras),
    }
    return ReadyPair(grid=pair.grid, affine_ras=affine_ras, **images, **masks, solve=solve)


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

    def solve(prior: Prior) -> Solved:
        with kept_memory():
            found = problem.course(prior).completed()
        return Solved(displacement_vox=found.displacement_vox, weight=found.weight, map_gap=None)

    parts = {
        "fixed": tensors.fixed,
        "moving": tensors.moving,
        "mask": loaded.annotations.fixed_mask,
        "valid": tensors.mask,
        "moving_valid": tensors.moving_mask,
    }
    return ReadyPair(grid=fixed.grid, affine_ras=affine_ras, **parts, solve=solve)
