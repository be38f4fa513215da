"""What the slice and 3-D views show of a registration. Only nodes of the scene are touched, no windows.

Layers, from below: the fixed image, the deformed one blended over it, the map of the stiffness, of the change of volume
or of the uncertainty, the hatching where the uncertainty is above a limit, the displacement. Views of the group 1 and
above show the undeformed moving image, for the linked cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import slicer
import vtk

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import geometry, legends, outputs, uncertainty, unknown

MAP_LAYER = 3
"""Layer of the map: the one after background, foreground and label."""

HATCHING_LAYER = 4
"""Layer of the hatching where the uncertainty is above a limit."""

_LINE_COLOR = (0.35, 0.95, 0.95)
"""Of grid lines and arrows: light, and neither a gray of the image nor a color of a map."""

_BENDS, _BENDS_IN_MOTION = 5, 1
"""Pieces of a grid line from one crossing to the next."""


def show(parameters: Any) -> None:
    """Bring all views to the parameters.

    Layers beyond the foreground are not saved with a scene, so call it after loading one, too.

    Args:
        parameters: The parameters of a registration.
    """
    if not outputs.is_alive(parameters):
        return
    for composite, view in slice_views(parameters.fixedVolume.GetScene()):
        if parameters.originalAnatomy and view.GetViewGroup() > 0:
            _show_original(composite, parameters)
        else:
            _show_layers(composite, parameters)
    _show_map(parameters)
    _show_displacement(parameters)


def hide(parameters: Any) -> None:
    """Hide everything except the images, when the module is left: it could be mistaken for anatomy.

    Args:
        parameters: The parameters of a registration.
    """
    if not outputs.is_alive(parameters):
        return
    for composite, _view in slice_views(parameters.fixedVolume.GetScene()):
        _set_layers(composite)
    for node in (parameters.displacementTransform, parameters.linkedCursor):
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)
    legends.show(parameters, None)


def set_blend(parameters: Any, opacity: float) -> None:
    """Show the deformed image with another opacity, for a moving slider and flicker; the parameters stay.

    Args:
        parameters: The parameters of a registration.
        opacity: From 0, the fixed image alone, to 1, the deformed one alone.
    """
    deformed = parameters.deformedVolume
    for composite, _view in slice_views(parameters.fixedVolume.GetScene()):
        if deformed is not None and composite.GetForegroundVolumeID() == deformed.GetID():
            composite.SetForegroundOpacity(opacity)


def set_detail(parameters: Any, fine: bool) -> None:
    """Draw the lines of the displacement with full or reduced resolution.

    Each vertex needs an inversion of the displacement, which takes longer than the rest of a preview in the views.

    Args:
        parameters: The parameters of a registration.
        fine: Whether to draw with full resolution.
    """
    node = parameters.displacementTransform
    display = None if node is None else node.GetDisplayNode()
    if display is not None:
        bends = _BENDS if fine else _BENDS_IN_MOTION
        resolution = max(parameters.gridSpacingMm / bends, 1.0)
        if abs(display.GetGridResolutionMm() - resolution) > 1e-6:
            display.SetGridResolutionMm(resolution)


def fitting_grid_mm(fixed: slicer.vtkMRMLScalarVolumeNode) -> float:
    """Return a round distance of grid lines in mm that gives about twenty lines."""
    bounds = [0.0] * 6
    fixed.GetRASBounds(bounds)
    wanted = max(bounds[1] - bounds[0], bounds[3] - bounds[2], bounds[5] - bounds[4]) / 20
    return next((step for step in (1, 2, 5, 10, 15, 20, 25, 50) if step >= wanted), 100)


class LinkedCursor:
    """A point in the undeformed moving image that follows the mouse over the fixed one.

    Args:
        parameters: The parameters of a registration.
        on_move: Called with the position in the fixed image (RAS mm), or None when the mouse has left it.
    """

    def __init__(self, parameters: Any, on_move: Callable[[tuple[float, float, float] | None], None]) -> None:
        self._parameters, self._on_move = parameters, on_move
        self._crosshair = parameters.fixedVolume.GetScene().GetFirstNodeByClass("vtkMRMLCrosshairNode")
        event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
        self._tag = self._crosshair.AddObserver(event, self._moved)

    def remove(self) -> None:
        """Stop following; the point is hidden."""
        if self._crosshair is not None:
            self._crosshair.RemoveObserver(self._tag)
            self._crosshair = None
        node = self._parameters.linkedCursor
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)

    def _moved(self, crosshair: slicer.vtkMRMLCrosshairNode, event: str) -> None:
        position = [0.0, 0.0, 0.0]
        over = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        if not outputs.is_alive(self._parameters) or not crosshair.GetCursorPositionRAS(position):
            self._on_move(None)
        elif over is None or over.GetViewGroup() == 0:  # not over a view of the moving image
            if self._parameters.originalAnatomy:
                show_original_point(self._parameters, position)
            self._on_move(tuple(position))


def show_original_point(parameters: Any, position: tuple[float, float, float]) -> None:
    """Mark the moving point of a point of the fixed image, and show it in the views of the moving image.

    Args:
        parameters: The parameters of a registration that has a deformation.
        position: The point of the fixed image, in RAS mm.
    """
    if parameters.displacementTransform is None:
        return
    scene = parameters.fixedVolume.GetScene()
    (there,) = geometry.moved_points(parameters.displacementTransform, [position])
    node = parameters.linkedCursor
    if node is None or node.GetScene() is None:
        node = parameters.linkedCursor = _make_cursor(scene)
    if node.GetNumberOfControlPoints() == 0:
        node.AddControlPoint(*there, _("same place, before deformation"))
    node.SetNthControlPointPosition(0, *there)
    groups = {view.GetViewGroup(): view for _composite, view in slice_views(scene) if view.GetViewGroup() > 0}
    node.GetDisplayNode().SetVisibility(True)
    node.GetDisplayNode().SetViewNodeIDs([v.GetID() for _c, v in slice_views(scene) if v.GetViewGroup() > 0])
    for group in groups:
        slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *there, slicer.vtkMRMLSliceNode.OffsetJumpSlice, group)


def slice_views(scene: slicer.vtkMRMLScene) -> Iterator[tuple]:
    """Yield the slice views of a scene, as composite node and slice node."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        view = scene.GetSingletonNode(composite.GetLayoutName(), "vtkMRMLSliceNode")
        if view is not None:
            yield composite, view


