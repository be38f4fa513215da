"""Modality independent neighborhood descriptor (MIND) with self-similarity context, memory efficient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from SPRCore.errors import InputError
from SPRCore.functional import box_mean, vector_jacobian_product
from SPRCore.similarity.mse import mse
from SPRCore.typing import Images, Masks, Tensor

NEIGHBORS = tuple(tuple(sign * (axis == i) for i in range(3)) for axis in range(3) for sign in (-1, 1))
PAIRS = tuple(
    (a, b) for a, b in itertools.combinations(NEIGHBORS, 2) if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2
)
"""The 12 pairs of the six neighbors at a distance of a square root of 2; opposite ones are excluded."""

_LEAST_SHARE, _LARGEST_SHARE = 1e-3, 1e3
"""A local noise estimate is clamped to these multiples of its mean over the image."""


MIND_RADIUS, MIND_DILATION = 1, 2
MIND_REACH = (MIND_RADIUS + MIND_DILATION,) * 3
"""Distance along each axis at which voxels of the image affect a descriptor, at most, in voxels."""


def mind_ssc(
    image: Images, radius: int = MIND_RADIUS, dilation: int = MIND_DILATION, spacing: Sequence[float] | None = None
) -> Images:
    r"""Describe every voxel by the similarity of the patches around it, independent of modality and contrast.

    For each pair (a, b) of neighboring patches, with D their mean squared difference over a box and V the mean of the
    12 distances (the local noise estimate)

    .. math:: S_{ab}(x) = \exp\left(-D_{ab}(x) / V(x)\right),\qquad D_{ab} = B\left[(I(x+a) - I(x+b))^2\right]

    so that it is invariant to linear changes of intensity, inversion included. Differentiable; only the image is kept
    for the backward pass, while the naive graph keeps about forty volumes.

    Args:
        image: Image, shape (B, C, X, Y, Z), any intensities; the border value is repeated outside.
        radius: Half width of the patches, in voxels.
        dilation: Distance of the six neighbors, in voxels of the finest axis.
        spacing: Voxel size along each axis: along coarser axes the neighbors are as near as the voxels allow. None for
            the same number of voxels along each.

    Returns:
        Descriptors, 12 for each channel, shape (B, 12 C, X, Y, Z), in (0, 1]; 1 everywhere in a constant image.

    Raises:
        InputError: The radius is negative or the dilation not positive.

    References:
        Heinrich et al., MICCAI 2013, doi:10.1007/978-3-642-40811-3_24.
    """
    if radius < 0 or dilation < 1:
        raise InputError(
            "MIND",
            got=f"radius={radius}, dilation={dilation}",
            expected="a radius of 0 or more, a dilation of 1 or more",
        )
    least = min(spacing or (1.0,))
    steps = tuple(max(1, round(dilation * least / step)) for step in spacing or (1.0, 1.0, 1.0))
    single = image.flatten(0, 1).unsqueeze(1)
    if torch.is_grad_enabled() and image.requires_grad:
        described = _Mind.apply(single, radius, steps)
    else:
        described = _describe(_distances(single, radius, steps))[0]
    return described.view(image.shape[0], -1, *image.shape[2:])


def mind_ssc_distance(
    fixed: Images,
    warped: Images,
    radius: int = MIND_RADIUS,
    dilation: int = MIND_DILATION,
    mask: Images | Masks | None = None,
) -> Tensor:
    """Mean squared difference of the descriptors of two images of different modality or contrast, in [0, 1].

    It is 0 for images that are linear functions of each other, and differentiable with respect to both. Radius and
    dilation are those of ``mind_ssc``; the mask selects the voxels that count (nonzero).
    """
    return mse(mind_ssc(fixed, radius, dilation), mind_ssc(warped, radius, dilation), mask)


class _Mind(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, radius: int, steps: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(image)
        ctx.options = (radius, steps)
        return _describe(_distances(image, radius, steps))[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (image,) = ctx.saved_tensors
        to_distances = _descriptor_gradient(grad, _distances(image, *ctx.options))
        total = torch.zeros_like(image)
        for index in range(len(PAIRS)):  # one pair at a time: its graph holds a few volumes only
            with torch.enable_grad():
                leaf = image.detach().requires_grad_()
                distance = _distance(_padded(leaf, ctx.options[1]), index, *ctx.options)
            total += vector_jacobian_product(distance, leaf, to_distances[:, index : index + 1])
        return total, None, None


def _padded(image: Tensor, steps: Sequence[int]) -> Tensor:
    return F.pad(image, [step for step in reversed(steps) for _ in range(2)], mode="replicate")


def _distance(padded: Tensor, index: int, radius: int, steps: Sequence[int]) -> Tensor:
    shape = [size - 2 * step for size, step in zip(padded.shape[2:], steps, strict=True)]
    views = []
    for neighbor in PAIRS[index]:
        view = padded
        for axis, (side, step, size) in enumerate(zip(neighbor, steps, shape, strict=True)):
            view = view.narrow(axis + 2, step * (1 + side), size)
        views.append(view)
    return box_mean((views[0] - views[1]).square(), (radius,) * 3)


def _distances(image: Tensor, radius: int, steps: Sequence[int]) -> Tensor:
    padded = _padded(image, steps)
    result = image.new_empty((image.shape[0], len(PAIRS), *image.shape[2:]))
    for index in range(len(PAIRS)):
        result[:, index : index + 1] = _distance(padded, index, radius, steps)
    return result


def _describe(distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return descriptor, noise estimate, and the clamped noise estimate."""
    noise = distances.mean(dim=1, keepdim=True)
    typical = noise.mean(dim=(2, 3, 4), keepdim=True)
    # The tiny bound gives 0 / tiny = 0 in a constant image.
    divisor = noise.clamp(min=_LEAST_SHARE * typical, max=_LARGEST_SHARE * typical)
    divisor = divisor.clamp(min=torch.finfo(noise.dtype).tiny)
    return torch.exp(-distances / divisor), noise, divisor


def _descriptor_gradient(grad: Tensor, distances: Tensor) -> Tensor:
    """Return the gradient with respect to the distances, including that of the clamp and its mean over the image."""
    descriptor, noise, divisor = _describe(distances)
    slope = grad * descriptor / divisor
    to_divisor = (slope * distances).sum(dim=1, keepdim=True) / divisor
    below, above = (divisor > noise).to(grad.dtype), (divisor < noise).to(grad.dtype)
    shares = to_divisor * (below * _LEAST_SHARE + above * _LARGEST_SHARE)
    to_noise = to_divisor * (1 - below - above) + shares.mean(dim=(2, 3, 4), keepdim=True)
    return to_noise / len(PAIRS) - slope
