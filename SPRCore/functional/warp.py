"""Sampling of images at displaced positions; no other module uses the order and normalisation of ``grid_sample``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from SPRCore.errors import InputError
from SPRCore.typing import Images, Tensor, Vectors

_INTERPOLATION = {"linear": 0, "nearest": 1}
_PADDING = {"zeros": 0, "border": 1}


def _sampling_grid(displacement_vox: Vectors) -> Tensor:
    """Return the sampling positions of ``id + u`` in voxels for ``torch.nn.functional.grid_sample``.

    Shape (B, X, Y, Z, 3), in [-1, 1] between the centers of the corner voxels (``align_corners=True``), last axis
    ordered (Z, Y, X).
    """
    shape = displacement_vox.shape[2:]
    grid = displacement_vox.new_empty((displacement_vox.shape[0], *shape, 3))
    for axis, size in enumerate(shape):
        ticks = torch.linspace(-1.0, 1.0, size, dtype=grid.dtype, device=grid.device) if size > 1 else grid.new_zeros(1)
        ticks = ticks.view([size if i == axis else 1 for i in range(3)])
        torch.add(ticks, displacement_vox[:, axis], alpha=2.0 / max(size - 1, 1), out=grid[..., 2 - axis])
    return grid


class _Warp(torch.autograd.Function):
    """Warp that saves image and displacement only and recomputes the sampling grid in the backward pass.

    The naive graph keeps the identity grid, its normalisation and its permutation, four fields of the image's size.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, displacement_vox: Tensor, mode: str, padding: str) -> Tensor:
        ctx.save_for_backward(image, displacement_vox)
        ctx.options = (_INTERPOLATION[mode], _PADDING[padding], True)
        return _grid_sample(image, _sampling_grid(displacement_vox), ctx.options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        image, displacement_vox = ctx.saved_tensors
        grad_image, grad_grid = _grid_sample_backward(
            grad, image, _sampling_grid(displacement_vox), ctx.options, list(ctx.needs_input_grad[:2])
        )
        if not ctx.needs_input_grad[1]:
            return grad_image, None, None, None
        scale = [2.0 / max(size - 1, 1) for size in displacement_vox.shape[2:]]
        grad_displacement = torch.stack([grad_grid[..., 2 - axis] * scale[axis] for axis in range(3)], dim=1)
        return grad_image if ctx.needs_input_grad[0] else None, grad_displacement, None, None


def warp(image: Images, displacement_vox: Vectors, mode: str = "linear", padding: str = "border") -> Images:
    r"""Sample an image at the displaced voxel positions (pull): :math:`(m \circ \varphi)(x) = m(x + u(x))`.

    Args:
        image: Image m, shape (B, C, X, Y, Z).
        displacement_vox: Displacement u, shape (B, 3, X, Y, Z) of the same grid, in voxels; component order = axis
            order.
        mode: ``"linear"`` (default, differentiable) or ``"nearest"`` (labels).
        padding: Value outside the image: ``"border"`` (default: no dark rim enters a similarity) or ``"zeros"``.

    Returns:
        Warped image, shape (B, C, X, Y, Z).

    Raises:
        InputError: Unknown mode or padding, or a displacement of another grid.
    """
    if mode not in _INTERPOLATION or padding not in _PADDING:
        raise InputError(
            "warp", got=f"mode={mode!r}, padding={padding!r}", expected="mode linear|nearest, padding border|zeros"
        )
    if displacement_vox.shape[1:] != (3, *image.shape[2:]):
        raise InputError(
            "displacement", got=f"shape {tuple(displacement_vox.shape)}", expected=f"(B, 3, *{tuple(image.shape[2:])})"
        )
    if torch.is_grad_enabled() and (image.requires_grad or displacement_vox.requires_grad):
        return _Warp.apply(image, displacement_vox, mode, padding)
    return _grid_sample(image, _sampling_grid(displacement_vox), (_INTERPOLATION[mode], _PADDING[padding], True))


def _parts(image: Tensor, grid: Tensor) -> int:
    """Number of parts into which the positions are split: PyTorch's CPU kernel runs one thread per batch element."""
    rows = grid.shape[1] * grid.shape[2]
    if image.device.type != "cpu" or image.shape[0] != 1 or rows * grid.shape[3] < 32768:
        return 1
    return next((parts for parts in range(torch.get_num_threads(), 1, -1) if rows % parts == 0), 1)


def _grid_sample(image: Tensor, grid: Tensor, options: tuple[int, int, bool]) -> Tensor:
    parts = _parts(image, grid)
    if parts == 1:
        return torch.grid_sampler_3d(image, grid, *options)
    rows = grid.shape[1] * grid.shape[2] // parts
    cut = grid.view(parts, 1, rows, grid.shape[3], 3)
    sampled = torch.grid_sampler_3d(image.expand(parts, *image.shape[1:]), cut, *options)
    return sampled.transpose(0, 1).reshape(1, image.shape[1], *grid.shape[1:4])


def _grid_sample_backward(
    grad: Tensor, image: Tensor, grid: Tensor, options: tuple[int, int, bool], wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    parts = _parts(image, grid)
    if parts > 1:
        rows, size = grid.shape[1] * grid.shape[2] // parts, grid.shape[3]
        grad = grad.reshape(image.shape[1], parts, 1, rows, size).transpose(0, 1)
        cut, image = grid.view(parts, 1, rows, size, 3), image.expand(parts, *image.shape[1:])
    else:
        cut = grid
    grad_image, grad_grid = torch.ops.aten.grid_sampler_3d_backward(grad.contiguous(), image, cut, *options, wanted)
    return (grad_image.sum(0, keepdim=True) if wanted[0] and parts > 1 else grad_image), grad_grid.view(grid.shape)


def sample(image: Images, points_vox: Tensor) -> Tensor:
    """Sample an image (1, C, X, Y, Z) linearly at voxel coordinates (N, 3); the border value outside; shape (C, N)."""
    sizes = torch.tensor(image.shape[2:], dtype=image.dtype, device=image.device)
    normalised = 2.0 * points_vox.to(image) / (sizes - 1).clamp(min=1) - 1.0
    grid = normalised.flip(-1).view(1, -1, 1, 1, 3)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, :, :, 0, 0]


def sample_lattice(image: Images, index_vox: Sequence[Tensor]) -> Images:
    """Sample an image (1, C, X, Y, Z) linearly, with the border value outside. Not differentiable.

    ``index_vox`` has the voxel coordinate along each axis of the image: three real tensors of shape (X', Y', Z').
    """
    grid = image.new_empty((1, *index_vox[0].shape, 3))
    for axis, (index, size) in enumerate(zip(index_vox, image.shape[2:], strict=True)):
        # With this order of operations, whole voxels are exact after the sampler inverts the normalisation.
        torch.div(2.0 * index.to(image), max(size - 1, 1), out=grid[0, ..., 2 - axis]).sub_(1.0)
    return _grid_sample(image, grid, (_INTERPOLATION["linear"], _PADDING["border"], True))


def compose(first_vox: Vectors, second_vox: Vectors) -> Vectors:
    r"""Compose two displacements (B, 3, X, Y, Z) in voxels, the first applied first: :math:`u(x) = a(x) + b(x + a(x))`.

    With pull maps, warping by the result equals ``warp(warp(image, second), first)`` but samples the image once. The
    border value of the second displacement is repeated outside the grid.
    """
    return first_vox + warp(second_vox, first_vox)
