"""Spatially varying regularization: weighted diffusion and the priors on its weight."""

from SPRCore.regularization.diffusion import (
    edge_weights,
    laplacian_diagonal,
    squared_gradient,
    weighted_diffusion,
    weighted_laplacian,
)
from SPRCore.regularization.priors import BetaPrior, GaussianPrior, Prior, TotalVariationPrior, UniformPrior

__all__ = [
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
