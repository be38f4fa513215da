"""Spatially varying regularization: weighted diffusion and the priors on its weight.

The names below are loaded on first use: the table of the hyperparameters can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from SPRCore.lazy import lazy_names

if TYPE_CHECKING:
    from SPRCore.regularization.diffusion import (
        edge_weights,
        laplacian_diagonal,
        squared_gradient,
        weighted_diffusion,
        weighted_laplacian,
    )
    from SPRCore.regularization.most_probable import most_probable_weight
    from SPRCore.regularization.priors import BetaPrior, GaussianPrior, Prior, TotalVariationPrior, UniformPrior

__all__ = [
    "BetaPrior",
    "GaussianPrior",
    "Prior",
    "TotalVariationPrior",
    "UniformPrior",
    "edge_weights",
    "laplacian_diagonal",
    "most_probable_weight",
    "squared_gradient",
    "weighted_diffusion",
    "weighted_laplacian",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "priors": ("BetaPrior", "GaussianPrior", "Prior", "TotalVariationPrior", "UniformPrior"),
        "most_probable": ("most_probable_weight",),
        "diffusion": (
            "edge_weights",
            "laplacian_diagonal",
            "squared_gradient",
            "weighted_diffusion",
            "weighted_laplacian",
        ),
    },
)
