r"""The most probable weight of a field: the one definition for solver, training, metrics and reports.

The squared gradient s is averaged over the neighborhood that shares a weight, each voxel gets the weight w that
minimizes the loss for that mean, and the weight that multiplies the squared gradient of a voxel is the mean of w over
the same neighborhood: :math:`\sum_p w(p)\,(P s)(p) = \sum_p (P w)(p)\,s(p)` for a mean P that is its own transpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from SPRCore.functional import mirrored_box_mean
from SPRCore.regularization.diffusion import squared_gradient
from SPRCore.regularization.priors import Prior
from SPRCore.typing import Scalars, Vectors

POOL = 1
"""Half width in voxels of the neighborhood that shares a weight.

One voxel is enough for single voxels not to fold. Both averages together reach two voxels to each side, the five voxels
over which a network, which predicts its weight at a quarter of the resolution, interpolates between two values.
"""

_COARSE = 1.5  # times the smallest voxel size


def pool_of(spacing: Sequence[float], half_width: int = POOL) -> tuple[int, ...]:
    """Return the half width of the neighborhood along each axis, 0 along axes of voxels 1.5 times the finest."""
    finest = min(spacing)
    return tuple(half_width if step < _COARSE * finest else 0 for step in spacing)


def free_weight(
    field_mm: Vectors,
    spacing: Sequence[float],
    prior: Prior,
    pool: Sequence[int],
    stiffness: Scalars | None = None,
) -> tuple[Scalars, Scalars]:
    """Return the minimizing weight w before it is averaged, and the average of q·s, each of shape (B, 1, X, Y, Z).

    Arguments as for `most_probable_weight`.
    """
    local = squared_gradient(field_mm, spacing)
    pooled = mirrored_box_mean(local if stiffness is None else local * stiffness, pool)
    return prior.map_weight(pooled), pooled


def effective_weight(free: Scalars, pool: Sequence[int], stiffness: Scalars | None = None) -> Scalars:
    """Return the weight of each voxel's own squared gradient, q times the mean of the `free_weight`."""
    pooled = mirrored_box_mean(free, pool)
    return pooled if stiffness is None else pooled * stiffness


@torch.no_grad()
def most_probable_weight(
    field_mm: Vectors,
    spacing: Sequence[float],
    prior: Prior,
    *,
    pool: Sequence[int] | None = None,
    stiffness: Scalars | None = None,
) -> Scalars:
    """Return the weight that minimizes the loss for a field, in closed form and without gradient.

    Args:
        field_mm: Velocity or displacement in mm along the axes of its grid, shape (B, 3, X, Y, Z).
        spacing: Voxel size in mm along each axis.
        prior: The prior on the weight.
        pool: Half width in voxels of the neighborhood that shares a weight, along each axis; by default that of
            `pool_of`.
        stiffness: Factor q > 0 of the weight of each voxel, shape (B, 1, X, Y, Z), or None for 1.

    Returns:
        Weight (B, 1, X, Y, Z).
    """
    pool = pool_of(spacing) if pool is None else pool
    return effective_weight(free_weight(field_mm, spacing, prior, pool, stiffness)[0], pool, stiffness)
