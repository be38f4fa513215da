"""Local normalised cross-correlation by box sums, with its analytic gradient and Gauss–Newton curvature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from SPRCore.errors import InputError
from SPRCore.functional import BoxSlabs, box_count, box_sum
from SPRCore.typing import Images, Scalars, Tensor

VARIANCE_FLOOR = 1e-5
"""Least mean variance of an informative window (intensities about [0, 1])."""

_NOISE_FACTOR, _HIGHEST_FLOOR = 6.0, 1.5e-3
"""Floor of a noisy image: a window that varies by less than 2.4 standard deviations of the noise counts less. It is
bounded, since in an image without noise the finest texture is taken for noise."""

_HIGHEST_NOISE = 0.05**2
"""Largest variance of noise: texture as fine as the voxels is taken for noise."""


def variance_floor(image: Images) -> float | Tensor:
    r"""Return the least mean variance of a window with more than noise, of an image about [0, 1].

    A number for one channel, a tensor of shape (1, C, 1, 1, 1) for several.

    The noise is estimated from second differences, :math:`\sigma = \mathrm{median}|\Delta^2| / (0.6745 \sqrt{6})`,
    along the axis where it is least (along coarse axes it is anatomy); constant regions (cleared background) do not
    count. The value is :math:`6 \sigma^2`, limited to [``VARIANCE_FLOOR``, ``_HIGHEST_FLOOR``].

    References:
        Immerkaer, Computer Vision and Image Understanding 1996, doi:10.1006/cviu.1996.0060; here the median instead of
        the mean, which excludes edges.
    """
    floors = [
        min(max(_NOISE_FACTOR * noise_variance(channel), VARIANCE_FLOOR), _HIGHEST_FLOOR)
        for channel in image.split(1, dim=1)
    ]
    return floors[0] if len(floors) == 1 else image.new_tensor(floors, dtype=torch.float32).view(1, -1, 1, 1, 1)


def common_floor(fixed: Images, moving: Images) -> float | Tensor:
    """Return the larger ``variance_floor`` of two images, channel by channel."""
    one, other = variance_floor(fixed), variance_floor(moving)
    return max(one, other) if fixed.shape[1] == 1 else torch.maximum(one, other)


def noise_variance(image: Scalars) -> float:
    """Return the variance of the noise, estimated along the axis where it is least, see ``variance_floor``."""
    return min(_noise_along(image, axis) for axis in range(3))


def _noise_along(image: Tensor, axis: int) -> float:
    second = torch.diff(image.float(), n=2, dim=axis + 2).flatten()
    second = second[:: max(1, second.numel() // 500_000)]
    second = second[second != 0].abs()
    return float(second.median() / 0.6745) ** 2 / 6.0 if second.numel() else 0.0


def attainable_correlation(fixed: FixedStatistics) -> Images:
    r"""Return the squared local correlation of a perfect match at the noise level, shape (B, C, X, Y, Z), in [0, 1].

    Of a window of variance V, :math:`\sigma^2` of which is noise, the deformed image can explain V − σ². With as much
    noise in the moving image the squared correlation of the true displacement is :math:`((V - \sigma^2) / V)^2`; a
    higher one is fitted noise. The noise is estimated as for ``variance_floor`` and at most ``_HIGHEST_NOISE``.
    """
    variance = fixed.variance / fixed.count
    noise = [min(_HIGHEST_NOISE, noise_variance(channel)) for channel in fixed.image.split(1, dim=1)]
    return variance.sub(variance.new_tensor(noise).view(1, -1, 1, 1, 1)).clamp_(min=0.0).div_(variance).square_()


def window_radius(window: int, spacing: Sequence[float] | None = None) -> tuple[int, int, int]:
    """Return the half width of a correlation window along each axis.

    Args:
        window: Odd window size in voxels of the finest axis.
        spacing: Voxel size along each axis; coarser axes get fewer voxels, so that the window covers the same length
            along each, but at least 3 voxels. Without it the window is a cube of voxels.

    Returns:
        Half widths (X, Y, Z), in voxels.

    Raises:
        InputError: The window is even or below 3.
    """
    if window < 3 or window % 2 == 0:
        raise InputError("LNCC window", got=str(window), expected="an odd number of voxels, 3 or more")
    half = window // 2
    if spacing is None:
        return (half, half, half)
    finest = min(spacing)
    rx, ry, rz = (max(1, round(half * finest / s)) for s in spacing)
    return (rx, ry, rz)


def intersected(mask: Scalars | None, other: Scalars, image: Images) -> Scalars:
    """Return the voxels that two masks share as 0 and 1 of the type of an image; None is everywhere."""
    chosen = (other != 0).to(image.dtype)
    return chosen if mask is None else chosen * mask


def counted_voxels(image: Images, mask: Scalars | None) -> float:
    """Return the number of voxels over which a similarity is averaged, at least 1."""
    return float(image[:, 0].numel() if mask is None else mask.sum().clamp(min=1.0))


@dataclass(frozen=True)
class FixedStatistics:
    """Statistics of the fixed image, computed once for many warped images.

    Attributes:
        image: Centered fixed image times the mask, shape (B, C, X, Y, Z).
        mean: Its local mean.
        variance: Its local sum of squared deviations, clamped from below.
        count: Number of masked voxels in each window.
        mask: 1 where a voxel counts, 0 elsewhere, or None for everywhere.
        radius: Half width of the window along each axis, in voxels.
        usable: 1 for informative windows inside the mask.
        total: Number of voxels averaged over.
        floor: Least mean variance of a window of either image, for each channel, shape (1, C, 1, 1, 1), or for all.
    """

    image: Tensor
    mean: Tensor
    variance: Tensor
    count: Tensor
    mask: Tensor | None
    radius: tuple[int, int, int]
    usable: Tensor
    total: float
    floor: float | Tensor = VARIANCE_FLOOR

    @classmethod
    def of(
        cls, fixed: Images, radius: Sequence[int], mask: Scalars | None = None, floor: float | Tensor = VARIANCE_FLOOR
    ) -> FixedStatistics:
        """Compute the statistics of a fixed image.

        Args:
            fixed: Fixed image, shape (B, C, X, Y, Z), any real type; computed in float32 at least.
            radius: Half width of the window along each axis, in voxels.
            mask: Voxels that count (nonzero), shape (B, 1, X, Y, Z), or None.
            floor: Least mean variance of a window of either image; see ``variance_floor``.
        """
        image = _centered(_at_least_float32(fixed))
        weight = None if mask is None else (mask != 0).to(image.dtype)  # masks may be boolean, 255 or labels
        image = image if weight is None else image.mul_(weight)
        count = box_count(image, radius) if weight is None else box_sum(weight, radius).clamp_(min=1.0)
        least, boxes = floor * count, BoxSlabs(image, radius)
        mean, variance, usable = (torch.empty_like(image) for _ in range(3))
        for slab, reach in boxes:
            at, part = (slice(None), slice(None), slab), image[:, :, reach]
            first = boxes.sums(part, slab, reach, boxes.buffer("first", slab))
            torch.div(first, count[at], out=mean[at])
            square = torch.mul(part, part, out=boxes.buffer("square", reach))
            second = boxes.sums(square, slab, reach, boxes.buffer("second", slab)).addcmul_(first, mean[at], value=-1.0)
            torch.gt(second, least[at], out=usable[at])
            torch.maximum(second, least[at], out=variance[at])
        usable = usable if weight is None else usable.mul_(weight)
        total = counted_voxels(image, weight)
        return cls(image, mean, variance, count, weight, tuple(radius), usable, total, floor)

    def within(self, mask: Scalars) -> FixedStatistics:
        """Return the statistics of the same image with a smaller mask.

        Args:
            mask: Voxels that count (nonzero), shape (B, 1, X, Y, Z); intersected with the present mask.
        """
        return FixedStatistics.of(self.image, self.radius, intersected(self.mask, mask, self.image), self.floor)

    def compare(self, warped: Images, derivatives: bool = True) -> ImageComparison:
        """Compare a warped image, shape (B, C, X, Y, Z), by squared local correlation, the mean of its channels."""
        found, share = correlate(self, warped, derivatives=derivatives), 1.0 / warped.shape[1]
        if share == 1.0:
            return ImageComparison(found.squared, found.gradient, found.curvature)
        values = found.squared.mean(dim=1, keepdim=True)
        if not derivatives:
            return ImageComparison(values, None, None)
        return ImageComparison(values, found.gradient.mul_(share), found.curvature.mul_(share))

    def attainable(self) -> Scalars:
        """Return the value of a perfect match at the noise level, ``attainable_correlation``, the mean of channels."""
        return attainable_correlation(self).mean(dim=1, keepdim=True)

    @property
    def informs(self) -> Scalars:
        """1 where the window of a channel is informative, 0 elsewhere, shape (B, 1, X, Y, Z)."""
        return self.usable.amax(dim=1, keepdim=True)


class ImageComparison(NamedTuple):
    """Similarity of a warped image with the fixed one and its derivatives with respect to the warped image.

    Attributes:
        values: Similarity of each voxel, 1 at best, 0 where it does not count, shape (B, 1, X, Y, Z).
        gradient: Derivative of the *sum* of ``values`` with respect to each warped intensity, shape (B, C, X, Y, Z), or
            None.
        curvature: Half the Gauss–Newton second derivative of minus that sum, ≥ 0, shape (B, C, X, Y, Z), or
            (B, 1, X, Y, Z) where it is the same for all channels; or None.
    """

    values: Tensor
    gradient: Tensor | None
    curvature: Tensor | None


class Correlation(NamedTuple):
    """Correlation of a warped image with the fixed one, channel by channel, and its derivatives.

    Attributes:
        squared: Squared local correlation, in [0, 1], shape (B, C, X, Y, Z).
        gradient: Derivative of the *sum* of ``squared`` with respect to each warped intensity, or None.
        curvature: Gauss–Newton second derivative of minus that sum (half of it, ≥ 0), or None.
    """

    squared: Tensor
    gradient: Tensor | None
    curvature: Tensor | None


def correlate(fixed: FixedStatistics, warped: Images, derivatives: bool = True) -> Correlation:
    r"""Correlate a warped image with a fixed one in every window.

    With window sums C (covariance), :math:`V_f, V_m` (variances, clamped) and window means, the squared correlation is
    :math:`c^2 = C^2 / (V_f V_m)`, and with :math:`a = C/(V_f V_m)`, :math:`b = c^2/V_m` and B the box sum

    .. math:: \frac{\partial \sum c^2}{\partial m} = 2 \left(f\,B(a) - m\,B(b) - B(a\bar f - b\bar m)\right).

    A window's :math:`1-c^2` is the relative residual of the best linear fit of f by m, whose Gauss–Newton second
    derivative is :math:`2 B(b)`.

    Args:
        fixed: Statistics of the fixed image.
        warped: Warped moving image, shape (B, C, X, Y, Z).
        derivatives: Also compute gradient and curvature (three more box sums).

    Returns:
        Squared correlation, gradient and curvature.
    """
    warped = _at_least_float32(warped)
    squared, boxes = torch.empty_like(warped), BoxSlabs(warped, fixed.radius)
    parts = [torch.empty_like(warped) for _ in range(3)] if derivatives else None
    mean = warped.mean(dim=(2, 3, 4), keepdim=True)
    for slab, reach in boxes:
        image = _part_of(warped, mean, fixed.mask, reach, boxes)
        windows = _windows(fixed, image, boxes, slab, reach)
        at = (slice(None), slice(None), slab)
        _compare(fixed, windows, at, squared[at], None if parts is None else [part[at] for part in parts])
    if parts is None:
        return Correlation(squared, None, None)
    a, b, rest = parts
    gradient, curvature = torch.empty_like(warped), torch.empty_like(warped)
    for slab, reach in boxes:
        at = (slice(None), slice(None), slab)
        sums = boxes.sums(b[:, :, reach], slab, reach, curvature[at])
        of_a = boxes.sums(a[:, :, reach], slab, reach, boxes.buffer("first", slab))
        of_rest = boxes.sums(rest[:, :, reach], slab, reach, boxes.buffer("second", slab))
        image = _part_of(warped, mean, fixed.mask, slab, boxes)
        slope = torch.mul(fixed.image[at], of_a, out=gradient[at])
        slope.addcmul_(image, sums, value=-1.0).sub_(of_rest).mul_(2.0)
        if fixed.mask is not None:
            slope.mul_(fixed.mask[at])
            sums.mul_(fixed.mask[at])
    return Correlation(squared, gradient, curvature)


def _part_of(warped: Tensor, mean: Tensor, mask: Tensor | None, planes: slice, boxes: BoxSlabs) -> Tensor:
    """Return planes of the image, centered and masked, in a buffer."""
    image = torch.sub(warped[:, :, planes], mean, out=boxes.buffer("image", planes))
    return image if mask is None else image.mul_(mask[:, :, planes])


def _windows(
    fixed: FixedStatistics, image: Tensor, boxes: BoxSlabs, slab: slice, reach: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Window sums of the image, of its square and of its product with the fixed image."""
    first = boxes.sums(image, slab, reach, boxes.buffer("first", slab))
    square = torch.mul(image, image, out=boxes.buffer("product", reach))
    second = boxes.sums(square, slab, reach, boxes.buffer("second", slab))
    product = torch.mul(image, fixed.image[:, :, reach], out=boxes.buffer("product", reach))
    return first, second, boxes.sums(product, slab, reach, boxes.buffer("third", slab))