def _show_layers(composite: slicer.vtkMRMLSliceCompositeNode, parameters: Any) -> None:
    deformed = parameters.deformedVolume if parameters.showDeformed else None
    shown = _shown_map(parameters)
    was_modifying = composite.StartModify()
    composite.SetBackgroundVolumeID(parameters.fixedVolume.GetID())
    composite.SetForegroundVolumeID(deformed.GetID() if _has_image(deformed) else None)
    composite.SetForegroundOpacity(parameters.deformedOpacity if deformed is not None else 0.0)
    _set_layers(composite, shown if _has_image(shown) else None, uncertainty.hatching(parameters))
    opacity = parameters.uncertaintyOpacity if parameters.showUncertainty else parameters.weightOpacity
    composite.SetNthLayerOpacity(MAP_LAYER, opacity)
    composite.SetNthLayerOpacity(HATCHING_LAYER, 1.0)
    composite.EndModify(was_modifying)


def _show_original(composite: slicer.vtkMRMLSliceCompositeNode, parameters: Any) -> None:
    composite.SetBackgroundVolumeID(parameters.movingVolume.GetID())
    composite.SetForegroundVolumeID(None)
    _set_layers(composite)


def _set_layers(
    composite: slicer.vtkMRMLSliceCompositeNode,
    shown: slicer.vtkMRMLScalarVolumeNode | None = None,
    hatched: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """Set the layers above the images; the one of the hatching is added when it is needed first."""
    composite.SetNthLayerVolumeID(MAP_LAYER, None if shown is None else shown.GetID())
    if hatched is not None or composite.GetNthLayerVolumeID(HATCHING_LAYER) is not None:
        composite.SetNthLayerVolumeID(HATCHING_LAYER, None if hatched is None else hatched.GetID())


def _shown_map(parameters: Any) -> slicer.vtkMRMLScalarVolumeNode | None:
    if parameters.showUncertainty:
        return parameters.uncertaintyVolume
    if parameters.showJacobian:
        return parameters.jacobianVolume
    if not parameters.showWeight:
        return None
    transform = parameters.displacementTransform
    is_deformed = transform is not None and geometry.displacement_of(transform) is not None
    if not _has_image(parameters.weightVolume) and is_deformed:
        return unknown.volume_over(parameters.fixedVolume)
    return parameters.weightVolume


def _has_image(volume: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    return volume is not None and volume.GetImageData() is not None


def _show_map(parameters: Any) -> None:
    if parameters.showJacobian and parameters.jacobianVolume is not None and not _has_image(parameters.jacobianVolume):
        outputs.refresh_jacobian(parameters)  # previews compute it only while it is shown
    weight = parameters.weightVolume
    if weight is not None and weight.GetDisplayNode() is not None:
        display = weight.GetDisplayNode()
        display.SetThreshold(-1.0, parameters.weightLimit)
        display.SetApplyThreshold(parameters.weightLimit < 1.0)
    legends.show(parameters, _shown_map(parameters))


def _show_displacement(parameters: Any) -> None:
    node = parameters.displacementTransform
    if node is None or geometry.displacement_of(node) is None:
        return
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        _set_looks(node.GetDisplayNode())
    display = node.GetDisplayNode()
    modes = {"grid": display.VIS_MODE_GRID, "glyph": display.VIS_MODE_GLYPH, "contour": display.VIS_MODE_CONTOUR}
    spacing = parameters.gridSpacingMm
    was_modifying = display.StartModify()
    display.SetAndObserveRegionNode(parameters.fixedVolume)
    display.SetVisualizationMode(modes[parameters.displacementStyle.value])
    display.SetGridSpacingMm(spacing)
    set_detail(parameters, fine=True)
    display.SetGridLineDiameterMm(spacing / 15)
    display.SetGlyphSpacingMm(spacing)
    display.SetContourResolutionMm(max(spacing / 5, 1.0))
    display.SetVisibility2D(parameters.showDisplacement)
    display.SetVisibility3D(parameters.showDisplacement3D)
    display.SetVisibility(parameters.showDisplacement or parameters.showDisplacement3D)
    display.EndModify(was_modifying)


def _set_looks(display: slicer.vtkMRMLTransformDisplayNode) -> None:
    display.SetSliceIntersectionThickness(1)
    one_color = vtk.vtkColorTransferFunction()
    one_color.AddRGBPoint(0.0, *_LINE_COLOR)
    display.SetColorMap(one_color)


def _make_cursor(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLMarkupsFiducialNode:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Linked cursor"))
    node.SetLocked(True)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetGlyphTypeFromString("CrossDot2D")
    display.SetColor(*_LINE_COLOR)
    display.SetSelectedColor(*_LINE_COLOR)
    display.SetTextScale(2.5)
    return node
