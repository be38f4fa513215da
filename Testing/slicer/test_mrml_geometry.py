"""Volumes and grid transforms of a real Slicer scene mean what the engine means, wherever the image lies and points."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.functional import jacobian_determinant, sample
from SPRCore.geometry import Field, Volume, displacement_vox_to_mm, ras_to_voxel, resample, voxel_to_ras

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

SHAPE, MOVING_SHAPE = (20, 18, 16), (22, 17, 19)


def affine(seed, left_handed=False, straight=False):
    generator = np.random.default_rng(seed)
    directions = np.eye(3) if straight else np.linalg.qr(generator.normal(size=(3, 3)))[0]
    directions = directions * (np.linalg.det(directions), 1, 1)
    matrix = np.eye(4)
    matrix[:3, :3] = directions * np.array([-1.0 if left_handed else 1.0, 1.0, 1.0]) * (1.5, 2.0, 2.5)
    matrix[:3, 3] = generator.uniform(-20, 20, 3)
    return matrix


CASES = {
    "straight": affine(1, straight=True),
    "oblique": affine(2),
    "left-handed": affine(3, left_handed=True, straight=True),
    "oblique and left-handed": affine(4, left_handed=True),
}


@pytest.fixture(params=list(CASES))
def case(request, scene, random_image, random_displacement):
    """A pair in the scene and in the engine, and a displacement between them of up to 6 mm."""
    from SPRRegistrationLib.scene import geometry

    matrix = CASES[request.param]
    elsewhere = matrix @ np.diag([0.9, 1.1, 0.8, 1.0])
    fixed = Volume(random_image(SHAPE, 1)[0, 0].numpy().astype(np.float32), matrix)
    moving = Volume(random_image(MOVING_SHAPE, 2)[0, 0].numpy().astype(np.float32), elsewhere)
    moves = random_displacement(SHAPE, 3, length=3.0)[0].numpy()
    field = Field(displacement_vox_to_mm(np.moveaxis(moves, 0, -1), matrix).astype(np.float32), matrix)
    nodes = {name: scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("fixed", "moving")}
    geometry.set_image(nodes["fixed"], fixed.array, fixed.affine)
    geometry.set_image(nodes["moving"], moving.array, moving.affine)
    transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    geometry.set_displacement(transform, field.array, field.affine)
    return SimpleNamespace(fixed=fixed, moving=moving, field=field, transform=transform, nodes=nodes, scene=scene)


def voxels_of(node):
    """Voxels and affine of a volume of the scene."""
    from SPRRegistrationLib.scene import geometry

    return node.GetImageData(), geometry.affine_of(node)


def engine_moves(field, points):
    """Where the engine's interpolation of a field moves points (RAS mm)."""
    tensor = torch.as_tensor(np.moveaxis(field.array, -1, 0)[None].astype(np.float64))
    return points + sample(tensor, torch.as_tensor(ras_to_voxel(points, field.affine))).numpy().T


def test_an_image_keeps_its_voxels_and_its_place(case):
    from SPRRegistrationLib.scene import geometry

    array, matrix = geometry.image_of(case.nodes["fixed"])
    np.testing.assert_array_equal(array, case.fixed.array)
    np.testing.assert_allclose(matrix, case.fixed.affine, atol=1e-12)


def test_a_transform_moves_points_as_the_engine_does(case):
    from SPRRegistrationLib.scene import geometry

    inside = np.random.default_rng(0).uniform(0, np.array(SHAPE) - 1, (200, 3))
    points = voxel_to_ras(inside, case.field.affine)
    moved = geometry.moved_points(case.transform, points)
    assert np.abs(moved - points).max() > 1
    np.testing.assert_allclose(moved, engine_moves(case.field, points), atol=1e-3)


def test_a_coarse_preview_reaches_to_the_border_of_the_image(case):
    from SPRRegistrationLib.scene import geometry

    coarse = case.field.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] += case.field.affine[:3, :3] @ (0.5, 0.5, 0.5)
    field = Field(case.field.array[::2, ::2, ::2].copy(), coarse)
    geometry.set_displacement(case.transform, field.array, field.affine)
    points = voxel_to_ras(np.argwhere(np.ones((2, 2, 2))) * (np.array(SHAPE) - 1.0), case.field.affine)
    np.testing.assert_allclose(geometry.moved_points(case.transform, points), engine_moves(field, points), atol=1e-3)


