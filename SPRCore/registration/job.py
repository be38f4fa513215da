"""The job of a registration: method, prior, settings, device and stiffness."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, Volume, resample
from SPRCore.io import ModelCard, find_bundle, read_bundle
from SPRCore.io.cards import Preprocessing
from SPRCore.networks import RegistrationNetwork
from SPRCore.networks.loading import build_from_bundle
from SPRCore.registration.network import check_refinable, model_prior
from SPRCore.registration.solver import InstanceConfig
from SPRCore.registration.uncertainty import UncertaintyConfig
from SPRCore.regularization import BetaPrior, Prior
from SPRCore.similarity import check_similarity

INSTANCE = "instance"
"""Name of the instance optimization as a method."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A network on its device, with its card and the SHA-256 of its tensors."""

    network: RegistrationNetwork
    card: ModelCard
    sha256: str

    @classmethod
    def read(cls, path: Path, device: torch.device) -> LoadedModel:
        """Read a bundle and move its network to a device."""
        bundle = read_bundle(path)
        return cls(network=build_from_bundle(bundle).to(device), card=bundle.card, sha256=bundle.sha256)

    def for_prepared(self, done: Sequence[Preprocessing] | None) -> LoadedModel:
        """Return the model for images whose channels were prepared already, over their whole field of view.

        Where its card prepares them in the same way they are taken as they are, since a crop has other extremes. The
        model is unchanged for None and for another preprocessing.
        """
        if done is None or tuple(done) != self.card.intensities:
            return self
        unchanged = Preprocessing(clip=(0.0, 1.0), normalize="clip")
        second = None if self.card.second_channel is None else unchanged
        card = dataclasses.replace(self.card, preprocessing=unchanged, second_channel=second)
        return dataclasses.replace(self, card=card)


@dataclass(frozen=True, kw_only=True, eq=False)
class RegistrationJob:
    """The method of a registration and its settings.

    Attributes:
        prior: Prior on the weight; within the ranges of the model if there is one.
        model: The model, or None for the instance solver alone.
        refine: Maximum steps of the instance solver from the velocity of the model; 0 for none.
        config: Settings of the instance solver, steps included.
        device: Compute device.
        stiffness: Factor of the weight of each voxel for the instance solver, on the fixed grid; None for 1.
        uncertainty: Settings of the uncertainty of the result; None for none.

    Raises:
        InputError: A stiffness for a model that is not refined.
    """

    prior: Prior
    model: LoadedModel | None
    refine: int
    config: InstanceConfig
    device: torch.device
    stiffness: Volume | None = None
    uncertainty: UncertaintyConfig | None = None

    def __post_init__(self) -> None:
        if self.stiffness is not None and not self.solves:
            raise InputError(
                "stiffness",
                got="a painted stiffness for a model alone",
                expected=f"the method {INSTANCE}, or a model with refinement",
                remedy="a trained network ignores a painted stiffness: set refine, such as 50 steps",
            )

    @property
    def similarity(self) -> str:
        """Similarity of the instance solver, or the one that the model alone was trained with."""
        return self.config.similarity

    @property
    def solves(self) -> bool:
        """Whether the instance solver runs."""
        return self.model is None or self.refine > 0


def make_job(
    model: LoadedModel | None,
    fixed: Grid,
    device: torch.device,
    *,
    prior: Prior | None = None,
    refine: int = 0,
    config: InstanceConfig | None = None,
    stiffness: Volume | None = None,
    similarity: str | None = None,
) -> RegistrationJob:
    """Build a job: check the arguments and fill in the defaults.

    Args:
        model: The model, or None for the instance optimization alone.
        fixed: The fixed grid.
        device: Compute device.
        prior: Prior on the weight; None for `BetaPrior()`, or for the prior of the model.
        refine: Maximum steps of the instance optimization from the velocity of the model.
        config: Settings of the instance optimization; None for its defaults, or those of `InstanceConfig.refining`.
        stiffness: Factor > 0 of the weight of each voxel, on any grid; None for 1.
        similarity: "lncc", "mind" or "mse"; None for that of the configuration, or the one of the model.

    Raises:
        InputError: The method does not take an argument, or the stiffness or prior is unusable.
    """
    check_refine(model is None, refine)
    if refine:
        check_refinable(model.card, fixed)
    config = config or (InstanceConfig.refining(refine) if refine else InstanceConfig())
    similarity = _similarity(similarity, config) if model is None else _trained_similarity(similarity, model.card)
    return RegistrationJob(
        prior=(prior or BetaPrior()) if model is None else model_prior(model.card, prior),
        model=model,
        refine=refine,
        config=dataclasses.replace(config, similarity=similarity),
        device=device,
        stiffness=None if stiffness is None else stiffness_on(stiffness, fixed),
    )


def _similarity(given: str | None, config: InstanceConfig) -> str:
    return config.similarity if given is None else check_similarity(given)


def _trained_similarity(given: str | None, card: ModelCard) -> str:
    """Return the similarity of a model, the only one for its refinement: its weights suit no other."""
    if given is not None and check_similarity(given) != card.similarity:
        expected = f"{card.similarity}, which the model {card.name} was trained with"
        raise InputError("similarity", got=given, expected=expected, remedy="leave it out")
    return card.similarity


def check_refine(instance: bool, refine: int) -> None:
    """Refuse a negative number of refining steps, and any with the instance solver alone."""
    if refine < 0 or (refine and instance):
        got = f"{refine}" if refine < 0 else f"{refine} with the method {INSTANCE}"
        raise InputError("refine", got=got, expected="0 or more steps after a model")


def model_path(method: str | Path) -> Path | None:
    """Return the path of the bundle of a model, given by name or path; None for "instance".

    Raises:
        InputError: The model is unknown.
    """
    if method == INSTANCE:
        return None
    try:
        return find_bundle(method)
    except InputError as error:
        expected = f"{INSTANCE!r}, the name of a model or the path of its bundle"
        raise InputError(f"method {method}", got=error.got, expected=expected, remedy="see spr models list") from error


def stiffness_on(stiffness: Volume, grid: Grid) -> Volume:
    """Resample a painted stiffness on the fixed grid; it is 1 outside of its own grid.

    Raises:
        InputError: A factor is not a finite number above 0.
    """
    array = stiffness.array
    if not (np.isfinite(array).all() and (array > 0).all()):
        got = f"factors of {array.min():g} to {array.max():g}"
        raise InputError("stiffness", got=got, expected="finite factors above 0, 1 where nothing is painted")
    return stiffness if stiffness.grid.matches(grid) else resample(stiffness, grid, outside=1.0)
