"""Windows of tokens for attention: partition of a feature map, cyclic shift, and mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from SPRCore.typing import Tensor

_FAR = -100.0
"""Added to the attention between tokens that are no neighbors, as in the reference; exp(-100) is negligible."""

Shape = tuple[int, int, int]


def relative_index(window: Sequence[int], table: Sequence[int]) -> Tensor:
    """Row of a table of relative position biases for each pair of the N tokens of a window, shape (N, N).

    The window of the table is at least as large along each axis.
    """
    ticks = torch.meshgrid([torch.arange(size) for size in window], indexing="ij")
    offsets = [axis.flatten()[:, None] - axis.flatten()[None, :] for axis in ticks]
    index = torch.zeros_like(offsets[0])
    for offset, size in zip(offsets, table, strict=True):
        index = index * (2 * size - 1) + offset + size - 1
    return index


@dataclass(frozen=True)
class Windows:
    """Partition of a feature map into windows.

    Attributes:
        shape: Sizes of the feature map.
        padded: Sizes after padding to a multiple of the window.
        window: Sizes of a window.
        shift: Cyclic shift before the partition.
        mask: Added to the attention, shape (windows, 1, N, N); None if all tokens of a window attend to each other.
    """

    shape: Shape
    padded: Shape
    window: Shape
    shift: Shape
    mask: Tensor | None

    @classmethod
    def of(cls, shape: Shape, window: Shape, shifted: bool, device: torch.device) -> Windows:
        """Return the windows of a feature map; they are at most as large as the map.

        `shifted` windows are shifted by half if they have more than one token along every axis.
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
        """Pad, shift and partition tokens (B, X, Y, Z, C) to shape (B·windows, N, C)."""
        extra = [
            side for size, old in zip(self.padded[::-1], self.shape[::-1], strict=True) for side in (0, size - old)
        ]
        tokens = F.pad(tokens, [0, 0, *extra]) if any(extra) else tokens
        tokens = tokens.roll([-step for step in self.shift], dims=(1, 2, 3)) if any(self.shift) else tokens
        return self._cut(tokens)

    def merge(self, windows: Tensor) -> Tensor:
        """Merge windows (B·windows, N, C) to shape (B, X, Y, Z, C), the inverse of ``partition``."""
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
        """Return the region of each token after the shift; tokens of different regions are no neighbors."""
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
