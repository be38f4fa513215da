r"""Networks that answer to hyperparameters: a code c in [0, 1]ᴷ enters the layers by FiLM, LoRA or generated weights.

* ``film`` (default): scale and shift of the channels, after their normalization; Perez et al. 2018,
  doi:10.1609/aaai.v32i1.11671; for registration Mok & Chung 2021, doi:10.1007/978-3-030-87202-1_4.
* ``lora``: low-rank factors of a convolution, gated by the code; Hu et al. 2022, arXiv:2106.09685.
* ``full``: every scalar weight is a linear function of the embedded code, the hypernetwork of the paper's Sect. 6.1.3
  and of HyperMorph (Hoopes et al. 2022, doi:10.59275/j.melba.2022-74f1). It has ``hidden`` times the parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..typing import Images, Tensor
from .config import NetworkConfig


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How a layer depends on the code.

    Attributes:
        kind: ``"film"``, ``"lora"`` or ``"full"``.
        hidden: Units of the embedded code.
        rank: Rank of the factors of ``"lora"``.
    """

    kind: str
    hidden: int
    rank: int

    @classmethod
    def of(cls, config: NetworkConfig, *, early: bool) -> Condition | None:
        """Dependence of the layers before or after the point up to which a pair is encoded.

        Args:
            config: Configuration of the network.
            early: The layers lie before that point: only generated weights reach them.

        Returns:
            The dependence, or None for layers that do not know the code.
        """
        if config.conditioning is None or (early and config.conditioning != "full"):
            return None
        return cls(kind=config.conditioning, hidden=config.hidden, rank=config.rank)


class CodeEmbedding(nn.Module):
    r"""Embed a code: :math:`(\cos \tfrac{\pi}{2} c, \sin \tfrac{\pi}{2} c)` and four layers.

    The encoding has the same length for every code. Fed as it is, the size of a code would scale all that is computed
    from it, which makes the training of hypernetworks unstable: Ortiz et al., arXiv:2304.07645.

    Args:
        codes: Number K of hyperparameters.
        hidden: Units of each layer and of the embedding.
    """

    def __init__(self, codes: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2 * codes if i == 0 else hidden, hidden) for i in range(4))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)  # keeps the embedding near unit mean square
            nn.init.zeros_(layer.bias)

    def forward(self, code: Tensor) -> Tensor:
        """Embed codes.

        Args:
            code: Hyperparameters over their maxima, shape (B, K), in [0, 1].

        Returns:
            Shape (B, hidden).
        """
        angle = 0.5 * math.pi * code
        style = torch.cat([angle.cos(), angle.sin()], dim=1)
        for layer in self.layers:
            style = F.leaky_relu(layer(style), 0.2)
        return style


class Film(nn.Module):
    r"""Feature-wise linear modulation :math:`(1 + \gamma(h))\,x + \beta(h)`, near the identity when fresh.

    Args:
        channels: Channels to modulate.
        hidden: Units of the embedded code h.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * channels)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, image: Images, style: Tensor) -> Images:
        """Modulate features, shape (B, C, X, Y, Z), by the embedded code, shape (B, hidden)."""
        scale, shift = self.linear(style)[:, :, None, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, image, 1.0 + scale)


class Convolution(nn.Conv3d):
    """Convolution that does not know the code."""

    def forward(self, image: Images, style: Tensor | None = None) -> Images:
        """Convolve features, shape (B, C, X, Y, Z); ``style`` is not used."""
        return super().forward(image)


class LowRankConvolution(nn.Conv3d):
    r"""Convolution :math:`W * x + B * (g(h) \odot A x)` with few channels between A and B, gated by the code.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        condition: Units of the embedded code h, and the rank.
        size: Edge of the kernels W and B; A has one voxel.
        stride: Stride of W and B.
        bias: Whether a bias is added.
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
    """Weight and bias of a layer, each scalar with a row of as many parameters as the embedded code has units."""

    def __init__(self, shape: tuple[int, ...], hidden: int, bias: bool) -> None:
        super().__init__()
        self.shape = shape
        self.weight_rows = nn.Parameter(torch.empty(math.prod(shape), hidden))
        self.bias_rows = nn.Parameter(torch.zeros(shape[0], hidden)) if bias else None
        nn.init.normal_(self.weight_rows, std=1.0 / math.sqrt(math.prod(shape[1:]) * hidden))

    def generate(self, style: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = F.linear(style, self.weight_rows).view(len(style), *self.shape)
        return weight, None if self.bias_rows is None else F.linear(style, self.bias_rows)


class GeneratedConvolution(_Generated):
    """Convolution whose weights are generated from the code.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        condition: Units of the embedded code.
        size: Edge of the kernel.
        stride: Stride.
        padding: Zeros around the image.
        bias: Whether a bias is added.
    """

    def __init__(
        self, inputs: int, outputs: int, condition: Condition, *, size: int, stride: int, padding: int, bias: bool
    ) -> None:
        super().__init__((outputs, inputs, size, size, size), condition.hidden, bias)
        self.stride, self.padding = stride, padding

    def forward(self, image: Images, style: Tensor) -> Images:
        """Convolve features, shape (B, C, X, Y, Z), under the embedded code, shape (B, hidden)."""
        weight, bias = self.generate(style)
        batch = len(style)
        grouped = F.conv3d(  # each member of the batch has a kernel of its own
            image.reshape(1, -1, *image.shape[2:]),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            stride=self.stride,
            padding=self.padding,
            groups=batch,
        )
        return grouped.view(batch, -1, *grouped.shape[2:])


class Dense(nn.Linear):
    """Linear layer that does not know the code."""

    def forward(self, tokens: Tensor, style: Tensor | None = None) -> Tensor:
        """Map tokens, shape (B, ..., C); ``style`` is not used."""
        return super().forward(tokens)


class GeneratedDense(_Generated):
    """Linear layer whose weights are generated from the code.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        condition: Units of the embedded code.
        bias: Whether a bias is added.
    """

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
    """Make the convolution that a dependence asks for; FiLM leaves the convolution as it is.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        condition: Dependence on the code, or None.
        size: Edge of the kernel.
        stride: Stride.
        padding: Zeros around the image; half the kernel if None.
        bias: Whether a bias is added.

    Returns:
        A module called with features and the embedded code.
    """
    padding = size // 2 if padding is None else padding
    if condition is not None and condition.kind == "full":
        return GeneratedConvolution(inputs, outputs, condition, size=size, stride=stride, padding=padding, bias=bias)
    if condition is not None and condition.kind == "lora":
        return LowRankConvolution(inputs, outputs, condition, size=size, stride=stride, bias=bias)
    return Convolution(inputs, outputs, size, stride=stride, padding=padding, bias=bias)


def dense(inputs: int, outputs: int, condition: Condition | None, *, bias: bool = True) -> nn.Module:
    """Make the linear layer that a dependence asks for: generated under ``"full"``, else plain.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        condition: Dependence on the code, or None.
        bias: Whether a bias is added.

    Returns:
        A module called with tokens and the embedded code.
    """
    if condition is not None and condition.kind == "full":
        return GeneratedDense(inputs, outputs, condition, bias=bias)
    return Dense(inputs, outputs, bias=bias)


def film(channels: int, condition: Condition | None) -> Film | None:
    """Make the modulation of a layer's channels where the dependence is ``"film"``.

    Args:
        channels: Channels of the layer.
        condition: Dependence on the code, or None.

    Returns:
        The modulation, or None.
    """
    return Film(channels, condition.hidden) if condition is not None and condition.kind == "film" else None