def _compare(
    fixed: FixedStatistics,
    windows: tuple[Tensor, Tensor, Tensor],
    at: tuple[slice, ...],
    squared: Tensor,
    parts: Sequence[Tensor] | None,
) -> None:
    """Convert window sums of a slab to squared correlations and the integrands of the gradient's box sums."""
    first, variance, covariance = windows
    count = fixed.count[at]
    mean, floor = first / count, fixed.floor * count
    variance.addcmul_(first, mean, value=-1.0)
    covariance.addcmul_(first, fixed.mean[at], value=-1.0)
    informative = variance > floor
    torch.maximum(variance, floor, out=variance)
    ratio = torch.div(covariance, fixed.variance[at] * variance).mul_(fixed.usable[at])
    torch.mul(covariance, ratio, out=squared).clamp_(max=1.0)
    if parts is not None:
        a, b, rest = parts
        a.copy_(ratio)
        # Where the clamp holds, the variance does not depend on the image.
        torch.div(squared, variance, out=b).mul_(informative)
        torch.mul(a, fixed.mean[at], out=rest).addcmul_(b, mean, value=-1.0)


class _LNCC(torch.autograd.Function):
    """Mean squared local correlation; keeps one volume, the gradient, for the backward pass."""

    @staticmethod
    def forward(ctx: Any, warped: Tensor, fixed: FixedStatistics) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        result = correlate(fixed, warped, derivatives=wanted)
        if wanted:
            # The correlation does not depend on the mean of the warped image: its centering has no derivative.
            ctx.save_for_backward(result.gradient.to(warped.dtype))
        ctx.total = fixed.total * warped.shape[1]
        return result.squared.sum() / ctx.total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (grad / ctx.total).to(gradient.dtype), None


