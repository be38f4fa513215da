"""Resampling of images, labels and displacement fields from one grid to another, by ITK's rules.

A point is inside an image if its continuous index lies in [-0.5, n - 0.5) along every axis, that is, inside the voxels
and not only between their centers; between the outermost centers and the border the edge value is used. The output is
computed in slabs, so that the temporary memory does not grow with the image.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch

from SPRCore.functional import sample_lattice
from SPRCore.geometry.volume import Field, Grid, Volume
from SPRCore.typing import Affine, Tensor

_BITS = {1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}

_ROUNDING = 1e-9  # of a sum of interpolation weights

_SLAB_VOXELS = 2**17
"""Voxels of a slab: its coordinates, 1 MB along each axis, fit in the cache of a processor core."""

_DEVICE_SLAB_VOXELS = 2**23
"""Voxels of a slab on a GPU: 64 MB along each axis."""


def resample(
    volume: Volume,
    reference: Grid,
    *,
    displacement: Field | None = None,
    affine_ras: Affine | None = None,
    labels: bool | Literal["linear"] = False,
    outside: float | None = None,
    continued: bool = False,
) -> Volume:
    """Resample a volume on another grid: `out(p) = volume(T(p + u(p)))` for every voxel center p of `reference`.

    Args:
        volume: Image or label map to sample.
        reference: Grid of the result.
        displacement: Pull displacement u in RAS mm; None for none. On another grid than `reference` it is interpolated
            linearly, and 0 outside its own grid.
        affine_ras: Pull map T from fixed to moving RAS mm, shape (4, 4). None for the identity.
        labels: Take the nearest voxel and keep the data type, exact for every integer; otherwise interpolate linearly
            in float32. Halfway between two voxels the higher index wins, as in ITK. With "linear" take the label whose
            indicator has the highest value when it is interpolated linearly, of equal ones the background, or else the
            lowest.
        outside: Value where the point falls outside `volume`. By default the minimum of an image, and 0 for labels.
        continued: Repeat the border value outside of `volume` instead, which avoids an edge.

    Returns:
        The resampled volume on `reference`: float32, or the input's type with `labels`.
    """
    world_to_index = np.linalg.inv(volume.affine) @ (np.eye(4) if affine_ras is None else affine_ras)
    index_to_index = world_to_index @ reference.affine
    if displacement is None and _is_same(volume.shape, reference.shape, index_to_index):
        return Volume(volume.array.astype(volume.array.dtype if labels else np.float32), reference.affine)
    if outside is None:
        outside = 0 if labels else volume.array.min()
    result = np.full(reference.shape, outside, dtype=volume.array.dtype if labels else np.float32)
    if displacement is not None and not displacement.grid.matches(reference):
        displacement = resample_displacement(displacement, reference)
    if labels == "linear":
        pick = _highest_indicator(volume.array)
    else:
        pick = _nearest(volume.array) if labels else _linear(volume.to_tensor())
    for slab, index_vox in lattice(reference.shape, index_to_index):
        if displacement is not None:
            add_mapped(index_vox, shared(displacement.array[slab]), world_to_index)
        where = True if continued else _inside(index_vox, volume.shape).numpy()
        np.copyto(result[slab], pick(index_vox), where=where)
    return Volume(result, reference.affine)


def lies_within(
    source: Grid,
    reference: Grid,
    *,
    displacement: Field | None = None,
    affine_ras: Affine | None = None,
    device: torch.device | None = None,
) -> np.ndarray:
    """Return the mask of the voxels of `reference` for which `resample` samples inside an image on the grid `source`.

    The device is that of the computation, None for the CPU.
    """
    world_to_index = np.linalg.inv(source.affine) @ (np.eye(4) if affine_ras is None else affine_ras)
    if displacement is not None and not displacement.grid.matches(reference):
        displacement = resample_displacement(displacement, reference)
    index_to_index = world_to_index @ reference.affine
    if displacement is None and _is_same(source.shape, reference.shape, index_to_index):
        return np.ones(reference.shape, dtype=bool)
    result = np.empty(reference.shape, dtype=bool)
    for slab, index_vox in lattice(reference.shape, index_to_index, device):
        if displacement is not None:
            add_mapped(index_vox, shared(displacement.array[slab]).to(index_vox.device), world_to_index)
        result[slab] = _inside(index_vox, source.shape).cpu().numpy()
    return result


def resample_displacement(field: Field, reference: Grid, *, continued: bool = False) -> Field:
    """Interpolate a displacement field linearly onto another grid; outside its own grid it is 0, as in ITK.

    `continued` repeats the border value outside instead, which avoids a discontinuity.
    """
    source = shared(field.array).movedim(-1, 0)[None].contiguous()
    result = torch.empty((*reference.shape, 3))
    for slab, index_vox in lattice(reference.shape, np.linalg.inv(field.affine) @ reference.affine):
        values = sample_lattice(source, index_vox)[0]
        result[slab] = (values if continued else values.mul_(_inside(index_vox, field.grid.shape))).movedim(0, -1)
    return Field(result.numpy(), reference.affine)


def affine_field(grid: Grid, affine_ras: Affine) -> Field:
    """Write an affine map T as a displacement field on a grid: `u(p) = T(p) - p`, RAS mm.

    ``affine_ras`` is the pull map T from fixed to moving points, shape (4, 4).
    """
    return _moved(grid, affine_ras, None)


def compose_affine(field: Field, affine_ras: Affine) -> Field:
    """Compose a displacement u with an affine map T applied after it: `v(p) = T(p + u(p)) - p`, RAS mm.

    ``affine_ras`` is the pull map T from fixed to moving points, shape (4, 4).
    """
    return _moved(field.grid, affine_ras, field.array)


def _moved(grid: Grid, affine_ras: Affine, displacement_mm: np.ndarray | None) -> Field:
    """`T(p + u(p)) - p` at every voxel center p of a grid; u is 0 if it is not given."""
    result = torch.empty((*grid.shape, 3))
    for slab, moved_mm in lattice(grid.shape, (affine_ras - np.eye(4)) @ grid.affine):
        if displacement_mm is not None:
            add_mapped(moved_mm, shared(displacement_mm[slab]), affine_ras)
        for axis, part in enumerate(moved_mm):
            result[slab][..., axis] = part
    return Field(result.numpy(), grid.affine)


def lattice(
    shape: tuple[int, int, int], matrix: Affine, device: torch.device | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Map the voxel indices of a grid, slab by slab along X.

    Args:
        shape: Number of voxels along each axis.
        matrix: Homogeneous matrix, shape (4, 4).
        device: Device of the result, with float64; None for the CPU.

    Yields:
        The planes of the slab, and `matrix` applied to their indices: shape (3, x, Y, Z), float64. The memory is reused
        for the next slab.
    """
    voxels = _SLAB_VOXELS if device is None or device.type == "cpu" else _DEVICE_SLAB_VOXELS
    thickness = min(shape[0], max(1, voxels // (shape[1] * shape[2])))
    buffer = torch.empty((3, thickness, *shape[1:]), dtype=torch.float64, device=device)
    lines = [torch.arange(size, dtype=torch.float64, device=device) for size in shape]
    for start in range(0, shape[0], thickness):
        part = buffer[:, : min(thickness, shape[0] - start)]
        for row, out in zip(np.asarray(matrix)[:3].tolist(), part, strict=True):
            along_x = row[0] * lines[0][start : start + thickness] + row[3]
            plane = along_x[:, None] + row[1] * lines[1]
            torch.add(plane[..., None], row[2] * lines[2], out=out)
        yield slice(start, start + part.shape[1]), part


def add_mapped(points: Tensor, vectors: Tensor, matrix: Affine) -> None:
    """Add vectors (..., 3), mapped by the linear part of a matrix (4, 4), to points (3, ...), in place."""
    for row, out in zip(np.asarray(matrix)[:3, :3].tolist(), points, strict=True):
        for factor, part in zip(row, vectors.unbind(-1), strict=True):
            if factor:
                out.add_(part, alpha=factor)


def shared(array: np.ndarray) -> Tensor:
    """Return an array as a read-only tensor, copied only if PyTorch cannot share its memory."""
    shares = array.flags.writeable and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if shares else array.copy())


def _is_same(source: tuple[int, ...], reference: tuple[int, ...], index_to_index: Affine) -> bool:
    """Whether two grids are equal."""
    return source == reference and np.allclose(index_to_index, np.eye(4), atol=1e-9)


def _inside(index_vox: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the mask of the points inside the voxels of an image, (slab, Y, Z)."""
    x, y, z = ((index >= -0.5) & (index < size - 0.5) for index, size in zip(index_vox, shape, strict=True))
    return x.logical_and_(y).logical_and_(z)


def _nearest(array: np.ndarray) -> Callable[[Tensor], np.ndarray]:
    """Return a function that gathers the voxels nearest to indices."""
    # PyTorch has fewer types than NumPy: the bits are gathered as a type of the same size.
    bits = np.ascontiguousarray(array).view(_BITS[array.dtype.itemsize])
    values = shared(bits).reshape(-1)

    def pick(index_vox: Tensor) -> np.ndarray:
        flat = torch.zeros_like(index_vox[0])
        for index, size in zip(index_vox, array.shape, strict=True):
            flat.mul_(size).add_(index.add(0.5).floor_().clamp_(0, size - 1))
        return values[flat.long()].numpy().view(array.dtype)

    return pick


def _highest_indicator(array: np.ndarray) -> Callable[[Tensor], np.ndarray]:
    """Return a function that gives the label whose linearly interpolated indicator is highest at indices."""
    names, codes = np.unique(array, return_inverse=True)
    order = np.argsort(names != 0, kind="stable")  # the background first
    rank = np.empty(len(names), dtype=np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    values, names = torch.from_numpy(rank[codes].reshape(-1)), names[order]

    def pick(index_vox: Tensor) -> np.ndarray:
        ends = []
        for index, size in zip(index_vox, array.shape, strict=True):
            low = index.clamp(0, size - 1).floor_().clamp_(max=max(size - 2, 0))
            share = index.clamp(0, size - 1).sub_(low)
            ends.append(((low, 1.0 - share), ((low + 1).clamp_(max=size - 1), share)))
        corners, weights = [], []
        for (x, a), (y, b), (z, c) in itertools.product(*ends):
            flat = x.mul(array.shape[1]).add_(y).mul_(array.shape[2]).add_(z)
            corners.append(values[flat.long()])
            weights.append(a * b * c)
        found = corners[0].clone()
        mixed = torch.stack([corner != found for corner in corners]).any(dim=0)
        found[mixed] = _heaviest(torch.stack(corners)[:, mixed], torch.stack(weights)[:, mixed])
        return names[found.numpy()]

    return pick


def _heaviest(labels: Tensor, weights: Tensor) -> Tensor:
    """Label with the largest sum of weights in each column of (8, N), the lowest of those equal to rounding."""
    totals = torch.stack([(weights * (labels == label)).sum(dim=0) for label in labels])
    beaten = totals < totals.amax(dim=0) - _ROUNDING
    return labels.masked_fill(beaten, torch.iinfo(labels.dtype).max).amin(dim=0)


def _linear(image: Tensor) -> Callable[[Tensor], np.ndarray]:
    """Return a function that interpolates at indices, with edge values beyond the outermost centers."""
    return lambda index_vox: sample_lattice(image, index_vox)[0, 0].numpy()
