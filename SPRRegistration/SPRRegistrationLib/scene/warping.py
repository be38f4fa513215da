"""Copies of nodes that are deformed in the same way as the moving image.

Images, label maps and segmentations of voxels are resampled on the grid of the fixed image: a hardened transform would
give them a grid of their own. What consists of points (markups, models, segmentations of surfaces) is moved by the
inverse of the pull map.
"""

from __future__ import annotations

import numpy as np
import slicer
import slicer.util
import vtk

from SPRCore.errors import InputError
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import geometry

_BINARY = "Binary labelmap"
_SURFACE = "Closed surface"
_ORIGIN = ("DICOM.instanceUIDs", "DICOM.instanceNumbers")
"""Attributes of an image that was loaded from DICOM; its deformed copy is another one."""


def warp(
    node: slicer.vtkMRMLTransformableNode,
    transform: slicer.vtkMRMLTransformNode,
    grid: geometry.SamplingGrid | None = None,
) -> slicer.vtkMRMLTransformableNode:
    """Return a deformed copy of a node, named "... warped"; the node is not changed.

    Segments keep their names, colors and order, label maps their colors. The parent transforms of the node are applied
    before, and the copy has none.

    Args:
        node: Image, label map, segmentation, markups or model in the space of the moving image.
        transform: The deformation, such as `displacementTransform` of a registration.
        grid: Grid of the copy; None for that of the transform. Not needed for markups and models.

    Raises:
        InputError: The node is empty or of another kind, is an image under a nonlinear transform, or there is no grid.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        content, make = node.GetSegmentation().GetNumberOfSegments(), _segmentation
    elif node.IsA("vtkMRMLScalarVolumeNode") and "Diffusion" not in node.GetClassName():
        content, make = node.GetImageData(), _volume
    elif node.IsA("vtkMRMLModelNode"):
        content, make = node.GetMesh(), _points
    elif node.IsA("vtkMRMLMarkupsNode"):
        content, make = node.GetNumberOfControlPoints(), _points
    else:
        expected = "an image, label map, segmentation, markups or model"
        raise InputError(node.GetName(), got=f"a node of the class {node.GetClassName()}", expected=expected)
    if not content:
        raise InputError(node.GetName(), got="an empty node", expected="one with content to deform")
    return make(node, transform, grid)


def grid_for(transform: slicer.vtkMRMLTransformNode) -> geometry.SamplingGrid:
    """Return the grid of the displacement of a transform.

    Raises:
        InputError: It has none.
    """
    shown = geometry.displacement_of(transform)
    if shown is None:
        remedy = "name the image whose grid is to be taken"
        raise InputError(transform.GetName(), got="a transform without a displacement grid", remedy=remedy)
    field, affine = shown
    return geometry.SamplingGrid(field.shape[:3], affine)


def _volume(
    node: slicer.vtkMRMLScalarVolumeNode,
    transform: slicer.vtkMRMLTransformNode,
    grid: geometry.SamplingGrid | None,
) -> slicer.vtkMRMLScalarVolumeNode:
    grid = grid or grid_for(transform)
    is_labels = node.IsA("vtkMRMLLabelMapVolumeNode")
    image = geometry.resliced(node.GetImageData(), geometry.affine_of(node), grid, transform, is_labels)
    copy = _new(node)
    copy.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    copy.SetAndObserveImageData(image)
    _take_looks(copy, node)
    return copy


def _segmentation(
    node: slicer.vtkMRMLSegmentationNode,
    transform: slicer.vtkMRMLTransformNode,
    grid: geometry.SamplingGrid | None,
) -> slicer.vtkMRMLSegmentationNode:
    source = node.GetSegmentation()
    if source.GetSourceRepresentationName() != _BINARY:
        return _points(node, transform, grid)
    grid, world = grid or grid_for(transform), geometry.to_world(node)
    copy = _copy(node)
    segmentation = copy.GetSegmentation()
    was_modifying = copy.StartModify()
    for layer in range(source.GetNumberOfLayers(_BINARY)):  # segments that do not overlap share the voxels of a layer
        image = _resliced_layer(source.GetLayerDataObject(layer, _BINARY), world, grid, transform)
        for key in source.GetSegmentIDsForLayer(layer, _BINARY):
            segmentation.GetSegment(key).AddRepresentation(_BINARY, image)
    segmentation.InvalidateNonSourceRepresentations()
    text = slicer.vtkSegmentationConverter.SerializeImageGeometry(
        slicer.util.vtkMatrixFromArray(grid.affine), _empty_image(grid)
    )
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    segmentation.SetConversionParameter(name, text)
    copy.EndModify(was_modifying)
    if source.ContainsRepresentation(_SURFACE):
        copy.CreateClosedSurfaceRepresentation()
    _take_looks(copy, node)
    return copy


def _resliced_layer(
    layer: slicer.vtkOrientedImageData,
    world: np.ndarray,
    grid: geometry.SamplingGrid,
    transform: slicer.vtkMRMLTransformNode,
) -> slicer.vtkOrientedImageData:
    """Return the voxels of a layer of segments on a grid."""
    matrix = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(matrix)
    voxels = vtk.vtkImageData()
    voxels.ShallowCopy(layer)
    voxels.SetOrigin(0, 0, 0)
    voxels.SetSpacing(1, 1, 1)
    image = slicer.vtkOrientedImageData()
    affine = world @ slicer.util.arrayFromVTKMatrix(matrix)
    image.ShallowCopy(geometry.resliced(voxels, affine, grid, transform, labels=True))
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    return image


def _points(
    node: slicer.vtkMRMLTransformableNode,
    transform: slicer.vtkMRMLTransformNode,
    grid: geometry.SamplingGrid | None,
) -> slicer.vtkMRMLTransformableNode:
    push = vtk.vtkGeneralTransform()
    push.PostMultiply()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetTransformToWorld(push)
        push.PostMultiply()
    push.Concatenate(transform.GetTransformToParent())
    copy = _copy(node)
    copy.ApplyTransform(push)
    _take_looks(copy, node)
    return copy


def _copy(node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformableNode:
    copy = _new(node)
    name = copy.GetName()
    copy.CopyContent(node)
    copy.SetName(name)
    for attribute in _ORIGIN:
        copy.RemoveAttribute(attribute)
    return copy


def _new(node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformableNode:
    scene = node.GetScene()
    name = scene.GenerateUniqueName(_("{name} warped").format(name=node.GetName()))
    return scene.AddNewNodeByClass(node.GetClassName(), name)


def _take_looks(copy: slicer.vtkMRMLDisplayableNode, node: slicer.vtkMRMLDisplayableNode) -> None:
    """Show a copy as the node is shown."""
    if copy.GetDisplayNode() is None:
        copy.CreateDefaultDisplayNodes()
    display, shown = copy.GetDisplayNode(), node.GetDisplayNode()
    if display is not None and shown is not None:
        display.CopyContent(shown)
        if shown.GetColorNodeID():  # a reference, which is no content
            display.SetAndObserveColorNodeID(shown.GetColorNodeID())


def _empty_image(grid: geometry.SamplingGrid) -> slicer.vtkOrientedImageData:
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(grid.shape)
    return image
