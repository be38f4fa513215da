"""Separable filters: means over boxes that keep constants, Gaussian smoothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from SPRCore.functional.boxes import box_sum
from SPRCore.typing import Images, Tensor


def box_mean(image: Images, radius: Sequence[int]) -> Images:
    """Mean over the part of a box inside the image, which keeps constants up to the border.

    ``radius`` is the half width of the box along each axis, in voxels.
    """
    return box_sum(image, radius) / box_count(image, radius)


def mirrored_box_mean(image: Images, radius: Sequence[int]) -> Images:
    """Mean over a box, the image mirrored at its border (border voxel repeated).

    It keeps constants and is its own transpose, so a quadratic form of pooled quantities has a pooled gradient. The
    half width of the box is limited by the size of the axis.
    """
    for axis, half in enumerate(radius):
        size, half = image.shape[axis + 2], min(half, image.shape[axis + 2] - 1)
        if half > 0:
            dim = axis + 2
            low, high = image.narrow(dim, 0, half).flip(dim), image.narrow(dim, size - half, half).flip(dim)
            radii = [half if i == axis else 0 for i in range(3)]
            extended = box_sum(torch.cat([low, image, high], dim=dim), radii)
            image = extended.narrow(dim, half, size) / (2 * half + 1)
    return image


def box_count(image: Images, radius: Sequence[int]) -> Tensor:
    """Number of voxels of each box inside the image, shape (1, 1, X, Y, Z).

    ``radius`` is the half width of the box along each axis, in voxels.
    """
    count = image.new_ones(())
    for axis, half in enumerate(radius):
        size = image.shape[axis + 2]
        index = torch.arange(size, device=image.device)
        line = (index + half).clamp(max=size - 1) - (index - half).clamp(min=0) + 1
        count = count * line.to(image.dtype).view([1, 1, *(size if i == axis else 1 for i in range(3))])
    return count


def gaussian_smooth(image: Images, sigma_vox: Sequence[float]) -> Images:
    """Smooth with a Gaussian, with the border value repeated outside; ``sigma_vox`` of 0 does not smooth an axis."""
    for axis, sigma in enumerate(sigma_vox):
        if sigma > 0:
            image = _convolve_axis(image, _gaussian_kernel(sigma, image), axis + 2)
    return image


def _gaussian_kernel(sigma: float, like: Tensor) -> Tensor:
    half = max(1, math.ceil(3.0 * sigma))
    offsets = torch.arange(-half, half + 1, dtype=like.dtype, device=like.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return kernel / kernel.sum()


def _convolve_axis(image: Tensor, kernel: Tensor, dim: int) -> Tensor:
    half, size = kernel.numel() // 2, image.shape[dim]
    pad = [0, 0] * (image.dim() - 1 - dim) + [half, half]
    padded = F.pad(image, [*pad, *[0] * (6 - len(pad))], mode="replicate")
    # Symmetric taps in pairs: half the multiplications, and each pass is one fused multiply-add over the volume.
    result = kernel[half] * padded.narrow(dim, half, size)
    for offset in range(1, half + 1):
        pair = padded.narrow(dim, half - offset, size) + padded.narrow(dim, half + offset, size)
        result = torch.add(result, pair * kernel[half + offset])
    return result
