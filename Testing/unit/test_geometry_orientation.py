"""Axes are swapped and reversed, and every voxel stays where it is."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, voxel_to_ras
from SPRCore.geometry.orientation import reoriented

SHAPE = (3, 4, 5)


def centers(grid: Grid) -> np.ndarray:
    points = voxel_to_ras(np.indices(grid.shape).reshape(3, -1).T, grid.affine)
    return points[np.lexsort(points.round(6).T)]


@pytest.mark.parametrize("letters", ["RAS", "LPS", "SAR", "ILA", "PRI"])
@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_nibabel_and_moves_no_voxel(letters, seed):
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    turn = Rotation.from_rotvec(rng.uniform(-0.35, 0.35, 3)).as_matrix()  # to 35 degrees
    swap = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    affine[:3, :3] = turn @ swap * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.normal(0, 50, 3)
    grid = Grid(SHAPE, affine)
    result = reoriented(grid, letters)
    np.testing.assert_allclose(centers(result), centers(grid), atol=1e-9)
    assert "".join(nib.aff2axcodes(result.affine)) == letters
    assert reoriented(result, letters).matches(result)


@pytest.mark.parametrize("letters", ["", "RA", "RAR", "RLS", "ras", "RASS", None])
def test_no_orientation_is_refused(letters):
    with pytest.raises(InputError, match="RAS"):
        reoriented(Grid(SHAPE, np.eye(4)), letters)
