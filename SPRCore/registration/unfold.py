"""Removal of the last folds of a discretised flow: smoothing of the velocity where the map tears, and nowhere else."""

from __future__ import annotations

from typing import NamedTuple

import torch

from SPRCore.functional import box_sum, integrate, jacobian_determinant, mirrored_box_mean
from SPRCore.registration.level import Pausing, completed
from SPRCore.typing import Vectors

LEAST_DETERMINANT = 0.05
"""Voxels squeezed below this part of their volume count as folded: a margin for the interpolation in between."""


class Unfolded(NamedTuple):
    """A velocity whose flow does not fold.

    Attributes:
        velocity_vox: Velocity, shape (1, 3, X, Y, Z), in voxels per unit time.
        forward_vox: Its integral, same shape, in voxels.
        backward_vox: The integral of minus the velocity.
        touched: Part of all voxels that the velocity was changed at.
    """

    velocity_vox: Vectors
    forward_vox: Vectors
    backward_vox: Vectors
    touched: float


def unfold(velocity_vox: Vectors, squarings: int, rounds: int = 6) -> Unfolded:
    r"""Smooth a velocity around the voxels where its flow, or the inverse flow, folds, until none is left.

    The flow of a smooth velocity never folds; its sampled, interpolated form may where the velocity changes by more
    than a voxel between neighbors. Round k replaces the velocity within k voxels of a fold by its mean over
    (2k + 1)³ voxels: most folds need no more than the first, few the fourth.

    Args:
        velocity_vox: Velocity, shape (1, 3, X, Y, Z), in voxels per unit time.
        squarings: Squaring steps of the integration.
        rounds: Most rounds.

    Returns:
        The velocity, changed around folds alone, with its flows.
    """
    return completed(unfolding(velocity_vox, squarings, rounds))


def unfolding(velocity_vox: Vectors, squarings: int, rounds: int = 6) -> Pausing[Unfolded]:
    """Do what ``unfold`` does, with pauses."""
    touched = torch.zeros_like(velocity_vox[:, :1])
    for radius in range(1, rounds + 2):
        forward = integrate(velocity_vox, squarings)
        yield
        backward = integrate(-velocity_vox, squarings)
        yield
        least = torch.minimum(jacobian_determinant(forward), jacobian_determinant(backward))
        folded = (least < LEAST_DETERMINANT).to(velocity_vox.dtype)
        if radius > rounds or not folded.any():
            break
        region = (box_sum(folded, (radius,) * 3) > 0.5).to(folded.dtype)
        # Soft edges: a hard one would be a new jump of the velocity.
        region = mirrored_box_mean(region, (1, 1, 1))
        velocity_vox = torch.lerp(velocity_vox, mirrored_box_mean(velocity_vox, (radius,) * 3), region)
        touched = torch.maximum(touched, (region > 0).to(touched.dtype))
    return Unfolded(velocity_vox, forward, backward, float(touched.mean()))
