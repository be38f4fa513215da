"""Initialization of a network with the weights of a trained model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from SPRCore.errors import InputError
from SPRCore.io.bundles import read_bundle
from SPRCore.networks import RegistrationNetwork

logger = logging.getLogger("SPRCore")


def start_from(network: RegistrationNetwork, path: Path, reinit: Sequence[str] = ()) -> None:
    """Copy the weights of a trained model into a network, by name.

    The network must have every tensor of the model; parts that the model lacks, such as a weight head or the modulation
    by a code, keep their random initialization. So a network with uniform regularization can initialize one that
    predicts a weight, and that one a hyper model.

    Args:
        network: The network, changed in place.
        path: Bundle of the model.
        reinit: First parts of tensor names that keep their random initialization, such as "weight" for a head that has
            stopped learning.

    Raises:
        InputError: The file is not an intact bundle, the network lacks a tensor of it or has it in another shape, or
            the model has no part of a name in `reinit`.
    """
    known, own = read_bundle(path).tensors, network.state_dict()
    for part in reinit:
        if not any(_part(name) == part for name in known):
            raise InputError("reinit", got=part, expected=f"one of {', '.join(sorted(set(map(_part, known))))}")
    tensors = {name: tensor for name, tensor in known.items() if _part(name) not in reinit}
    for name, tensor in tensors.items():
        found = tuple(own[name].shape) if name in own else "none"
        if found != tuple(tensor.shape):
            expected, remedy = f"{tuple(tensor.shape)}, as in {path.name}", "start from a model of the same network"
            raise InputError(f"start: {name} of the network", got=str(found), expected=expected, remedy=remedy)
    network.load_state_dict(tensors, strict=False)
    logger.info("Starting from %s: %d of %d tensors.", path.name, len(tensors), len(own))


def _part(name: str) -> str:
    return name.partition(".")[0]
