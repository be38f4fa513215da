"""Mean squares of images or of their descriptors, relative to the local variance of the fixed image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from SPRCore.functional import box_count, box_sum
from SPRCore.similarity.lncc import (
    VARIANCE_FLOOR,
    ImageComparison,
    counted_voxels,
    intersected,
    noise_variance,
)
from SPRCore.typing import Images, Scalars, Tensor


@dataclass(frozen=True)
class FixedFeatures:
    r"""Features of the fixed image for mean squares: its channels themselves, or the MIND descriptors of them.

    With C channels, V the mean local variance of the features of the fixed image, the similarity of a voxel is

    .. math:: 1 - \frac{1}{2 C V} \sum_c (f_c - m_c)^2

    whose mean is 1 at best, and 0 for unrelated features of the same mean and variance: it is a correlation. The scale
    makes it comparable with the squared local correlation, and with it a weight λ.

    Attributes:
        image: Features of the fixed image, shape (B, C, X, Y, Z).
        mask: 1 where a voxel counts, 0 elsewhere, shape (B, 1, X, Y, Z), or None for everywhere.
        radius: Half width of the windows in which V is computed along each axis, in voxels.
        variance: V of each image of the batch, shape (B, 1, 1, 1, 1).
        total: Number of voxels averaged over.
        noise: Variance of the noise of the features relative to V; None where it is unknown.
    """

    image: Images
    mask: Scalars | None
    radius: tuple[int, int, int]
    variance: Tensor
    total: float
    noise: float | None = None

    @classmethod
    def of(
        cls,
        image: Images,
        radius: Sequence[int],
        mask: Scalars | None = None,
        floor: float | Tensor = VARIANCE_FLOOR,
        noisy: bool = True,
    ) -> FixedFeatures:
        """Compute the scale of the features of a fixed image.

        Args:
            image: Features, shape (B, C, X, Y, Z).
            radius: Half width of the windows, in voxels.
            mask: Voxels that count (nonzero), shape (B, 1, X, Y, Z), or None.
            floor: Least variance of a window that counts in V, see ``variance_floor``; channel by channel or for all.
            noisy: Whether the noise can be estimated from the features, as from intensities.
        """
        weight = None if mask is None else (mask != 0).to(image.dtype)
        variance = _mean_local_variance(image, radius, weight, floor)
        noise = None
        if noisy:
            noise = sum(map(noise_variance, image.split(1, dim=1))) / (image.shape[1] * float(variance.mean()))
        return cls(image, weight, tuple(radius), variance, counted_voxels(image, weight), noise)

    def within(self, mask: Scalars) -> FixedFeatures:
        """Return the same features, on the same scale, with a smaller mask (nonzero), shape (B, 1, X, Y, Z)."""
        chosen = intersected(self.mask, mask, self.image)
        return dataclasses.replace(self, mask=chosen, total=counted_voxels(self.image, chosen))

    def compare(self, warped: Images, derivatives: bool = True) -> ImageComparison:
        """Compare the warped features of the moving image, shape (B, C, X, Y, Z)."""
        scale = 0.5 / (self.variance * warped.shape[1])
        scale = scale.expand_as(warped[:, :1]) if self.mask is None else self.mask * scale
        difference = self.image - warped
        values = torch.addcmul(self.informs, difference.square().sum(dim=1, keepdim=True), scale, value=-1.0)
        if not derivatives:
            return ImageComparison(values, None, None)
        return ImageComparison(values, difference.mul_(2.0 * scale), scale)

    def attainable(self) -> Scalars | None:
        """Return the value of a perfect match with as much noise in the moving image; None where it is unknown."""
        return None if self.noise is None else torch.full_like(self.image[:, :1], max(0.0, 1.0 - self.noise))

    @property
    def informs(self) -> Scalars:
        """1 where a voxel counts, 0 elsewhere, shape (B, 1, X, Y, Z)."""
        return torch.ones_like(self.image[:, :1]) if self.mask is None else self.mask


def _mean_local_variance(image: Tensor, radius: Sequence[int], mask: Tensor | None, floor: float | Tensor) -> Tensor:
    """Mean over channels of the variance in the windows where it is above the floor, shape (B, 1, 1, 1, 1)."""
    floors = torch.as_tensor(floor, dtype=image.dtype, device=image.device).flatten().expand(image.shape[1])
    count = box_count(image[:, :1], radius) if mask is None else box_sum(mask, radius).clamp_(min=1.0)
    means = []
    for channel, least in zip(image.split(1, dim=1), floors, strict=True):
        known = channel if mask is None else channel * mask
        variance = box_sum(known * channel, radius) / count - (box_sum(known, radius) / count).square_()
        counts = (variance > least) if mask is None else (variance > least) & (mask > 0)
        sums, number = (variance * counts).sum(dim=(1, 2, 3, 4)), counts.sum(dim=(1, 2, 3, 4))
        means.append(torch.maximum(sums / number.clamp(min=1), least))
    return torch.stack(means).mean(dim=0).view(-1, 1, 1, 1, 1)
