"""Resampling of images, labels and displacement fields from one grid to another, by ITK's rules.

A point is inside an image when its continuous index lies in [-0.5, n - 0.5) along every axis, that is inside the voxels
and not only between their centers; between the outermost centers and the border the edge value is kept. The output is
made in slabs, so that the memory needed beyond input and output does not grow with the image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from SPRCore.functional import sample
from SPRCore.geometry.volume import Field, Grid, Volume
from SPRCore.typing import Affine

_SLAB_VOXELS = 2**19  # 12 MB of float64 coordinates: small beside any image, large beside the cost of a loop


def resample(
    volume: Volume,
    reference: Grid,
    *,
    displacement: Field | None = None,
    affine_ras: Affine | None = None,
    labels: bool = False,
    outside: float | None = None,
) -> Volume:
    """Pull a volume onto another grid: `out(p) = volume(T(p + u(p)))` for every voxel center p of `reference`.

    Args:
        volume: Image or label map to sample.
        reference: Grid of the result.
        displacement: Pull displacement u in RAS mm. On another grid than `reference` it is interpolated linearly, and
            taken as 0 outside its own grid. None for no displacement.
        affine_ras: Pull map T from fixed to moving RAS mm, shape (4, 4). None for the identity.
        labels: Take the nearest voxel and keep the data type, exact for every integer; otherwise interpolate linearly
            in float32. Halfway between two voxels the higher index wins, as in ITK.
        outside: Value where the point falls outside `volume`. By default the minimum of an image, and 0 for labels.

    Returns:
        The resampled volume on `reference`: float32, or the input's type with `labels`.
    """
    if outside is None:
        outside = 0 if labels else volume.array.min()
    source = volume.array if labels else volume.to_tensor()[0]
    result = np.full(reference.shape, outside, dtype=volume.array.dtype if labels else np.float32)
    world_to_index = np.linalg.inv(volume.affine) @ (np.eye(4) if affine_ras is None else affine_ras)
    if displacement is not None and not displacement.grid.matches(reference):
        displacement = resample_displacement(displacement, reference)
    for slab, index_vox in _slabs(reference.shape, world_to_index @ reference.affine):
        if displacement is not None:
            index_vox += displacement.array[slab] @ world_to_index[:3, :3].T
        values = _nearest(source, index_vox) if labels else _linear(source, index_vox)[..., 0]
        np.copyto(result[slab], values, where=_inside(index_vox, volume.shape))
    return Volume(result, reference.affine)


def resample_displacement(field: Field, reference: Grid, *, continued: bool = False) -> Field:
    """Interpolate a displacement field linearly onto another grid; outside its own grid it is 0, as in ITK.

    Args:
        field: Displacement in RAS mm.
        reference: Grid of the result.
        continued: Outside its own grid the field keeps the value of its border instead, so that it does not tear there.

    Returns:
        The same displacement on `reference`.
    """
    source = torch.from_numpy(field.array).movedim(-1, 0).contiguous()
    result = np.empty((*reference.shape, 3), dtype=np.float32)
    for slab, index_vox in _slabs(reference.shape, np.linalg.inv(field.affine) @ reference.affine):
        result[slab] = _linear(source, index_vox)
        if not continued:
            result[slab] *= _inside(index_vox, field.grid.shape)[..., None]
    return Field(result, reference.affine)


def affine_field(grid: Grid, affine_ras: Affine) -> Field:
    """Write an affine map as a displacement field, `u(p) = T(p) - p`.

    Args:
        grid: Grid of the field.
        affine_ras: Pull map T from fixed to moving RAS mm, shape (4, 4).

    Returns:
        The displacement in RAS mm on `grid`.
    """
    result = np.empty((*grid.shape, 3), dtype=np.float32)
    for slab, displacement_mm in _slabs(grid.shape, (affine_ras - np.eye(4)) @ grid.affine):
        result[slab] = displacement_mm
    return Field(result, grid.affine)


def compose_affine(field: Field, affine_ras: Affine) -> Field:
    """Put an affine map behind a displacement, `v(p) = T(p + u(p)) - p`, so that one field holds the total map.

    Args:
        field: Pull displacement u in RAS mm.
        affine_ras: Pull map T from fixed to moving RAS mm, shape (4, 4).

    Returns:
        The total displacement v in RAS mm on the grid of `field`.
    """
    total = affine_field(field.grid, affine_ras).array
    total += field.array @ np.asarray(affine_ras)[:3, :3].T.astype(np.float32)
    return Field(total, field.affine)


def _slabs(shape: tuple[int, int, int], matrix: Affine) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slabs along X and `matrix` applied to the indices of their voxels, (slab, Y, Z, 3) in float64."""
    thickness = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    along_y, along_z = np.arange(shape[1])[:, None, None], np.arange(shape[2])[:, None]
    plane = along_y * matrix[:3, 1] + along_z * matrix[:3, 2] + matrix[:3, 3]
    for start in range(0, shape[0], thickness):
        stop = min(start + thickness, shape[0])
        yield slice(start, stop), np.arange(start, stop)[:, None, None, None] * matrix[:3, 0] + plane


def _inside(index_vox: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return ((index_vox >= -0.5) & (index_vox < np.array(shape) - 0.5)).all(axis=-1)


def _nearest(array: np.ndarray, index_vox: np.ndarray) -> np.ndarray:
    """Gather from an array (X, Y, Z) the voxels nearest to indices (..., 3); no arithmetic touches the values."""
    rounded = np.clip(np.floor(index_vox + 0.5).astype(np.int64), 0, np.array(array.shape) - 1)
    return array[rounded[..., 0], rounded[..., 1], rounded[..., 2]]


def _linear(values: torch.Tensor, index_vox: np.ndarray) -> np.ndarray:
    """Interpolate values (C, X, Y, Z) at indices (x, y, z, 3), edge values kept beyond the centers: (x, y, z, C)."""
    points_vox = torch.from_numpy(index_vox.reshape(-1, 3).astype(np.float32))
    return sample(values[None], points_vox).T.numpy().reshape(*index_vox.shape[:3], -1)
