"""The stationary velocity whose flow is a given displacement."""

from __future__ import annotations

from SPRCore.functional.filters import gaussian_smooth
from SPRCore.functional.integrate import integrate
from SPRCore.functional.warp import compose
from SPRCore.typing import Vectors


def logarithm(
    displacement_vox: Vectors, iterations: int = 10, steps: int = 7, sigma_vox: float = 0.5
) -> tuple[Vectors, float]:
    r"""Approximate the velocity v with :math:`\exp(v) = id + u` by corrections with the residual of its flow.

    .. math:: v \leftarrow v + G_\sigma * \left((id + u) \circ \exp(-v) - id\right)

    the first-order form of the Baker–Campbell–Hausdorff formula. A displacement that folds has no logarithm; the
    velocity of least residual is returned, a diffeomorphism near it.

    Args:
        displacement_vox: Displacement u, shape (B, 3, X, Y, Z), in voxels.
        iterations: Corrections; each costs one integration.
        steps: Squaring steps of the integration.
        sigma_vox: Smoothing of each correction, in voxels: without it sharp errors are amplified.

    Returns:
        The velocity v, same shape, in voxels, and the mean length of the residual, in voxels.

    References:
        Bossa, Hernandez, Olmos, MICCAI 2007, doi:10.1007/978-3-540-75757-3_81.
    """
    velocity = displacement_vox.clone()
    best, least = velocity, float("inf")
    for iteration in range(iterations + 1):
        residual = compose(integrate(-velocity, steps), displacement_vox)
        left = float(residual.norm(dim=1).mean())
        if not left < least:
            break
        best, least = velocity, left
        if iteration < iterations:
            velocity = velocity + gaussian_smooth(residual, (sigma_vox,) * 3)
    return best, least
