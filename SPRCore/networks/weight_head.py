"""The weight head: three convolutions on low-resolution features that predict the regularization weight."""

from __future__ import annotations

import math

from torch import nn
from torch.nn import functional as F

from SPRCore.networks.blocks import ConvBlock, at_least_float32, full_precision, near_zero
from SPRCore.networks.conditioning import Condition
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.layers import convolution
from SPRCore.typing import Images, Scalars, Tensor

_FLOOR, _BOUND = 1e-6, 5.0
"""Least weight, and largest one under the Gaussian prior, as in the reference code."""


class WeightHead(nn.Module):
    """Three convolutions, the last initialized near zero, on features pooled by ``weight_stride``; paper Fig. 5.

    The conditioning is that of the first two.
    """

    def __init__(self, inputs: int, config: NetworkConfig, condition: Condition | None) -> None:
        super().__init__()
        width = config.weight_width
        self.stride = config.weight_stride
        self.first = ConvBlock(inputs, width, condition, norm=config.norm)
        self.second = ConvBlock(width, width, condition, norm=config.norm)
        generated = condition if condition is not None and condition.kind == "full" else None
        self.last = convolution(width, 1, generated)
        near_zero(self.last)

    def forward(self, features: Images, style: Tensor | None = None) -> Scalars:
        """Predict the weight before its activation, float32, shape (B, 1, X/stride, Y/stride, Z/stride)."""
        if self.stride > 1:
            features = F.avg_pool3d(features, self.stride, ceil_mode=True)
        features = self.second(self.first(features, style), style)
        with full_precision(features):
            return self.last(at_least_float32(features), None if style is None else at_least_float32(style))


def activate_weight(logits: Scalars, prior: str) -> Scalars:
    """Convert the output of the head to a weight, same shape.

    For ``"beta"`` and ``"tv"`` a sigmoid, in (0, 1], 0.5 at logit 0; for ``"gaussian"`` a softplus truncated at the
    bound, in (0, 5], 1 (the prior's mean) at logit 0.
    """
    if prior in ("beta", "tv"):
        return logits.sigmoid().clamp(_FLOOR, 1.0)
    return F.softplus(logits + math.log(math.e - 1.0)).clamp(_FLOOR, _BOUND)
