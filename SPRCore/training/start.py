"""A run that begins with what another one has learned."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from SPRCore.errors import InputError
from SPRCore.io.bundles import read_bundle
from SPRCore.networks import RegistrationNetwork

logger = logging.getLogger("SPRCore")


def start_from(network: RegistrationNetwork, path: Path, anew: Sequence[str] = ()) -> None:
    """Put the weights of a trained model into a network, by their names.

    The network may have parts that the model lacks, such as a weight head or the modulation by a code, which stay as
    they are drawn; it must have all that the model has. So a network with uniform regularization can start one that
    predicts a weight, and that one a network for all hyperparameters.

    Args:
        network: The network, changed in place.
        path: Bundle of the model.
        anew: First parts of the names of tensors that stay as they are drawn, such as "weight" for a head that has
            ended where it learns nothing more.

    Raises:
        InputError: The file is no bundle or damaged, or the network lacks a tensor of it, or has it in another shape;
            or it has nothing of such a name.
    """
    known, own = read_bundle(path).tensors, network.state_dict()
    for part in anew:
        if not any(_part(name) == part for name in known):
            expected = f"one of {', '.join(sorted(set(map(_part, known))))}"
            raise InputError("anew", got=part, expected=expected)
    tensors = {name: tensor for name, tensor in known.items() if _part(name) not in anew}
    for name, tensor in tensors.items():
        found = tuple(own[name].shape) if name in own else "none"
        if found != tuple(tensor.shape):
            expected, remedy = f"{tuple(tensor.shape)}, as in {path.name}", "start from a model of the same network"
            raise InputError(f"start: {name} of the network", got=str(found), expected=expected, remedy=remedy)
    network.load_state_dict(tensors, strict=False)
    logger.info("Starting from %s: %d of %d tensors.", path.name, len(tensors), len(own))


def _part(name: str) -> str:
    return name.partition(".")[0]
