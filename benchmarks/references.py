"""References of the measured operations in plain PyTorch and of MONAI, differentiated by autograd."""

from __future__ import annotations

import itertools

import torch
from torch.nn import functional as F


def warp(image, displacement):
    """Identity grid, sum, normalisation, permutation, ``grid_sample``."""
    shape = displacement.shape[2:]
    ticks = [torch.arange(n, dtype=displacement.dtype, device=displacement.device) for n in shape]
    positions = torch.stack(torch.meshgrid(*ticks, indexing="ij"))[None] + displacement
    parts = [2.0 * positions[:, axis] / (n - 1) - 1.0 for axis, n in enumerate(shape)]
    grid = torch.stack(parts, dim=-1).flip(-1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def compose(first, second):
    return first + warp(second, first)


def integrate(velocity, steps=7):
    current = velocity / 2**steps
    for _ in range(steps):
        current = compose(current, current)
    return current


def _correlation(fixed, warped, mean):
    """Mean squared local correlation from five means, in the usual form with a small constant in the denominator."""
    fixed_mean, warped_mean = mean(fixed), mean(warped)
    covariance = mean(fixed * warped) - fixed_mean * warped_mean
    fixed_variance = mean(fixed * fixed) - fixed_mean**2
    variance = mean(warped * warped) - warped_mean**2
    return (covariance**2 / (fixed_variance.clamp(min=1e-5) * variance.clamp(min=1e-5))).mean()


def lncc_separable(fixed, warped, window=9):
    """Five means, each by three one-dimensional average pools."""

    def total(image):
        for axis in range(3):
            size = [window if i == axis else 1 for i in range(3)]
            pad = [window // 2 if i == axis else 0 for i in range(3)]
            image = F.avg_pool3d(image, size, stride=1, padding=pad)
        return image

    counts = total(torch.ones_like(fixed))
    return _correlation(fixed, warped, lambda image: total(image) / counts)


def lncc_dense(fixed, warped, window=9):
    """Five means, each by a dense convolution with ones."""
    ones = torch.ones(1, 1, window, window, window, dtype=fixed.dtype, device=fixed.device)

    def total(image):
        return F.conv3d(image, ones, padding=window // 2)

    counts = total(torch.ones_like(fixed))
    return _correlation(fixed, warped, lambda image: total(image) / counts)


def weighted_diffusion(field, weight):
    """Squared forward differences, each times the mean weight of its ends."""
    total = 0.0
    for axis in (2, 3, 4):
        size = field.shape[axis] - 1
        step = field.narrow(axis, 1, size) - field.narrow(axis, 0, size)
        ends = 0.5 * (weight.narrow(axis, 1, size) + weight.narrow(axis, 0, size))
        total = total + (ends * step**2).sum()
    return total / (9 * weight.numel())


def mind_ssc(image, radius=1, dilation=2):
    """Shifted copies, twelve squared differences, box means, one after another in one graph."""
    steps = [tuple(sign * (axis == i) for i in range(3)) for axis in range(3) for sign in (-1, 1)]
    pairs = [
        (a, b) for a, b in itertools.combinations(steps, 2) if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2
    ]
    padded, shape = F.pad(image, [dilation] * 6, mode="replicate"), image.shape[2:]

    def shifted(step):
        low = [dilation * (1 + s) for s in step]
        return padded[:, :, low[0] : low[0] + shape[0], low[1] : low[1] + shape[1], low[2] : low[2] + shape[2]]

    window = 2 * radius + 1
    squares = torch.cat([(shifted(a) - shifted(b)) ** 2 for a, b in pairs], dim=1)
    distances = F.avg_pool3d(squares, window, stride=1, padding=radius, count_include_pad=False)
    noise = distances.mean(dim=1, keepdim=True)
    typical = noise.mean(dim=(2, 3, 4), keepdim=True)
    return torch.exp(-distances / noise.clamp(min=1e-3 * typical, max=1e3 * typical))


def lncc_monai(fixed, warped, window=9):
    """Its windows are not cut at the border, where zeros count as values."""
    from monai.losses import LocalNormalizedCrossCorrelationLoss

    return -LocalNormalizedCrossCorrelationLoss(kernel_size=window)(warped, fixed)


def warp_monai(image, displacement):
    from monai.networks.blocks import Warp

    return Warp(mode="bilinear", padding_mode="border")(image, displacement)


def integrate_monai(velocity, steps=7):
    from monai.networks.blocks import DVF2DDF

    return DVF2DDF(num_steps=steps, mode="bilinear", padding_mode="border")(velocity)
