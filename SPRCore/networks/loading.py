"""Conversion between bundles and networks; everything is checked before memory is allocated."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from SPRCore.errors import InputError
from SPRCore.io.bundles import SUFFIX, Bundle, read_bundle
from SPRCore.io.cards import ModelCard
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.network import RegistrationNetwork
from SPRCore.networks.reference_checkpoints import import_checkpoint
from SPRCore.networks.registry import build
from SPRCore.regularization.gradient_units import VOXEL
from SPRCore.typing import Tensor


class _NoInitialization(TorchFunctionMode):
    """Initializes weights with 0: they are replaced, and random ones on the meta device load PyTorch's compiler."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in (Tensor.normal_, Tensor.uniform_) or getattr(function, "__module__", None) == "torch.nn.init":
            weights = args[0] if args else kwargs["tensor"]
            weights.detach().zero_()  # a truncated normal is drawn until it is in range
            return weights
        return function(*args, **kwargs)


def build_from_bundle(bundle: Bundle) -> RegistrationNetwork:
    """Build the network of a bundle with its weights, on the CPU, in evaluation mode.

    Raises:
        InputError: The card names an unknown network or contradicts it, or a tensor does not fit.
    """
    card = bundle.card
    config = NetworkConfig.from_dict(card.architecture)
    _check_card(card, config)
    with _NoInitialization(), torch.random.fork_rng(devices=[]):  # the random state of the caller is unchanged
        with torch.device("meta"):  # no memory: a small file may claim a network of any size
            _check_tensors(bundle.tensors, build(config).state_dict())
        network = build(config)
    network.load_state_dict(bundle.tensors)
    return network.eval()


def bundle_of(network: RegistrationNetwork, card: ModelCard) -> Bundle:
    """Return the bundle of a network, whose tensors are not copied, and its card, whose architecture is replaced.

    Raises:
        InputError: The card contradicts the network.
    """
    _check_card(card, network.config)
    return Bundle(dataclasses.replace(card, architecture=network.config.to_dict()), network.state_dict())


def import_model(
    path: str | Path, *, name: str | None = None, composition: str | None = None, card: Mapping[str, Any] | None = None
) -> Bundle:
    """Read a model from a bundle or from a checkpoint released by the author of the method.

    Args:
        path: A bundle, or a checkpoint `.pth.tar` in one of the formats of `reference_checkpoints`.
        name: Name of the model; that of the bundle, or the file's own name, if None.
        composition: Combination of the flows of a checkpoint, which is not in its tensors: "composition" or
            "addition"; None for the default of its format.
        card: Fields of the card to set, such as those that a checkpoint does not have.

    Raises:
        InputError: The file has another format or is damaged, or a field of the card is wrong.
    """
    path = Path(path)
    if path.name.endswith(SUFFIX):
        if composition is not None:
            raise InputError(
                "composition", got=f"{composition!r} for a bundle", expected="none: it applies to checkpoints only"
            )
        bundle = read_bundle(path)
        known, tensors = bundle.card.to_dict(), bundle.tensors
    else:
        # With pooling before and upsampling after the network, as in the author's scripts.
        config, tensors = import_checkpoint(path, composition, half_resolution=True)
        stem = re.sub(r"[^a-z0-9._-]+", "-", path.name.lower().split(".pth")[0])
        known = {"name": stem, "prior": config.weight or "uniform", "architecture": config.to_dict(), "units": VOXEL}
    changes = dict(card or {}) | ({} if name is None else {"name": name})
    bundle = Bundle(ModelCard.from_dict(known | changes), tensors)
    build_from_bundle(bundle)
    return bundle


def _check_card(card: ModelCard, config: NetworkConfig) -> None:
    if len(card.conditioning) != config.codes:
        got = f"{len(card.conditioning)} hyperparameters for a network with {config.codes}"
        raise InputError("model card, conditioning", got=got, expected="as many names as the network takes")
    if card.second_channel is not None and config.channels != 2:
        got = f"one for a network whose images have {config.channels}"
        raise InputError("model card, second_channel", got=got, expected="null, or a network with channels: 2")
    # Weights in (0, 1] also suit the Gaussian prior, and were trained under it; others would be misinterpreted.
    if config.weight is not None and card.prior not in (config.weight, "gaussian"):
        got = f"the {card.prior} prior for a network with {config.weight} weights"
        raise InputError("model card, prior", got=got, expected=config.weight)


def _check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse the first tensor, in the order of the network, that is missing or does not fit, and any additional one."""
    for name, wanted in expected.items():
        if name not in tensors:
            raise InputError(f"tensor {name}", got="none in the file", expected=_described(wanted))
        found = tensors[name]
        if found.shape != wanted.shape or found.is_floating_point() != wanted.is_floating_point():
            raise InputError(f"tensor {name}", got=_described(found), expected=_described(wanted))
    extra = [name for name in tensors if name not in expected]
    if extra:
        raise InputError(
            f"tensor {extra[0]}", got="one that the network does not have", expected="the tensors of its card"
        )


def _described(tensor: Tensor) -> str:
    kind = "real" if tensor.is_floating_point() else "whole"
    return f"{kind} numbers of shape {tuple(tensor.shape)}"
