"""Registry of the architectures, and named presets with the sizes of the literature."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import torch

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.network import RegistrationNetwork

Kind = TypeVar("Kind", bound=type[RegistrationNetwork])

_ARCHITECTURES: dict[str, type[RegistrationNetwork]] = {}

_SMALL_UNET = NetworkConfig(encoder=(8, 16, 24, 32), decoder=(32, 24, 16), half_resolution=True, weight_width=16)
_VOXELMORPH = NetworkConfig(integrate=False)
_VOXELMORPH_SPR = NetworkConfig(half_resolution=True, weight="beta")

_TVF = NetworkConfig(architecture="transmorph_tvf", half_resolution=True)
_TM_SPR = dataclasses.replace(_TVF, weight="beta")
_TM_SPR_SMALL = dataclasses.replace(
    _TM_SPR, embed=24, depths=(2, 2, 2), heads=(2, 4, 4), features=8, time_steps=3, weight_width=16, drop_path=0.1
)

PRESETS: dict[str, NetworkConfig] = {
    "voxelmorph": _VOXELMORPH,
    "voxelmorph-spr": _VOXELMORPH_SPR,
    "vxm-spr-small": dataclasses.replace(_SMALL_UNET, weight="beta"),
    "hyper-voxelmorph": dataclasses.replace(_VOXELMORPH, conditioning="film", codes=1),
    "hyper-vxm-spr": dataclasses.replace(_VOXELMORPH_SPR, conditioning="film", codes=2),
    "transmorph": NetworkConfig(architecture="transmorph", half_resolution=True),
    "transmorph-tvf": _TVF,
    "tm-spr": _TM_SPR,
    "tm-spr-gaussian": dataclasses.replace(_TM_SPR, weight="gaussian"),
    "tm-spr-small": _TM_SPR_SMALL,
    "hyper-transmorph": dataclasses.replace(_TVF, conditioning="film", codes=1),
    "hyper-tm-spr": dataclasses.replace(_TM_SPR, conditioning="film", codes=2),
    "hyper-tm-spr-small": dataclasses.replace(_TM_SPR_SMALL, conditioning="film", codes=2),
    "hyper-vxm-spr-small": dataclasses.replace(_SMALL_UNET, weight="beta", conditioning="film", codes=2),
}
"""Named configurations; their sources are in docs/reference/networks.md."""


def register(architecture: str) -> Callable[[Kind], Kind]:
    """Return a decorator that registers a class as an architecture of ``NetworkConfig``."""

    def add(kind: Kind) -> Kind:
        _ARCHITECTURES[architecture] = kind
        return kind

    return add


def list_models() -> tuple[str, ...]:
    """Return the names of the presets, in alphabetical order."""
    return tuple(sorted(PRESETS))


def preset(name: str, **overrides: object) -> NetworkConfig:
    """Return a preset, one of ``list_models()``, with overrides of attributes of ``NetworkConfig``.

    Raises:
        InputError: Unknown name or attribute, or a value that does not fit.
    """
    check_name(name, PRESETS, "network")
    return _changed(PRESETS[name], overrides)


def build(config: NetworkConfig | str, **overrides: object) -> RegistrationNetwork:
    """Build an untrained network of a configuration or preset with overrides, in training mode, near the identity.

    It is on the current default device; under ``torch.device("meta")`` without memory.

    Raises:
        InputError: Unknown name or attribute, or a value that does not fit.
    """
    config = preset(config, **overrides) if isinstance(config, str) else _changed(config, overrides)
    if config.architecture not in _ARCHITECTURES:
        raise InputError("architecture", got=config.architecture, expected=", ".join(sorted(_ARCHITECTURES)))
    return _ARCHITECTURES[config.architecture](config)


def parameter_count(config: NetworkConfig | str, **overrides: object) -> int:
    """Return the number of parameters of a network without allocating them; arguments as for ``build``."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config, **overrides).parameters())


def _changed(config: NetworkConfig, overrides: dict[str, object]) -> NetworkConfig:
    for name in overrides:
        check_name(name, config.to_dict(), "network configuration")
    return dataclasses.replace(config, **overrides)
