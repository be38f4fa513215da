"""Convolutions and linear layers with and without conditioning on the embedded code, called alike."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from SPRCore.networks.conditioning import Condition
from SPRCore.typing import Images, Tensor

_FEW_ROWS = 20480
"""Product of batch, channels and the first two axes up to which PyTorch chooses its own convolution on a CPU."""


class Convolution(nn.Conv3d):
    """Convolution without conditioning."""

    def forward(self, image: Images, style: Tensor | None = None) -> Images:
        """Convolve features, shape (B, C, X, Y, Z); ``style`` is not used."""
        if _is_small(image) and image.dtype == self.weight.dtype and torch.backends.mkldnn.is_available():
            options = (self.padding, self.stride, self.dilation, self.groups)
            return torch.mkldnn_convolution(image, self.weight, self.bias, *options)
        return super().forward(image)


def _is_small(image: Images) -> bool:
    """Whether PyTorch would convolve one float32 image of few rows on a CPU without oneDNN, up to 20 times slower."""
    plain = image.device.type == "cpu" and image.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and len(image) == 1 and math.prod(image.shape[:4]) <= _FEW_ROWS


class _LowRankConvolution(nn.Conv3d):
    r"""Convolution :math:`W * x + B * (g(h) \odot A x)` with few channels between A and B, gated by the code.

    W and B have kernels of edge `size` and the stride; A has one voxel.
    """

    def __init__(self, inputs: int, outputs: int, condition: Condition, *, size: int, stride: int, bias: bool) -> None:
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=bias)
        self.down = nn.Conv3d(inputs, condition.rank, 1, bias=False)
        self.up = nn.Conv3d(condition.rank, outputs, size, stride=stride, padding=size // 2, bias=False)
        self.gate = nn.Linear(condition.hidden, condition.rank)
        nn.init.normal_(self.up.weight, std=0.02)

    def forward(self, image: Images, style: Tensor) -> Images:
        """Convolve features, shape (B, C, X, Y, Z), under the embedded code, shape (B, hidden)."""
        return super().forward(image) + self.up(self.down(image) * self.gate(style)[:, :, None, None, None])


class _Generated(nn.Module):
    """Weight and bias of a layer, each scalar a linear function of the embedded code."""

    def __init__(self, shape: tuple[int, ...], hidden: int, bias: bool) -> None:
        super().__init__()
        self.shape = shape
        self.weight_rows = nn.Parameter(torch.empty(math.prod(shape), hidden))
        self.bias_rows = nn.Parameter(torch.zeros(shape[0], hidden)) if bias else None
        nn.init.normal_(self.weight_rows, std=1.0 / math.sqrt(math.prod(shape[1:]) * hidden))

    def generate(self, style: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = F.linear(style, self.weight_rows).view(len(style), *self.shape)
        return weight, None if self.bias_rows is None else F.linear(style, self.bias_rows)


class _GeneratedConvolution(_Generated):
    """Convolution whose weights are generated from the code."""

    def __init__(
        self, inputs: int, outputs: int, condition: Condition, *, size: int, stride: int, padding: int, bias: bool
    ) -> None:
        super().__init__((outputs, inputs, size, size, size), condition.hidden, bias)
        self.stride, self.padding = stride, padding

    def forward(self, image: Images, style: Tensor) -> Images:
        """Convolve features, shape (B, C, X, Y, Z), under the embedded code, shape (B, hidden)."""
        weight, bias = self.generate(style)
        batch = len(style)
        grouped = F.conv3d(  # each member of the batch has its own kernel
            image.reshape(1, -1, *image.shape[2:]),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            stride=self.stride,
            padding=self.padding,
            groups=batch,
        )
        return grouped.view(batch, -1, *grouped.shape[2:])


class Dense(nn.Linear):
    """Linear layer without conditioning."""

    def forward(self, tokens: Tensor, style: Tensor | None = None) -> Tensor:
        """Map tokens, shape (B, ..., C); ``style`` is not used."""
        return super().forward(tokens)


class _GeneratedDense(_Generated):
    """Linear layer whose weights are generated from the code."""

    def __init__(self, inputs: int, outputs: int, condition: Condition, *, bias: bool) -> None:
        super().__init__((outputs, inputs), condition.hidden, bias)

    def forward(self, tokens: Tensor, style: Tensor) -> Tensor:
        """Map tokens, shape (B, ..., C), under the embedded code, shape (B, hidden)."""
        weight, bias = self.generate(style)
        mapped = tokens.flatten(1, -2) @ weight.transpose(1, 2)
        mapped = mapped if bias is None else mapped + bias[:, None]
        return mapped.view(*tokens.shape[:-1], -1)


def convolution(
    inputs: int,
    outputs: int,
    condition: Condition | None,
    *,
    size: int = 3,
    stride: int = 1,
    padding: int | None = None,
    bias: bool = True,
) -> nn.Module:
    """Build the convolution, called with features and the embedded code, for a kind of conditioning.

    FiLM does not change it. The padding is half the kernel if None.
    """
    padding = size // 2 if padding is None else padding
    if condition is not None and condition.kind == "full":
        return _GeneratedConvolution(inputs, outputs, condition, size=size, stride=stride, padding=padding, bias=bias)
    if condition is not None and condition.kind == "lora":
        return _LowRankConvolution(inputs, outputs, condition, size=size, stride=stride, bias=bias)
    return Convolution(inputs, outputs, size, stride=stride, padding=padding, bias=bias)


def dense(inputs: int, outputs: int, condition: Condition | None, *, bias: bool = True) -> nn.Module:
    """Build the linear layer for a kind of conditioning: generated for ``"full"``, otherwise plain.

    The layer is called with tokens and the embedded code.
    """
    if condition is not None and condition.kind == "full":
        return _GeneratedDense(inputs, outputs, condition, bias=bias)
    return Dense(inputs, outputs, bias=bias)
