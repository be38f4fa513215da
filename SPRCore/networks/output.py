"""Output of the registration networks."""

from __future__ import annotations

from dataclasses import dataclass

from SPRCore.typing import Scalars, Vectors


@dataclass(frozen=True, kw_only=True)
class RegistrationOutput:
    """Output of a network for a batch of pairs, on the grid of its input and in its voxels; None for absent fields.

    Attributes:
        displacement: Pull map from fixed to moving, shape (B, 3, X, Y, Z), float32.
        inverse_displacement: Pull map from moving to fixed, the integral of minus the velocity, same shape.
        weight: Weight w = λ/λ_max of the beta and the total-variation prior in (0, 1], or λ/λ_mean of the Gaussian in
            (0, 5], shape (B, 1, X, Y, Z).
        velocity: Stationary velocity whose integral the displacement is, shape (B, 3, X, Y, Z), per unit time.
    """

    displacement: Vectors
    inverse_displacement: Vectors | None = None
    weight: Scalars | None = None
    velocity: Vectors | None = None
