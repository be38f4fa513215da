"""Spatially varying regularization: weighted diffusion and the priors on its weight.

The names below are loaded on first use: the table of the hyperparameters can be read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SPRCore.regularization.diffusion import (
        edge_weights,
        laplacian_diagonal,
        squared_gradient,
        weighted_diffusion,
        weighted_laplacian,
    )
    from SPRCore.regularization.hyperparameters import HYPERPARAMETERS
    from SPRCore.regularization.priors import BetaPrior, GaussianPrior, Prior, TotalVariationPrior, UniformPrior

_HOME = {
    "BetaPrior": "priors",
    "GaussianPrior": "priors",
    "HYPERPARAMETERS": "hyperparameters",
    "Prior": "priors",
    "TotalVariationPrior": "priors",
    "UniformPrior": "priors",
    "edge_weights": "diffusion",
    "laplacian_diagonal": "diffusion",
    "squared_gradient": "diffusion",
    "weighted_diffusion": "diffusion",
    "weighted_laplacian": "diffusion",
}

__all__ = [
    "HYPERPARAMETERS",
    "BetaPrior",
    "GaussianPrior",
    "Prior",
    "TotalVariationPrior",
    "UniformPrior",
    "edge_weights",
    "laplacian_diagonal",
    "squared_gradient",
    "weighted_diffusion",
    "weighted_laplacian",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
