"""Sampling of images and fields in a network: that of SPRCore, or that of imported checkpoints.

``"half_voxel"`` is the sampler of the MIR toolkit: it divides positions by n − 1, as for grids whose corner voxel
centers are at ±1, and samples with ``align_corners=False``, where the corners of the grid are. Position p is
sampled at p·n/(n − 1) − 1/2, up to half a voxel away, and a checkpoint trained with it has learned to compensate.
"""

from __future__ import annotations

import torch

from SPRCore.functional import integrate, warp
from SPRCore.typing import Images, Vectors


def true_displacement(displacement_vox: Vectors) -> Vectors:
    r"""Pull map that the half-voxel sampler realizes: :math:`(x + u) n/(n - 1) - \tfrac12 - x`.

    ``functional.warp`` samples the same positions with it. Shape (B, 3, X, Y, Z), in voxels.
    """
    parts = []
    for axis, size in enumerate(displacement_vox.shape[2:]):
        ticks = torch.arange(size, dtype=displacement_vox.dtype, device=displacement_vox.device)
        ticks = ticks.view([size if i == axis else 1 for i in range(3)])
        span = size - 1
        parts.append(displacement_vox[:, axis] * (size / span) + (ticks / span - 0.5))
    return torch.stack(parts, dim=1)


def sample_at(image: Images, displacement_vox: Vectors, sampling: str) -> Images:
    """Warp an image by a displacement in voxels with a sampling: ``"border"``, ``"zeros"`` or ``"half_voxel"``."""
    if sampling == "border":
        return warp(image, displacement_vox)
    if sampling == "half_voxel":
        displacement_vox = true_displacement(displacement_vox)
    return warp(image, displacement_vox, padding="zeros")


def integrate_by(velocity_vox: Vectors, squarings: int, sampling: str) -> Vectors:
    """Integrate a velocity in voxels by scaling and squaring with a sampling; `integrate` for ``"border"``."""
    if sampling == "border":
        return integrate(velocity_vox, squarings)
    current = velocity_vox / 2**squarings
    for _ in range(squarings):
        current = current + sample_at(current, current, sampling)
    return current
