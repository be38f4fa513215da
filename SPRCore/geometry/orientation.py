"""Reorientation of grids by swapping and reversing axes, without rotation."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry.volume import Grid

_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def check_orientation(letters: str) -> str:
    """Return a valid orientation: the directions of the axes as three letters, such as "RAS" or "LPI".

    Raises:
        InputError: It is not valid.
    """
    known = isinstance(letters, str) and len(letters) == 3 and all(letter in _DIRECTIONS for letter in letters)
    if not known or {_DIRECTIONS[letter][0] for letter in letters} != {0, 1, 2}:
        raise InputError("orientation", got=repr(letters)[:20], expected="three letters such as 'RAS'")
    return letters


def axes_affine(letters: str) -> np.ndarray:
    """Return the affine of an array in voxels of 1 mm whose axes have directions such as "RAS", shape (4, 4).

    Raises:
        InputError: The letters are not an orientation.
    """
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    for axis, letter in enumerate(check_orientation(letters)):
        world, sign = _DIRECTIONS[letter]
        affine[world, axis] = sign
    return affine


def reoriented(grid: Grid, letters: str) -> Grid:
    """Return a grid with the same voxel centers and the axes swapped and reversed nearest to an orientation.

    The letters, such as "RAS", are the directions of the axes of the result.

    Raises:
        InputError: The letters are not an orientation.
    """
    wanted = [_DIRECTIONS[letter] for letter in check_orientation(letters)]
    unit = grid.affine[:3, :3] / np.asarray(grid.spacing)
    order = max(
        permutations(range(3)), key=lambda axes: sum(abs(unit[w, a]) for (w, _), a in zip(wanted, axes, strict=True))
    )
    change = np.zeros((4, 4))  # from indices of the result to indices of the grid
    change[3, 3] = 1.0
    for index, ((world, sign), axis) in enumerate(zip(wanted, order, strict=True)):
        forward = unit[world, axis] * sign >= 0
        change[axis, index] = 1.0 if forward else -1.0
        change[axis, 3] = 0.0 if forward else grid.shape[axis] - 1
    return Grid(tuple(grid.shape[axis] for axis in order), grid.affine @ change)
