"""Removal of the last folds of a discretised flow: the velocity is smoothed around folds only."""

from __future__ import annotations

import torch

from SPRCore.functional import box_sum, integrate, jacobian_determinant, mirrored_box_mean
from SPRCore.registration.level import Pausing, completed
from SPRCore.typing import Vectors

_LEAST_DETERMINANT = 0.05
"""A voxel whose Jacobian determinant is below this counts as folded: a margin for the interpolation in between."""


def unfold(velocity_vox: Vectors, squarings: int, rounds: int = 6) -> tuple[Vectors, Vectors, Vectors, float]:
    r"""Smooth a velocity around the voxels where its flow, or the inverse flow, folds, until none is left.

    The flow of a smooth velocity never folds; its sampled, interpolated form may where the velocity changes by more
    than a voxel between neighbors. Each of at most ``rounds`` rounds k replaces the velocity within k voxels of a fold
    by its mean over (2k + 1)³ voxels: most folds need one round, few need four.

    Returns:
        The velocity (1, 3, X, Y, Z); its integral by ``squarings`` steps and that of minus the velocity, in voxels; and
        the fraction of the voxels where the velocity was changed.
    """
    return completed(unfolding(velocity_vox, squarings, rounds))


def unfolding(
    velocity_vox: Vectors, squarings: int, rounds: int = 6
) -> Pausing[tuple[Vectors, Vectors, Vectors, float]]:
    """``unfold`` with pauses."""
    changed = torch.zeros_like(velocity_vox[:, :1])
    for radius in range(1, rounds + 2):
        forward = integrate(velocity_vox, squarings)
        yield
        backward = integrate(-velocity_vox, squarings)
        yield
        least = torch.minimum(jacobian_determinant(forward), jacobian_determinant(backward))
        folded = (least < _LEAST_DETERMINANT).to(velocity_vox.dtype)
        if radius > rounds or not folded.any():
            break
        region = (box_sum(folded, (radius,) * 3) > 0.5).to(folded.dtype)
        # Soft edges: a hard one would be a new jump of the velocity.
        region = mirrored_box_mean(region, (1, 1, 1))
        velocity_vox = torch.lerp(velocity_vox, mirrored_box_mean(velocity_vox, (radius,) * 3), region)
        changed = torch.maximum(changed, (region > 0).to(changed.dtype))
    return velocity_vox, forward, backward, float(changed.mean())
