"""Images, second channels, segments and landmarks from files as nodes of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import colors, display, geometry

SIDES = ("fixed", "moving")
"""Image in the views of the group 0 and 1: the fixed one, and the undeformed moving one."""

CHANNELS = tuple(f"{side}Channel" for side in SIDES)
"""Fields of the parameters with the second channels."""

REFERENCES = tuple(f"{side}{part}" for part in ("Labels", "Landmarks") for side in SIDES)
"""Those with segments and landmarks, which only measure."""

INPUTS = (*(f"{side}Volume" for side in SIDES), *CHANNELS, *REFERENCES)
"""Those of all files that a page can open."""

POINT_COLOR = (0.35, 0.95, 0.95)


def add(scene: slicer.vtkMRMLScene, field: str, title: str, content: Sequence[np.ndarray]) -> slicer.vtkMRMLNode:
    """Put an image, a second channel, segments or landmarks into the scene.

    Args:
        scene: The scene.
        field: Field of the parameters.
        title: Name; a number is added if it exists.
        content: Voxels, shape (X, Y, Z), and the matrix from their indices to RAS mm; of landmarks the points in RAS
            mm, shape (N, 3).
    """
    how = next(how for part, how in _KINDS.items() if field.endswith(part))
    return how(scene, scene.GenerateUniqueName(title), *content)


def _add_image(
    scene: slicer.vtkMRMLScene, name: str, array: np.ndarray, affine: np.ndarray
) -> slicer.vtkMRMLScalarVolumeNode:
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    array = array.astype(np.uint8) if array.dtype == bool else array
    geometry.set_image(volume, array, affine)
    volume.CreateDefaultDisplayNodes()
    low, high = np.percentile(array[::2, ::2, ::2], (0.5, 99.5))
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(float(low), float(max(high, low + 1e-6)))
    return volume


def _add_labels(
    scene: slicer.vtkMRMLScene, name: str, array: np.ndarray, affine: np.ndarray
) -> slicer.vtkMRMLLabelMapVolumeNode:
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    geometry.set_image(node, array.astype(np.int16 if array.max(initial=0) < 2**15 else np.int32), affine)
    node.CreateDefaultDisplayNodes()
    numbers = {int(value): f"{_('label')} {int(value)}" for value in np.unique(array) if value > 0}
    node.GetDisplayNode().SetAndObserveColorNodeID(colors.label_colors(scene, name, numbers).GetID())
    return node


def _add_landmarks(scene: slicer.vtkMRMLScene, name: str, points: np.ndarray) -> slicer.vtkMRMLMarkupsFiducialNode:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for number, point in enumerate(points, start=1):
        node.AddControlPoint(*map(float, point), str(number))
    node.SetLocked(True)
    node.CreateDefaultDisplayNodes()
    node.SetDisplayVisibility(False)
    return node


_KINDS = {"Volume": _add_image, "Channel": _add_image, "Labels": _add_labels, "Landmarks": _add_landmarks}


def show_references(parameters: Any, on: bool) -> None:
    """Show or hide the outlines of the segments and the landmarks, in the views of their image.

    Args:
        parameters: The parameters of a registration.
        on: Whether they are shown.
    """
    views = list(display.slice_views(parameters.parameterNode.GetScene()))
    for composite, view in views:
        labels = getattr(parameters, f"{SIDES[min(view.GetViewGroup(), 1)]}Labels")
        composite.SetLabelVolumeID(labels.GetID() if on and labels is not None else None)
        view.SetUseLabelOutline(True)
    for group, side in enumerate(SIDES):
        points = getattr(parameters, f"{side}Landmarks")
        if points is not None and points.GetDisplayNode() is not None:
            looks = points.GetDisplayNode()
            shown_in = [view.GetID() for _composite, view in views if min(view.GetViewGroup(), 1) == group]
            looks.SetViewNodeIDs(shown_in)
            looks.SetColor(*POINT_COLOR)
            looks.SetSelectedColor(*POINT_COLOR)
            looks.SetTextScale(2.5)
            looks.SetGlyphTypeFromString("CrossDot2D")
            looks.SetVisibility(on and bool(shown_in))  # an empty list means all views
