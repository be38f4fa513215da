"""Sums over boxes, computed in slabs that fit in the cache of a processor core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from SPRCore.typing import Images, Tensor

_SLAB_VALUES = 350_000
"""Values of a slab: few enough for the cache, enough to outweigh the overhead of an operation."""


class BoxSlabs:
    """Sums over boxes around the voxels of slabs along X, zero outside the image.

    Each axis costs log2(window) additions by doubling partial sums, so the time hardly grows with the window and no
    long running sum loses digits. The buffers are reused for every slab. On a GPU the whole image is one slab.

    Args:
        like: Image, shape (B, C, X, Y, Z); its shape, type and device are used.
        radius: Half width of the box along each axis, in voxels; the window is 2·radius + 1.
    """

    def __init__(self, like: Images, radius: Sequence[int]) -> None:
        self.radius, self._like = tuple(radius), like
        batch, channels, size, *plane = like.shape
        values = batch * channels * plane[0] * plane[1]
        # Planes beside a slab are also summed: a slab is not much thinner than their number.
        planes = max(2, self.radius[0], round(_SLAB_VALUES / max(values, 1)))
        self._planes = size if like.device.type != "cpu" else min(size, planes)
        self._buffers: dict[str, Tensor] = {}
        wide = [n + 2 * half for n, half in zip(plane, self.radius[1:], strict=True)]
        self._bordered = like.new_zeros((batch, channels, self._planes, *wide))

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Yield every slab as a range of planes along X, and the range of planes that its boxes cover."""
        size = self._like.shape[2]
        for start in range(0, size, self._planes):
            stop = min(start + self._planes, size)
            yield slice(start, stop), slice(max(0, start - self.radius[0]), min(size, stop + self.radius[0]))

    def buffer(self, name: str, planes: slice) -> Tensor:
        """Return the buffer of a name, shape (B, C, x, Y, Z), for a slab or the planes that its boxes cover.

        It has the values of its last use.
        """
        if name not in self._buffers:
            batch, channels, size, *plane = self._like.shape
            most = min(size, self._planes + 2 * self.radius[0])
            self._buffers[name] = self._like.new_empty((batch, channels, most, *plane))
        return self._buffers[name].narrow(2, 0, planes.stop - planes.start)

    def sums(self, source: Images, slab: slice, reach: slice, out: Images) -> Images:
        """Sum over the box around each voxel of a slab into `out`, which is returned and must not be `source`.

        `source` has the planes that the boxes cover, the range `reach`.
        """
        half = self.radius[0]
        missing = [half - (slab.start - reach.start), half - (reach.stop - slab.stop)]
        if any(missing):
            source = F.pad(source, [0, 0, 0, 0, *missing])
        bordered = self._bordered.narrow(2, 0, slab.stop - slab.start)
        inside = bordered
        for dim in (3, 4):
            inside = inside.narrow(dim, self.radius[dim - 2], out.shape[dim])
        self._window(source, 2, inside)
        along_y = self._spare("y", [*out.shape[:4], bordered.shape[4]])
        self._window(bordered, 3, along_y)
        self._window(along_y, 4, out)
        return out

    def _window(self, source: Tensor, dim: int, out: Tensor) -> None:
        """Sum over a window along one axis of a padded source."""
        window, size = 2 * self.radius[dim - 2] + 1, out.shape[dim]
        if window == 1:
            out.copy_(source)
            return
        # The window is odd: the first piece is the source itself, and `total` is never a spare buffer.
        total, partial, width, covered = source.narrow(dim, 0, size), source, 1, 1
        while covered < window:
            shape = list(partial.shape)
            shape[dim] -= width
            longer = self._spare(f"partial{width.bit_length() % 2}", shape)
            torch.add(partial.narrow(dim, 0, shape[dim]), partial.narrow(dim, width, shape[dim]), out=longer)
            partial, width = longer, 2 * width
            if window & width:
                total = torch.add(total, partial.narrow(dim, covered, size), out=out)
                covered += width

    def _spare(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return a contiguous buffer of any shape up to that of the largest partial sum."""
        flat = self._buffers.get(name)
        if flat is None:
            bordered = self._bordered
            planes = bordered.shape[2] + 2 * self.radius[0]
            flat = self._buffers[name] = bordered.new_empty(bordered.numel() // bordered.shape[2] * planes)
        count = 1
        for size in shape:
            count *= size
        return flat[:count].view(shape)


class _BoxSum(torch.autograd.Function):
    """Sum over boxes; it is its own transpose."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, radius: tuple[int, ...]) -> Tensor:
        ctx.radius = radius
        boxes, result = BoxSlabs(image, radius), torch.empty_like(image, memory_format=torch.contiguous_format)
        for slab, reach in boxes:
            boxes.sums(image[:, :, reach], slab, reach, result[:, :, slab])
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _BoxSum.apply(grad, ctx.radius), None


def box_sum(image: Images, radius: Sequence[int]) -> Images:
    """Sum over a box around each voxel, zero outside the image. Differentiable.

    ``radius`` is the half width of the box along each axis, in voxels; the window is 2·radius + 1.
    """
    return _BoxSum.apply(image, tuple(radius)) if any(radius) else image
