"""Sheared grids and the upright ones that cover them."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, Volume, is_sheared, orthogonal, orthogonal_grid, ras_to_voxel, voxel_to_ras

TILT = np.tan(np.radians(20.0))
TILTED = np.array([[-2.0, 0, 0, 30], [0, -2.0, 5 * TILT, 40], [0, 0, 5.0, -10], [0, 0, 0, 1]])


def test_rotation_and_mirroring_are_no_shear():
    turned = np.eye(4)
    turned[:3, :3] = np.array([[0, -1, 0], [0, 0, 3.0], [2.0, 0, 0]])
    assert not is_sheared(turned)
    assert is_sheared(TILTED)


def test_the_plane_of_the_slices_and_the_spacing_stay():
    upright = orthogonal_grid(Grid((20, 30, 12), TILTED))
    np.testing.assert_allclose(upright.affine[:3, :2], TILTED[:3, :2], atol=1e-9)
    np.testing.assert_allclose(upright.spacing, np.linalg.norm(TILTED[:3, :3], axis=0))
    assert not is_sheared(upright.affine)


@pytest.mark.parametrize("seed", range(8))
def test_every_voxel_is_covered(seed):
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(random.normal(size=(3, 3)))[0] * random.uniform(0.5, 4, 3)
    affine[:3, :3] = affine[:3, :3] @ (np.eye(3) + random.uniform(-0.3, 0.3, (3, 3)))
    affine[:3, 3] = random.uniform(-100, 100, 3)
    old = Grid((7, 5, 6), affine)
    new = orthogonal_grid(old)
    assert not is_sheared(new.affine)
    assert np.sign(np.linalg.det(new.affine)) == np.sign(np.linalg.det(affine))
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * np.array(old.shape) - 0.5
    index = ras_to_voxel(voxel_to_ras(corners, affine), new.affine)
    assert (index > -0.5 - 1e-5).all()
    assert (index < np.array(new.shape) - 0.5 + 1e-5).all()


def test_a_plane_of_values_keeps_its_place():
    index = np.indices((20, 30, 12)).reshape(3, -1).T
    world = voxel_to_ras(index, TILTED)
    slope = np.array([0.3, -0.2, 0.7])
    upright = orthogonal(Volume((world @ slope).reshape(20, 30, 12).astype(np.float32), TILTED))
    places = voxel_to_ras(np.indices(upright.shape).reshape(3, -1).T, upright.affine)
    inside = ras_to_voxel(places, TILTED)
    within = ((inside >= 0) & (inside <= [19, 29, 11])).all(axis=1)
    np.testing.assert_allclose(upright.array.ravel()[within], (places @ slope)[within], atol=1e-3)
    beyond = ((inside < -0.5) | (inside > np.array([19.5, 29.5, 11.5]))).any(axis=1)
    assert (upright.array.ravel()[beyond] == np.float32(world @ slope).min()).all()


def test_labels_stay_labels():
    labels = np.full((20, 30, 12), 500, np.uint16)
    upright = orthogonal(Volume(labels, TILTED), labels=True)
    assert upright.array.dtype == np.uint16
    assert set(np.unique(upright.array)) == {0, 500}


def test_an_upright_volume_comes_back_as_it_is():
    volume = Volume(np.zeros((4, 4, 4)), np.diag([1.0, 2, 3, 1]))
    assert orthogonal(volume) is volume


def test_axes_that_hardly_differ_are_refused():
    flat = np.array([[1.0, 0.9999, 0, 0], [0, 0.01, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(InputError, match="nearer to right angles"):
        orthogonal_grid(Grid((200, 200, 200), flat))