def test_a_resliced_image_is_what_the_engine_warps(case):
    import slicer
    import slicer.util
    from SPRRegistrationLib.scene import geometry

    expected = resample(case.moving, case.fixed.grid, displacement=case.field).array
    image = geometry.resliced(*voxels_of(case.nodes["moving"]), geometry.grid_of(case.nodes["fixed"]), case.transform)
    node = case.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.SetAndObserveImageData(image)
    difference = np.abs(slicer.util.arrayFromVolume(node).transpose(2, 1, 0) - expected)
    assert np.median(difference) < 1e-4
    assert (difference > 1e-3).mean() < 0.02  # voxels at the rim of the moving image, in or out by rounding


def test_a_resliced_label_map_has_the_labels_of_the_engine(case):
    import slicer.util
    from SPRRegistrationLib.scene import geometry

    labels = Volume((case.moving.array > 0.5).astype(np.int16) * 3, case.moving.affine)
    node = case.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    geometry.set_image(node, labels.array, labels.affine)
    expected = resample(labels, case.fixed.grid, displacement=case.field, labels=True).array
    out = case.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    grid = geometry.grid_of(case.nodes["fixed"])
    out.SetAndObserveImageData(geometry.resliced(*voxels_of(node), grid, case.transform, labels=True))
    seen = slicer.util.arrayFromVolume(out).transpose(2, 1, 0)
    assert set(np.unique(seen)) == {0, 3}
    assert (seen != expected).mean() < 0.01


def test_the_change_of_volume_is_that_of_the_engine(case):
    from SPRRegistrationLib.scene import geometry

    expected = jacobian_determinant(case.field.to_tensor_vox())[0, 0].numpy()
    seen = geometry.jacobian_determinant(case.field.array, case.field.affine)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(seen, expected, atol=2e-4)


def test_a_displacement_comes_back_as_it_was_put_in(case):
    from SPRRegistrationLib.scene import geometry

    array, matrix = geometry.displacement_of(case.transform)
    np.testing.assert_array_equal(array, case.field.array)
    np.testing.assert_allclose(matrix, case.field.affine, atol=1e-9)


def test_new_numbers_leave_the_identity_of_everything_alone(case):
    import slicer
    from SPRRegistrationLib.scene import geometry

    woken = []
    case.transform.AddObserver(slicer.vtkMRMLTransformableNode.TransformModifiedEvent, lambda *_: woken.append(1))
    transform = case.transform.GetTransformFromParent()
    grid = transform.GetDisplacementGrid()
    geometry.set_displacement(case.transform, 2 * case.field.array, case.field.affine)
    assert case.transform.GetTransformFromParent() is transform
    assert transform.GetDisplacementGrid() is grid
    assert woken
    points = voxel_to_ras(np.array([[5.0, 6.0, 7.0]]), case.field.affine)
    once = engine_moves(case.field, points) - points
    np.testing.assert_allclose(geometry.moved_points(case.transform, points) - points, 2 * once, atol=1e-3)


def test_linear_transforms_of_the_images_count(scene):
    import slicer.util
    from SPRRegistrationLib.scene import geometry

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    geometry.set_image(volume, np.zeros((3, 4, 5), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    shift = np.eye(4)
    shift[:3, 3] = 1, 2, 3
    linear = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    linear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    volume.SetAndObserveTransformNodeID(linear.GetID())
    np.testing.assert_allclose(geometry.affine_of(volume)[:, 3], [1, 2, 3, 1])
    bent = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    geometry.set_displacement(bent, np.zeros((2, 2, 2, 3), np.float32), np.eye(4))
    volume.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(InputError, match="harden"):
        geometry.affine_of(volume)


def test_what_is_no_three_dimensional_image_is_refused(scene):
    from SPRRegistrationLib.scene import geometry

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    with pytest.raises(InputError, match="empty"):
        geometry.image_of(volume)
    geometry.set_image(volume, np.zeros((3, 4, 1), np.float32), np.eye(4))
    with pytest.raises(InputError, match="single slice"):
        geometry.image_of(volume)


def test_only_placed_points_count(scene):
    from SPRRegistrationLib.scene import geometry

    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint(1.0, 2.0, 3.0)
    points.AddControlPoint(4.0, 5.0, 6.0)
    points.UnsetNthControlPointPosition(0)
    np.testing.assert_allclose(geometry.points_of(points), [[4, 5, 6]])
