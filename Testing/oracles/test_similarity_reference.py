"""Local correlation against a naive reference: explicit windows in double precision, differentiated by autograd."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from SPRCore import similarity as sim
from SPRCore.similarity.lncc import VARIANCE_FLOOR

SHAPE = (8, 7, 9)


def lncc_map(fixed, warped, window=9, spacing=None, mask=None):
    statistics = sim.FixedStatistics.of(fixed, sim.window_radius(window, spacing), mask)
    return sim.correlate(statistics, warped, derivatives=False).squared


def windows(image, radius):
    """Values of every window in the last axis, zero outside."""
    padding = [r for half in reversed(radius) for r in (half, half)]
    cut = F.pad(image, padding)
    for axis, half in enumerate(radius):
        cut = cut.unfold(axis + 2, 2 * half + 1, 1)
    return cut.flatten(5)


def naive(fixed, warped, radius, mask):
    """Squared correlation of every window and its sensitivity c²/V_m."""
    weight = windows(mask, radius)
    count = weight.sum(-1).clamp(min=1)

    def deviations(image):
        values = windows(image, radius) * weight
        return (values - values.sum(-1, keepdim=True) / count[..., None]) * weight

    f, m = deviations(fixed), deviations(warped)
    floor = VARIANCE_FLOOR * count
    fixed_variance, variance = (f * f).sum(-1), (m * m).sum(-1)
    squared = (f * m).sum(-1) ** 2 / (torch.maximum(fixed_variance, floor) * torch.maximum(variance, floor))
    squared = squared * (fixed_variance > floor) * mask
    return squared, torch.where(variance > floor, squared / variance, torch.zeros_like(squared))


def pair(random_image, masked):
    fixed, warped = random_image(SHAPE, 0), random_image(SHAPE, 1) + 0.3 * random_image(SHAPE, 0)
    fixed[..., :5, :4, :5] = 0.3  # a flat corner in either, at different places
    warped[..., 3:, 3:, 6:] = 0.6
    mask = torch.ones_like(fixed)
    if masked:
        mask[..., 2:5, 3:] = 0.0
    return fixed, warped, mask


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("window", "spacing"), [(3, None), (5, None), (5, (1.0, 2.5, 1.0)), (9, None)])
def test_local_correlation_is_that_of_the_naive_reference(random_image, masked, window, spacing):
    fixed, warped, mask = pair(random_image, masked)
    radius = sim.window_radius(window, spacing)
    leaf = warped.clone().requires_grad_()
    squared, sensitivity = naive(fixed, leaf, radius, mask)
    (slope,) = torch.autograd.grad(squared.sum(), leaf)
    given = mask if masked else None
    result = sim.correlate(sim.FixedStatistics.of(fixed, radius, given), warped)
    torch.testing.assert_close(result.squared, squared.detach(), atol=1e-9, rtol=0)
    torch.testing.assert_close(result.gradient, slope, atol=1e-7, rtol=1e-6)
    boxes = F.conv3d(sensitivity.detach(), torch.ones(1, 1, *(2 * r + 1 for r in radius)).double(), padding=radius)
    torch.testing.assert_close(result.curvature, boxes * mask, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(lncc_map(fixed, warped, window, spacing, given), result.squared)
    value = sim.lncc(fixed, leaf, window, spacing, given)
    torch.testing.assert_close(value, squared.sum() / mask.sum())
    (of_value,) = torch.autograd.grad(value, leaf)
    torch.testing.assert_close(of_value, slope / mask.sum(), atol=1e-9, rtol=1e-6)


def test_inner_windows_are_those_of_a_uniform_filter(random_image):
    fixed, warped = random_image((13, 12, 11), 0), random_image((13, 12, 11), 1)
    f, m = fixed[0, 0].numpy(), warped[0, 0].numpy()

    def mean(image):
        return ndimage.uniform_filter(image, 5)

    covariance = mean(f * m) - mean(f) * mean(m)
    squared = covariance**2 / ((mean(f * f) - mean(f) ** 2) * (mean(m * m) - mean(m) ** 2))
    result = lncc_map(fixed, warped, 5)[0, 0]
    inner = (slice(2, -2),) * 3
    torch.testing.assert_close(result[inner], torch.as_tensor(squared)[inner], atol=1e-9, rtol=0)


def test_single_precision_is_close_to_double_on_bright_images(random_image):
    fixed, warped = random_image((16, 16, 16), 0), random_image((16, 16, 16), 1)
    exact = lncc_map(fixed, warped)
    offset = 20.0  # a mean far above the contrast is where naive sums of squares lose their digits
    single = lncc_map((fixed + offset).float(), (warped + offset).float())
    torch.testing.assert_close(single.double(), exact, atol=2e-4, rtol=0)
