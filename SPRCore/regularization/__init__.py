"""Spatially varying regularization: weighted diffusion and the priors on its weight."""

from .diffusion import edge_weights, laplacian_diagonal, squared_gradient, weighted_diffusion, weighted_laplacian
from .priors import BetaPrior, GaussianPrior, Prior, UniformPrior

__all__ = [
    "BetaPrior",
    "GaussianPrior",
    "Prior",
    "UniformPrior",
    "edge_weights",
    "laplacian_diagonal",
    "squared_gradient",
    "weighted_diffusion",
    "weighted_laplacian",
]
