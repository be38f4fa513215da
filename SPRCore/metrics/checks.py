"""Checks of label maps and masks, as volumes or arrays."""

from __future__ import annotations

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Volume


def label_pair(a: Volume | np.ndarray, b: Volume | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both label maps as integer arrays of one shape, not copied if they are integers already.

    Raises:
        InputError: Values that are not whole numbers, or two different grids.
    """
    if isinstance(a, Volume) and isinstance(b, Volume) and not a.grid.matches(b.grid):
        raise InputError(
            "label maps",
            got=f"two grids, {a.shape} and {b.shape} voxels",
            expected="one grid",
            remedy="resample one onto the other first",
        )
    first, second = _integers(a), _integers(b)
    if first.shape != second.shape:
        raise InputError("label maps", got=f"shapes {first.shape} and {second.shape}", expected="one shape")
    return first, second


def _integers(labels: Volume | np.ndarray) -> np.ndarray:
    array = labels.array if isinstance(labels, Volume) else np.asarray(labels)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    rounded = np.rint(array)
    if array.dtype.kind != "f" or not np.array_equal(rounded, array):
        raise InputError("label map", got=f"{array.dtype} values that are not whole", expected="whole numbers")
    return rounded.astype(np.int64)


def grid_mask(mask: Volume | np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask (nonzero = counts) as booleans, or None for no mask.

    Raises:
        InputError: The mask has another shape than the grid it is for, or is empty.
    """
    if mask is None:
        return None
    array = mask.array if isinstance(mask, Volume) else np.asarray(mask)
    if array.shape != tuple(shape):
        raise InputError("mask", got=f"shape {array.shape}", expected=f"the shape of the grid, {tuple(shape)}")
    inside = array != 0
    if not inside.any():
        raise InputError("mask", got="no voxel that is not 0", expected="at least one")
    return inside


def inner_mask(mask: Volume | np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """As `grid_mask`, without the outermost voxel layer of the grid.

    Raises:
        InputError: The mask has another shape, or covers no inner voxel.
    """
    inside = grid_mask(mask, shape)
    if inside is None:
        return None
    inner = inside[1:-1, 1:-1, 1:-1]
    if not inner.any():
        raise InputError("mask", got="voxels at the grid's border only", expected="at least one inside")
    return inner
