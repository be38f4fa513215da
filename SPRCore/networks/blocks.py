"""Blocks shared by the networks: a convolution with normalization, and the layer that predicts a flow."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from SPRCore.networks.conditioning import Condition, film
from SPRCore.networks.layers import convolution
from SPRCore.typing import Images, Tensor, Vectors

_NORMS = {"instance": nn.InstanceNorm3d, "batch": nn.BatchNorm3d}
_NEAR_ZERO = 1e-5
"""Standard deviation of the initial weights of last layers, as in VoxelMorph: training starts near the identity."""


class ConvBlock(nn.Module):
    """Convolution 3³, normalization, modulation by the code, leaky ReLU.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        condition: Conditioning, or None.
        stride: Stride of the convolution.
        norm: ``"instance"``, ``"batch"``, or None; with one the convolution has no bias.
        slope: Slope of the ReLU below zero: 0.01 in TransMorph, 0.2 in VoxelMorph.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        condition: Condition | None = None,
        *,
        stride: int = 1,
        norm: str | None = None,
        slope: float = 0.01,
    ) -> None:
        super().__init__()
        self.conv = convolution(inputs, outputs, condition, stride=stride, bias=norm is None)
        self.norm = None if norm is None else _NORMS[norm](outputs)
        self.film = film(outputs, condition)
        self.slope = slope

    def forward(self, image: Images, style: Tensor | None = None) -> Images:
        """Apply the block to features, shape (B, C, X, Y, Z), under the embedded code, shape (B, hidden)."""
        image = self.conv(image, style)
        image = image if self.norm is None else self.norm(image)
        image = image if self.film is None else self.film(image, style)
        return F.leaky_relu(image, self.slope, inplace=True)


class FlowHead(nn.Module):
    """Last layer of a network: a flow in float32, also under autocast, initialized near zero.

    Of the conditioning only generated weights apply to this layer.
    """

    def __init__(self, inputs: int, condition: Condition | None = None) -> None:
        super().__init__()
        generated = condition if condition is not None and condition.kind == "full" else None
        self.conv = convolution(inputs, 3, generated)
        near_zero(self.conv)

    def forward(self, features: Images, style: Tensor | None = None) -> Vectors:
        """Predict a flow, shape (B, 3, X, Y, Z), from features, shape (B, C, X, Y, Z)."""
        with full_precision(features):
            return self.conv(at_least_float32(features), None if style is None else at_least_float32(style))


def near_zero(layer: nn.Module) -> None:
    """Initialize the weights of a last layer, plain or generated, near zero and its bias to zero."""
    for name, parameter in layer.named_parameters(recurse=False):
        if name.startswith("weight"):
            nn.init.normal_(parameter, std=_NEAR_ZERO)
        else:
            nn.init.zeros_(parameter)


def full_precision(tensor: Tensor) -> AbstractContextManager:
    """Return a context that disables autocast on the device of a tensor."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return a floating-point tensor as float32, a float64 tensor unchanged."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def upsample(image: Images, factor: int = 2) -> Images:
    """Upsample features linearly by a factor with voxel edges fixed, the inverse geometry of pooling."""
    if factor == 1:
        return image
    return F.interpolate(image, scale_factor=float(factor), mode="trilinear", align_corners=False)
