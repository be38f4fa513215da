"""Images, label maps, segmentations, markups and models are deformed as the moving image is."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume, resample, voxel_to_ras

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

SHAPE, MOVING_SHAPE = (24, 20, 16), (22, 21, 18)
FIXED = np.array([[0, -2.0, 0, 30], [1.5, 0, 0, -18], [0, 0, 2.5, -20], [0, 0, 0, 1]])
MOVING = np.array([[2.0, 0, 0, -20], [0, 1.8, 0, -20], [0, 0, 2.2, -18], [0, 0, 0, 1]])
SHIFT = np.array([5.0, -3.0, 2.0])


@pytest.fixture
def pair(scene):
    """A fixed image and a smooth deformation, largest in the middle, from it to the space of a moving image."""
    from SPRRegistrationLib.scene import geometry

    points = voxel_to_ras(np.moveaxis(np.indices(SHAPE), 0, -1), FIXED)
    bump = np.exp(-((points / 25.0) ** 2).sum(axis=-1, keepdims=True))
    field = Field((bump * SHIFT).astype(np.float32), FIXED)
    fixed = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fixed")
    geometry.set_image(fixed, np.zeros(SHAPE, np.float32), FIXED)
    transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "deformation")
    geometry.set_displacement(transform, field.array, field.affine)
    return SimpleNamespace(field=field, fixed=fixed, transform=transform, grid=geometry.grid_of(fixed), scene=scene)


def balls(shape, affine):
    """Labels 2 and 5: two balls that touch."""
    points = voxel_to_ras(np.moveaxis(np.indices(shape), 0, -1), affine)
    labels = np.zeros(shape, np.int16)
    for label, center in ((2, (-6, 0, 0)), (5, (7, 2, 1))):
        labels[((points - center) ** 2).sum(axis=-1) < 81] = label
    return labels


def add_labels(scene, name="organs"):
    import slicer
    from SPRRegistrationLib.scene import colors, geometry

    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    geometry.set_image(node, balls(MOVING_SHAPE, MOVING), MOVING)
    node.CreateDefaultDisplayNodes()
    table = colors.label_colors(scene, name, {2: "liver", 5: "heart"})
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    assert slicer.mrmlScene is scene
    return node


def add_segmentation(scene):
    import slicer

    labels = add_labels(scene, "voxels")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, node)
    scene.RemoveNode(labels)
    return node


def names_and_colors(node):
    inside = node.GetSegmentation()
    segments = [inside.GetSegment(key) for key in inside.GetSegmentIDs()]
    return [(segment.GetName(), segment.GetColor(), segment.GetLabelValue()) for segment in segments]


def voxels(segmentation, fixed):
    """All segments of a segmentation on the grid of an image, as numbers from 1."""
    from SPRRegistrationLib.scene import inputs

    return inputs.exported(segmentation, list(segmentation.GetSegmentation().GetSegmentIDs()), fixed)


def test_an_image_is_resampled_on_the_grid_of_the_fixed_one(pair, random_image):
    from SPRRegistrationLib.scene import geometry, warping

    array = random_image(MOVING_SHAPE, 2)[0, 0].numpy().astype(np.float32)
    node = pair.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "dose")
    geometry.set_image(node, array, MOVING)
    made = warping.warp(node, pair.transform, pair.grid)
    assert (made.GetName(), made.GetParentTransformNode()) == ("dose warped", None)
    seen, affine = geometry.image_of(made)
    np.testing.assert_allclose(affine, FIXED)
    expected = resample(Volume(array, MOVING), pair.field.grid, displacement=pair.field).array
    assert np.median(np.abs(seen - expected)) < 1e-4
    np.testing.assert_array_equal(geometry.image_of(node)[0], array)


def test_a_label_map_keeps_its_labels_and_its_colors(pair):
    from SPRRegistrationLib.scene import geometry, warping

    node = add_labels(pair.scene)
    made = warping.warp(node, pair.transform)  # the transform has the grid of the fixed image
    assert made.IsA("vtkMRMLLabelMapVolumeNode")
    seen, affine = geometry.image_of(made)
    np.testing.assert_allclose(affine, FIXED)
    labels = Volume(balls(MOVING_SHAPE, MOVING), MOVING)
    expected = resample(labels, pair.field.grid, displacement=pair.field, labels=True).array
    assert set(np.unique(seen)) == {0, 2, 5}
    assert (seen != expected).mean() < 0.002
    assert made.GetDisplayNode().GetColorNode() is node.GetDisplayNode().GetColorNode()


@pytest.mark.parametrize("under", [False, True], ids=["in the world", "under a linear transform"])
def test_segments_keep_names_and_colors_and_go_with_the_image(pair, under):
    import slicer
    from SPRRegistrationLib.scene import warping

    node = add_segmentation(pair.scene)
    labels = Volume(balls(MOVING_SHAPE, MOVING), MOVING)
    if under:
        parent = pair.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = np.eye(4)
        matrix[:3, 3] = (0, 4.0, 0)
        parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(parent.GetID())
        labels = Volume(labels.array, matrix @ MOVING)
    before = names_and_colors(node)
    made = warping.warp(node, pair.transform, pair.grid)
    assert (made.GetName(), made.GetParentTransformNode()) == ("organs warped", None)
    assert names_and_colors(made) == before == names_and_colors(node)
    expected = resample(labels, pair.field.grid, displacement=pair.field, labels=True).array
    seen = voxels(made, pair.fixed)
    assert (np.where(seen == 1, 2, np.where(seen == 2, 5, 0)) != expected).mean() < 0.002
    assert made.GetSegmentation().GetNumberOfLayers() == 1


def test_segments_that_overlap_stay_whole(pair):
    import slicer
    from SPRRegistrationLib.scene import geometry, warping

    node = pair.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "both")
    for label in (2, 5):
        mask = pair.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", f"mask {label}")
        array = (balls(MOVING_SHAPE, MOVING) == label).astype(np.int16)
        array[8:14, 8:14, 6:12] = 1  # in both
        geometry.set_image(mask, array, MOVING)
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(mask, node)
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    made = warping.warp(node, pair.transform, pair.grid)
    from SPRRegistrationLib.scene import inputs

    first, second = (inputs.exported(made, [key], pair.fixed) > 0 for key in made.GetSegmentation().GetSegmentIDs())
    assert (first & second).sum() > 100
    assert first.sum() > (first & second).sum() < second.sum()


def test_surfaces_in_a_segmentation_are_made_again_and_moved(pair):
    from SPRRegistrationLib.scene import warping

    node = add_segmentation(pair.scene)
    node.CreateClosedSurfaceRepresentation()
    key = node.GetSegmentation().GetSegmentIDs()[0]
    made = warping.warp(node, pair.transform, pair.grid)
    meshes = [one.GetClosedSurfaceInternalRepresentation(key) for one in (node, made)]
    centers = [np.array(mesh.GetCenter()) for mesh in meshes]
    assert np.linalg.norm(centers[1] - centers[0]) > 2
    assert np.dot(centers[1] - centers[0], SHIFT) < 0  # against the pull map


def test_a_segmentation_of_surfaces_stays_one(pair):
    from SPRRegistrationLib.scene import warping

    node = add_segmentation(pair.scene)
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    before = names_and_colors(node)
    made = warping.warp(node, pair.transform, pair.grid)
    assert made.GetSegmentation().GetSourceRepresentationName() == "Closed surface"
    assert names_and_colors(made) == before
    assert_same_place(pair, node, made)


def assert_same_place(pair, node, made):
    """The points of the surface, pulled back, are those before."""
    from SPRRegistrationLib.scene import geometry

    key = node.GetSegmentation().GetSegmentIDs()[0]
    meshes = [one.GetClosedSurfaceInternalRepresentation(key) for one in (node, made)]
    before, after = (np.array([mesh.GetPoint(i) for i in range(mesh.GetNumberOfPoints())]) for mesh in meshes)
    assert np.linalg.norm(after - before, axis=1).max() > 2
    np.testing.assert_allclose(geometry.moved_points(pair.transform, after), before, atol=0.02)


@pytest.mark.parametrize("kind", ["Fiducial", "Line", "Curve", "ClosedCurve", "Angle"])
def test_markups_are_moved_by_the_inverse(pair, kind):
    import slicer
    from SPRRegistrationLib.scene import geometry, warping

    node = pair.scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", "marks")
    points = np.array([[0, 0, 0], [8, -4, 3], [-5, 6, -2]], dtype=float)[: 2 if kind == "Line" else 3]
    for number, point in enumerate(points):
        node.AddControlPoint(*point, f"P{number}")
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    made = warping.warp(node, pair.transform)
    moved = slicer.util.arrayFromMarkupsControlPoints(made, world=True)
    assert np.linalg.norm(moved - points, axis=1).min() > 3
    np.testing.assert_allclose(geometry.moved_points(pair.transform, moved), points, atol=0.01)
    np.testing.assert_array_equal(slicer.util.arrayFromMarkupsControlPoints(node), points)
    assert (made.GetName(), made.GetNthControlPointLabel(1)) == ("marks warped", "P1")
    assert (made.GetClassName(), made.GetAttribute("DICOM.instanceUIDs")) == (node.GetClassName(), None)


@pytest.mark.parametrize("kind", ["Plane", "ROI"])
def test_planes_and_boxes_go_to_where_their_center_goes(pair, kind):
    from SPRRegistrationLib.scene import geometry, warping

    node = pair.scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", "frame")
    node.SetCenter((4.0, -3.0, 2.0))
    node.SetSize(*((10.0, 8.0) if kind == "Plane" else ((10.0, 8.0, 6.0),)))
    made = warping.warp(node, pair.transform)
    (back,) = geometry.moved_points(pair.transform, [made.GetCenter()])
    np.testing.assert_allclose(back, (4.0, -3.0, 2.0), atol=0.01)
    assert tuple(node.GetCenter()) == (4.0, -3.0, 2.0)


def test_an_image_with_colors_keeps_them(pair):
    import slicer.util
    from SPRRegistrationLib.scene import warping

    node = pair.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    array = np.zeros((*MOVING_SHAPE[::-1], 3), np.uint8)
    array[..., 0], array[..., 2] = 200, 50
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(MOVING))
    made = warping.warp(node, pair.transform, pair.grid)
    assert made.GetClassName() == "vtkMRMLVectorVolumeNode"
    assert tuple(slicer.util.arrayFromVolume(made)[8, 10, 12]) == (200, 0, 50)


def test_a_model_is_moved_by_the_inverse_with_the_transform_that_it_is_under(pair):
    import slicer
    import vtk
    from SPRRegistrationLib.scene import geometry, warping

    ball = vtk.vtkSphereSource()
    ball.SetRadius(9.0)
    ball.Update()
    node = pair.scene.AddNewNodeByClass("vtkMRMLModelNode", "tumor")
    node.SetAndObservePolyData(ball.GetOutput())
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(0.1, 0.9, 0.2)
    parent = pair.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (3.0, 0, -2.0)
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(parent.GetID())
    before = slicer.util.arrayFromModelPoints(node).copy()
    made = warping.warp(node, pair.transform)
    after = slicer.util.arrayFromModelPoints(made)
    np.testing.assert_allclose(geometry.moved_points(pair.transform, after), before + matrix[:3, 3], atol=0.02)
    np.testing.assert_array_equal(slicer.util.arrayFromModelPoints(node), before)
    assert made.GetDisplayNode().GetColor() == (0.1, 0.9, 0.2)
    assert made.GetDisplayNode() is not node.GetDisplayNode()
    assert made.GetParentTransformNode() is None


def test_two_copies_have_two_names(pair):
    from SPRRegistrationLib.scene import warping

    node = add_labels(pair.scene)
    names = [warping.warp(node, pair.transform).GetName() for _time in range(2)]
    assert len(set(names)) == 2
    assert all(name.startswith("organs warped") for name in names)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("vtkMRMLScalarVolumeNode", "an empty node"),
        ("vtkMRMLSegmentationNode", "an empty node"),
        ("vtkMRMLModelNode", "an empty node"),
        ("vtkMRMLMarkupsFiducialNode", "an empty node"),
        ("vtkMRMLLinearTransformNode", "vtkMRMLLinearTransformNode"),
    ],
)
def test_what_cannot_be_deformed_is_refused_and_leaves_nothing(pair, kind, words):
    from SPRRegistrationLib.scene import warping

    node = pair.scene.AddNewNodeByClass(kind, "nothing")
    count = pair.scene.GetNumberOfNodes()
    with pytest.raises(InputError, match=words):
        warping.warp(node, pair.transform)
    assert pair.scene.GetNumberOfNodes() == count


def test_an_image_needs_a_grid(pair):
    from SPRRegistrationLib.scene import warping

    linear = pair.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    node = add_labels(pair.scene)
    count = pair.scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="without a displacement grid"):
        warping.warp(node, linear)
    assert pair.scene.GetNumberOfNodes() == count
    made = warping.warp(node, linear, pair.grid)
    assert made.GetImageData().GetDimensions() == SHAPE


def test_an_image_under_a_nonlinear_transform_is_refused_and_leaves_nothing(pair):
    from SPRRegistrationLib.scene import warping

    for node in (add_labels(pair.scene), add_segmentation(pair.scene)):
        node.SetAndObserveTransformNodeID(pair.transform.GetID())
        count = pair.scene.GetNumberOfNodes()
        with pytest.raises(InputError, match="nonlinear"):
            warping.warp(node, pair.transform, pair.grid)
        assert pair.scene.GetNumberOfNodes() == count
