"""Removal of the last folds of a discretised flow: smoothing of the velocity where the map tears, and nowhere else."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from SPRCore.functional import integrate, jacobian_determinant, mirrored_box_mean
from SPRCore.typing import Vectors

LEAST_DETERMINANT = 0.05
"""Voxels squeezed below this part of their volume count as folded: a margin for the interpolation in between."""


def unfold(velocity_vox: Vectors, squarings: int, rounds: int = 8) -> tuple[Vectors, float]:
    r"""Smooth a velocity around the voxels where its flow, or the inverse flow, folds, until none is left.

    The flow of a smooth velocity never folds; its sampled, interpolated form may where the velocity changes by more
    than a voxel between neighbors. Each round averages the velocity over 3x3x3 voxels around the folds, over a region
    that grows by one voxel a round.

    Args:
        velocity_vox: Velocity, shape (1, 3, X, Y, Z), in voxels per unit time.
        squarings: Squaring steps of the integration.
        rounds: Most rounds.

    Returns:
        The velocity, changed around folds alone, and the part of all voxels that it was changed at.
    """
    touched = torch.zeros_like(velocity_vox[:, :1])
    for growth in range(1, rounds + 1):
        least = torch.minimum(
            *(jacobian_determinant(integrate(sign * velocity_vox, squarings)) for sign in (1.0, -1.0))
        )
        folded = (least < LEAST_DETERMINANT).to(velocity_vox.dtype)
        if not folded.any():
            break
        region = F.max_pool3d(folded, 2 * growth + 1, stride=1, padding=growth)
        # Soft edges: a hard one would be a new jump of the velocity.
        region = mirrored_box_mean(region, (1, 1, 1))
        velocity_vox = torch.lerp(velocity_vox, mirrored_box_mean(velocity_vox, (1, 1, 1)), region)
        touched = torch.maximum(touched, (region > 0).to(touched.dtype))
    return velocity_vox, float(touched.mean())
