"""How a pair is to be registered: the model if there is one, and what is given beside the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, Volume, resample
from SPRCore.io import ModelCard, find_bundle, read_bundle
from SPRCore.networks import RegistrationNetwork
from SPRCore.networks.loading import build_from_bundle
from SPRCore.registration.network import model_prior
from SPRCore.registration.solver import InstanceConfig
from SPRCore.regularization import BetaPrior, Prior

INSTANCE = "instance"
"""The method that needs no model."""


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
        device: Where to compute.
        stiffness: Factor of the weight of each voxel for the instance solver, on the fixed grid; None for 1.

    Raises:
        InputError: A stiffness for a model that is not refined.
    """

    prior: Prior
    model: Model | None
    refine: int
    config: InstanceConfig
    device: torch.device
    stiffness: Volume | None = None

    def __post_init__(self) -> None:
        """Check that a stiffness has an effect."""
        if self.stiffness is not None and not self.solves:
            raise InputError(
                "stiffness",
                got="a painted stiffness for a model alone",
                expected=f"the method {INSTANCE}, or a model with refinement",
                remedy="a trained network does not see what is painted: set refine, such as 50 steps",
            )

    @property
    def solves(self) -> bool:
        """Whether the instance solver takes part."""
        return self.model is None or self.refine > 0


def make_job(
    model: Model | None,
    fixed: Grid,
    device: torch.device,
    *,
    prior: Prior | None = None,
    refine: int = 0,
    config: InstanceConfig | None = None,
    stiffness: Volume | None = None,
) -> Job:
    """Check what was asked for and fill in what was not.

    Args:
        model: The model, or None for the instance solver alone.
        fixed: The fixed grid.
        device: Where to compute.
        prior: Prior on the weight; None for `BetaPrior()`, or for the prior of the model.
        refine: Most steps of the instance solver that go on from the model.
        config: Settings of the instance solver; None for its defaults, or those of `InstanceConfig.refining`.
        stiffness: Factor > 0 of the weight of each voxel, on any grid; None for 1.

    Returns:
        The job.

    Raises:
        InputError: Something that the method cannot do, or an unusable stiffness or prior.
    """
    check_refine(model is None, refine)
    return Job(
        prior=(prior or BetaPrior()) if model is None else model_prior(model.card, prior),
        model=model,
        refine=refine,
        config=config or (InstanceConfig.refining(refine) if refine else InstanceConfig()),
        device=device,
        stiffness=None if stiffness is None else stiffness_on(stiffness, fixed),
    )


def check_refine(instance: bool, refine: int) -> None:
    """Refuse a number of refining steps below 0, or any where there is nothing to refine."""
    if refine < 0 or (refine and instance):
        got = f"{refine}" if refine < 0 else f"{refine} with the method {INSTANCE}"
        raise InputError("refine", got=got, expected="0 or more steps that go on from a model")


def model_path(method: str | Path) -> Path | None:
    """Return the file of the model that a method names.

    Args:
        method: "instance", the name of a model or the path of its bundle.

    Returns:
        The path; None for the instance solver.

    Raises:
        InputError: There is no such model.
    """
    if method == INSTANCE:
        return None
    try:
        return find_bundle(method)
    except InputError as error:
        expected = f"{INSTANCE!r}, the name of a model or the path of its bundle"
        raise InputError(f"method {method}", got=error.got, expected=expected, remedy="see spr models list") from error


def stiffness_on(stiffness: Volume, grid: Grid) -> Volume:
    """Bring a painted stiffness to the fixed grid.

    Args:
        stiffness: Factor > 0 of the weight of each voxel, on any grid.
        grid: The fixed grid.

    Returns:
        The factors on `grid`, 1 outside the grid on which they were painted.

    Raises:
        InputError: A factor is not a finite number above 0.
    """
    array = stiffness.array
    if not (np.isfinite(array).all() and (array > 0).all()):
        got = f"factors of {array.min():g} to {array.max():g}"
        raise InputError("stiffness", got=got, expected="finite factors above 0, 1 where nothing is painted")
    return stiffness if stiffness.grid.matches(grid) else resample(stiffness, grid, outside=1.0)
