"""Swin transformer for volumes: attention in shifted windows; Liu et al. 2021, doi:10.1109/ICCV48922.2021.00986."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..typing import Images, Tensor
from .conditioning import Condition, convolution, dense
from .config import NetworkConfig

PATCH = 4
_FAR = -100.0
"""Added to the attention between tokens that are no neighbors; as in the reference, exp(-100) is nothing."""

Shape = tuple[int, int, int]

# The order in which the reference stacks the eight voxels of a patch that is merged.
_CORNERS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1))


def relative_index(window: Sequence[int], table: Sequence[int]) -> Tensor:
    """Rows of a table of relative position biases for the pairs of tokens of a window.

    Args:
        window: Sizes of the window.
        table: Sizes of the window that the table was made for, at least as large along each axis.

    Returns:
        Row of each pair, shape (N, N), N the tokens of the window.
    """
    ticks = torch.meshgrid([torch.arange(size) for size in window], indexing="ij")
    offsets = [axis.flatten()[:, None] - axis.flatten()[None, :] for axis in ticks]
    index = torch.zeros_like(offsets[0])
    for offset, size in zip(offsets, table, strict=True):
        index = index * (2 * size - 1) + offset + size - 1
    return index


@dataclass(frozen=True)
class Windows:
    """How tokens of one size are cut into windows.

    Attributes:
        shape: Sizes of the feature map.
        padded: Sizes after padding to a multiple of the window.
        window: Sizes of a window.
        shift: Cyclic shift before the cut.
        mask: Added to the attention, shape (windows, 1, N, N); None where all tokens of a window may see each other.
    """

    shape: Shape
    padded: Shape
    window: Shape
    shift: Shape
    mask: Tensor | None

    @classmethod
    def of(cls, shape: Shape, window: Shape, shifted: bool, device: torch.device) -> Windows:
        """Lay windows over a feature map; one larger than the map is cut to it.

        Args:
            shape: Sizes of the feature map.
            window: Sizes of the window that was asked for.
            shifted: Shift by half a window, where a window has more than one token along every axis.
            device: Where the mask is wanted.

        Returns:
            The layout.
        """
        window = tuple(min(size, wanted) for size, wanted in zip(shape, window, strict=True))
        padded = tuple(-(-size // step) * step for size, step in zip(shape, window, strict=True))
        half = tuple(size // 2 for size in window)
        shift = half if shifted and min(half) > 0 else (0, 0, 0)
        layout = cls(shape, padded, window, shift, None)
        if max(shift) == 0 and padded == shape:
            return layout
        regions = layout._cut(layout._regions(device)[None, ..., None])[..., 0]
        far = regions[:, None, :] != regions[:, :, None]
        return cls(
            shape, padded, window, shift, torch.zeros_like(far, dtype=torch.float32).masked_fill(far, _FAR)[:, None]
        )

    def partition(self, tokens: Tensor) -> Tensor:
        """Pad, shift and cut tokens.

        Args:
            tokens: Shape (B, X, Y, Z, C).

        Returns:
            Shape (B·windows, N, C).
        """
        extra = [
            side for size, old in zip(self.padded[::-1], self.shape[::-1], strict=True) for side in (0, size - old)
        ]
        tokens = F.pad(tokens, [0, 0, *extra]) if any(extra) else tokens
        tokens = tokens.roll([-step for step in self.shift], dims=(1, 2, 3)) if any(self.shift) else tokens
        return self._cut(tokens)

    def merge(self, windows: Tensor) -> Tensor:
        """Put windows together again, the inverse of ``partition``.

        Args:
            windows: Shape (B·windows, N, C).

        Returns:
            Shape (B, X, Y, Z, C).
        """
        counts = [size // step for size, step in zip(self.padded, self.window, strict=True)]
        tokens = windows.view(-1, *counts, *self.window, windows.shape[-1])
        tokens = tokens.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, *self.padded, windows.shape[-1])
        tokens = tokens.roll(self.shift, dims=(1, 2, 3)) if any(self.shift) else tokens
        return tokens[:, : self.shape[0], : self.shape[1], : self.shape[2]]

    def _cut(self, tokens: Tensor) -> Tensor:
        cut = [part for size, step in zip(self.padded, self.window, strict=True) for part in (size // step, step)]
        tokens = tokens.view(-1, *cut, tokens.shape[-1]).permute(0, 1, 3, 5, 2, 4, 6, 7)
        return tokens.reshape(-1, math.prod(self.window), tokens.shape[-1])

    def _regions(self, device: torch.device) -> Tensor:
        """Number of the region of each token after the shift; tokens of different regions were no neighbors."""
        label = torch.zeros(self.padded, dtype=torch.long, device=device)
        padding = torch.zeros(self.padded, dtype=torch.bool, device=device)
        for axis, (size, old, step, shift) in enumerate(
            zip(self.padded, self.shape, self.window, self.shift, strict=True)
        ):
            ticks = torch.arange(size, device=device)
            part = (ticks >= size - step).long() + (ticks >= size - shift).long()
            view = [size if i == axis else 1 for i in range(3)]
            label = 3 * label + part.view(view)
            padding = padding | ((ticks + shift) % size >= old).view(view)
        return label.masked_fill(padding, -1)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a bias by relative position.

    Args:
        width: Channels of a token.
        heads: Number of heads.
        window: Window that the table of biases is made for; smaller ones use a part of it.
        condition: Dependence on the code, or None.
    """

    def __init__(self, width: int, heads: int, window: Shape, condition: Condition | None) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.table = nn.Parameter(torch.empty(math.prod(2 * size - 1 for size in window), heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.qkv = dense(width, 3 * width, condition, bias=False)
        self.proj = dense(width, width, condition)

    def forward(self, tokens: Tensor, layout: Windows, style: Tensor | None) -> Tensor:
        """Attend, tokens of shape (B, X, Y, Z, C) to tokens of the same shape."""
        parts = layout.partition(self.qkv(tokens, style))
        count, size, _ = parts.shape
        query, key, value = parts.view(count, size, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[relative_index(layout.window, self.window).to(self.table.device)].permute(2, 0, 1)[None]
        if layout.mask is not None:
            bias = (bias + layout.mask).repeat(count // len(layout.mask), 1, 1, 1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        return self.proj(layout.merge(attended.transpose(1, 2).reshape(count, size, -1)), style)


class SwinBlock(nn.Module):
    """Attention and a two-layer perceptron, each on normalized tokens and added to them.

    Args:
        width: Channels of a token.
        heads: Number of attention heads.
        window: Attention window.
        drop: Rate of stochastic depth.
        condition: Dependence on the code, or None.
    """

    def __init__(self, width: int, heads: int, window: Shape, drop: float, condition: Condition | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window, condition)
        self.expand = dense(width, 4 * width, condition)
        self.contract = dense(4 * width, width, condition)
        self.drop = drop

    def forward(self, tokens: Tensor, layout: Windows, style: Tensor | None) -> Tensor:
        """Apply the block to tokens, shape (B, X, Y, Z, C)."""
        tokens = tokens + self._dropped(self.attention(self.norm1(tokens), layout, style))
        hidden = F.gelu(self.expand(self.norm2(tokens), style))
        return tokens + self._dropped(self.contract(hidden, style))

    def _dropped(self, branch: Tensor) -> Tensor:
        """Stochastic depth per member of the batch, Huang et al. 2016, doi:10.1007/978-3-319-46493-0_39."""
        if not self.training or self.drop == 0.0:
            return branch
        keep = branch.new_empty(len(branch), 1, 1, 1, 1).bernoulli_(1.0 - self.drop)
        return branch * (keep / (1.0 - self.drop))


class PatchMerging(nn.Module):
    """Half the resolution at twice the channels: eight neighbors become one token; never generated from a code.

    Args:
        width: Channels of a token before.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * width)
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Merge tokens, shape (B, X, Y, Z, C) with even sizes, to shape (B, X/2, Y/2, Z/2, 2C)."""
        corners = [tokens[:, x::2, y::2, z::2] for x, y, z in _CORNERS]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class SwinLevel(nn.Module):
    """Blocks of one resolution, every second one with shifted windows, before them the merging of patches.

    Args:
        config: Sizes.
        level: Number of the level; the first has no merging.
        drops: Rate of stochastic depth of each block.
        condition: Dependence on the code, or None.
    """

    def __init__(self, config: NetworkConfig, level: int, drops: Sequence[float], condition: Condition | None) -> None:
        super().__init__()
        width = config.embed * 2**level
        self.window = config.window
        self.merge = PatchMerging(width // 2) if level else None
        self.blocks = nn.ModuleList(
            SwinBlock(width, config.heads[level], config.window, drop, condition) for drop in drops
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, style: Tensor | None) -> Tensor:
        """Apply the level to tokens, shape (B, X, Y, Z, C); those for the decoder are normalized by ``norm``."""
        tokens = tokens if self.merge is None else self.merge(tokens)
        layouts = [Windows.of(tuple(tokens.shape[1:4]), self.window, odd, tokens.device) for odd in (False, True)]
        for block, layout in zip(self.blocks, itertools.cycle(layouts)):
            tokens = block(tokens, layout, style)
        return tokens


class SwinEncoder(nn.Module):
    """Patches of 4³ voxels and levels of Swin blocks.

    Args:
        config: Sizes.
        condition: Dependence on the code, or None.
    """

    def __init__(self, config: NetworkConfig, condition: Condition | None) -> None:
        super().__init__()
        self.patches = convolution(2 * config.channels, config.embed, condition, size=PATCH, stride=PATCH, padding=0)
        self.patch_norm = nn.LayerNorm(config.embed)
        drops = iter(torch.linspace(0.0, config.drop_path, sum(config.depths), device="cpu").tolist())
        self.levels = nn.ModuleList(
            SwinLevel(config, level, list(itertools.islice(drops, depth)), condition)
            for level, depth in enumerate(config.depths)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Images, style: Tensor | None) -> list[Images]:
        """Compute the features of every level.

        Args:
            image: Shape (B, C, X, Y, Z), sizes multiples of 4·2^(levels − 1).
            style: Embedded code, shape (B, hidden), or None.

        Returns:
            Features of each level, finest first: embed·2^level channels at 1/(4·2^level) of the resolution.
        """
        tokens = self.patch_norm(self.patches(image, style).movedim(1, -1))
        levels = []
        for level in self.levels:
            tokens = level(tokens, style)
            levels.append(level.norm(tokens).movedim(-1, 1).contiguous())
        return levels
