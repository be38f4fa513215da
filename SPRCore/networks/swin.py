"""Swin transformer for volumes: attention in shifted windows; Liu et al. 2021, doi:10.1109/ICCV48922.2021.00986."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from SPRCore.networks.conditioning import Condition
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.layers import convolution, dense
from SPRCore.networks.windows import Shape, Windows, relative_index
from SPRCore.typing import Images, Tensor

PATCH = 4
# Order of the eight voxels of a merged patch in the reference.
_CORNERS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1))


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a bias by relative position.

    Windows smaller than `window`, that of the table of biases, use a part of it.
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


class _SwinBlock(nn.Module):
    """Attention and a two-layer perceptron, each on normalized tokens and added to them, with stochastic depth."""

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
    """Half the resolution at twice the channels (`width` before): eight neighbors become one token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * width)
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Merge tokens, shape (B, X, Y, Z, C) with even sizes, to shape (B, X/2, Y/2, Z/2, 2C)."""
        corners = [tokens[:, x::2, y::2, z::2] for x, y, z in _CORNERS]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class _SwinLevel(nn.Module):
    """Blocks of one resolution, every second one with shifted windows, after the merging of patches except at level 0.

    `drops` has the rate of stochastic depth of each block.
    """

    def __init__(self, config: NetworkConfig, level: int, drops: Sequence[float], condition: Condition | None) -> None:
        super().__init__()
        width = config.embed * 2**level
        self.window = config.window
        self.merge = PatchMerging(width // 2) if level else None
        self.blocks = nn.ModuleList(
            _SwinBlock(width, config.heads[level], config.window, drop, condition) for drop in drops
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
    """Patches of 4³ voxels and levels of Swin blocks."""

    def __init__(self, config: NetworkConfig, condition: Condition | None) -> None:
        super().__init__()
        self.patches = convolution(2 * config.channels, config.embed, condition, size=PATCH, stride=PATCH, padding=0)
        self.patch_norm = nn.LayerNorm(config.embed)
        drops = iter(torch.linspace(0.0, config.drop_path, sum(config.depths), device="cpu").tolist())
        self.levels = nn.ModuleList(
            _SwinLevel(config, level, list(itertools.islice(drops, depth)), condition)
            for level, depth in enumerate(config.depths)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Images, style: Tensor | None) -> list[Images]:
        """Compute the features of every level, finest first.

        Level l has embed·2^l channels at 1/(4·2^l) of the resolution; sizes are multiples of 4·2^(levels − 1).
        """
        tokens = self.patch_norm(self.patches(image, style).movedim(1, -1))
        levels = []
        for level in self.levels:
            tokens = level(tokens, style)
            levels.append(level.norm(tokens).movedim(-1, 1).contiguous())
        return levels