def lncc(
    fixed: Images | FixedStatistics,
    warped: Images,
    window: int = 9,
    spacing: Sequence[float] | None = None,
    mask: Scalars | None = None,
) -> Tensor:
    r"""Mean squared local normalised cross-correlation, the paper's data term with the sign of a similarity.

    Differentiable with respect to ``warped`` (analytic, one saved volume). Statistics are float32 at least, images are
    centered before squaring and each variance is clamped from below, so that flat regions give 0, not noise. Windows
    are limited to the image and the mask. Of several channels it is the mean.

    Args:
        fixed: Fixed image, shape (B, C, X, Y, Z), intensities about [0, 1]; or its statistics (then the window and the
            mask are theirs).
        warped: Warped moving image, same shape.
        window: Window in voxels of the finest axis; 9 as in the paper.
        spacing: Voxel size along each axis, for a window of equal length along each; None for a cube of voxels.
        mask: Voxels that count (nonzero), shape (B, 1, X, Y, Z), or None.

    Returns:
        Scalar in [0, 1]; 1 when one image is a linear function of the other in every window.

    References:
        Avants et al., Medical Image Analysis 2008, doi:10.1016/j.media.2007.06.004; Chen et al., MedIA 2025, Eq. 7.
    """
    if not isinstance(fixed, FixedStatistics):
        fixed = FixedStatistics.of(fixed, window_radius(window, spacing), mask)
    return _LNCC.apply(warped, fixed)


def _at_least_float32(image: Tensor) -> Tensor:
    return image if image.dtype == torch.float64 else image.float()


def _centered(image: Tensor) -> Tensor:
    return image - image.mean(dim=(2, 3, 4), keepdim=True)
