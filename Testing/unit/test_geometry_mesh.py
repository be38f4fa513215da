"""Surfaces of regions: area, position, normals, orientation of the triangles."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.geometry.mesh import joined, region_surface, zero_level

TURNED = np.array([[0.0, -1.5, 0.0, 3.0], [1.2, 0.0, 0.0, -7.0], [0.0, 0.0, 2.0, 11.0], [0.0, 0.0, 0.0, 1.0]])
MIRRORED = TURNED @ np.diag([-1.0, 1.0, 1.0, 1.0])
RADIUS = 18.0


def ball(affine, shape=(48, 44, 36)):
    """Signed distance to a sphere around the middle of a grid, and its center."""
    index = np.indices(shape).reshape(3, -1).T
    position = index @ affine[:3, :3].T + affine[:3, 3]
    center = (np.array(shape) - 1) / 2 @ affine[:3, :3].T + affine[:3, 3]
    return Volume((np.linalg.norm(position - center, axis=1) - RADIUS).reshape(shape), affine), center


@pytest.mark.parametrize("affine", [TURNED, MIRRORED])
def test_a_sphere_is_found_with_its_area_and_its_normals(affine):
    level, center = ball(affine)
    mesh = zero_level(level)
    out = mesh.points - center
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), RADIUS, atol=0.25)
    assert mesh.areas.sum() == pytest.approx(4 * np.pi * RADIUS**2, rel=0.02)
    assert ((out / RADIUS) * mesh.normals).sum(axis=1).min() > 0.99
    a, b, c = (mesh.points[mesh.triangles[:, corner]] for corner in range(3))
    facing = (np.cross(b - a, c - a) * (a - center)).sum(axis=1)
    assert (facing > 0).all()  # counterclockwise seen from outside
    edges = np.sort(np.concatenate([mesh.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # closed


def test_the_steps_of_voxels_are_smoothed_and_the_border_of_the_grid_is_no_surface():
    level, center = ball(TURNED)
    whole = region_surface(level.with_array(level.array < 0))
    out = whole.points - center
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), RADIUS, atol=0.9)
    assert (out * whole.normals / np.linalg.norm(out, axis=1, keepdims=True)).sum(axis=1).min() > 0.97
    slab = np.zeros((20, 20, 20), dtype=np.uint8)
    slab[:10] = 1
    plane = region_surface(Volume(slab, np.eye(4)))
    np.testing.assert_allclose(plane.points[:, 0], 9.5, atol=1e-6)
    assert plane.areas.sum() == pytest.approx(18.0**2)  # between the middles of the outermost cubes
    both = joined([whole, plane])
    assert both.triangles.max() == len(whole.points) + len(plane.points) - 1
    assert both.areas.sum() == pytest.approx(whole.areas.sum() + plane.areas.sum())


@pytest.mark.parametrize("value", [0, 1])
def test_a_region_without_surface_is_refused(value):
    with pytest.raises(InputError, match="surface"):
        region_surface(Volume(np.full((8, 8, 8), value, dtype=np.uint8), np.eye(4)))
