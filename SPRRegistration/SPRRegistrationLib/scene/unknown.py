"""Gray hatching over the images: where the stiffness map is not known, and where the uncertainty is above a limit.

An empty layer of the stiffness map would mean stiff, which is transparent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import geometry

TAG = "SPRUnknownStiffness"
STRIPES = 14
"""Along the longest side of the image."""

_VOXELS = 168  # along it: twelve for a stripe and its gap, so that the lines look straight
_LINE = 0.17  # part of the distance of two lines that a line is wide: two voxels
_GRAY = 0.8
ON = 200
"""Of a voxel on a line; 0 elsewhere."""
_OF = "SPRRegistration.Image"


def title() -> str:
    """Return what the hatching means."""
    return _("Stiffness map:\nafter the\nexact result")


def volume_over(fixed: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Return the hatching over an image; it is the same node for all, made again for each image, and not saved.

    Args:
        fixed: The image.
    """
    return volume_where(fixed, TAG, title().replace("\n", " "))


def volume_where(
    fixed: slicer.vtkMRMLScalarVolumeNode,
    tag: str,
    name: str,
    token: str = "",
    is_hatched: Callable[[np.ndarray], np.ndarray] | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Return hatching over a part of an image, not saved.

    Args:
        fixed: The image.
        tag: Singleton tag of the node, which is the same for all images.
        name: What the hatching means, in one line.
        token: Identifies the part, with the extent of the image: the node is filled again if it changes.
        is_hatched: Tells which points (RAS mm, shape (N, 3)) are in the part; None for the whole image.
    """
    scene = fixed.GetScene()
    node = scene.GetSingletonNode(tag, "vtkMRMLScalarVolumeNode")
    if node is not None and node.GetDisplayNode() is None:  # a scene that is closed keeps singletons alone
        scene.RemoveNode(node)
        node = None
    node = node or _make(scene, tag)
    _name_colors(scene, tag, name)
    bounds = [0.0] * 6
    fixed.GetRASBounds(bounds)
    extent = " ".join(f"{value:.3f}" for value in bounds) + token
    if node.GetAttribute(_OF) != extent or node.GetImageData() is None:
        lines, affine = stripes(np.array(bounds).reshape(3, 2))
        if is_hatched is not None:
            voxels = np.argwhere(lines)
            outside = voxels[~is_hatched(voxels @ affine[:3, :3].T + affine[:3, 3])]
            lines[tuple(outside.T)] = 0
        geometry.set_image(node, lines, affine)
        node.SetAttribute(_OF, extent)
    return node


def stripes(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return planes that cut each slice of a box in oblique lines.

    Args:
        ends: Least and greatest coordinate along each axis, RAS mm, shape (3, 2).

    Returns:
        `ON` on the planes and 0 between them, shape (X, Y, Z), and the matrix from its indices to RAS mm.
    """
    sizes = np.maximum(ends[:, 1] - ends[:, 0], 1e-3)
    step = sizes.max() / _VOXELS
    shape = np.maximum(np.ceil(sizes / step).astype(int), 1)
    affine = np.diag([*(sizes / shape), 1.0])
    affine[:3, 3] = ends[:, 0] + 0.5 * sizes / shape
    x, y, z = np.ogrid[tuple(slice(0, size) for size in shape)]
    sum_mm = x * affine[0, 0] + y * affine[1, 1] + z * affine[2, 2]
    part = (sum_mm * STRIPES / sizes.max()) % 1.0
    return np.where(part < _LINE, np.uint8(ON), np.uint8(0)), affine


def _make(scene: slicer.vtkMRMLScene, tag: str) -> slicer.vtkMRMLScalarVolumeNode:
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetSingletonTag(tag)
    node.SetName(tag)
    node = _hidden(scene.AddNode(node))
    node.CreateDefaultDisplayNodes()
    display = _hidden(node.GetDisplayNode())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, ON)
    display.SetThreshold(0.5 * ON, ON)  # above 1: VTK rounds it to the numbers of the image
    display.SetApplyThreshold(True)
    display.SetAndObserveColorNodeID(_colors(scene, tag).GetID())
    return node


def _colors(scene: slicer.vtkMRMLScene, tag: str) -> slicer.vtkMRMLColorTableNode:
    table = scene.GetSingletonNode(f"{tag}Colors", "vtkMRMLColorTableNode")
    if table is None:
        table = slicer.vtkMRMLColorTableNode()
        table.SetSingletonTag(f"{tag}Colors")
        table.SetName(f"{tag}Colors")
        table = _hidden(scene.AddNode(table))
    table.SetTypeToUser()
    table.SetNumberOfColors(2)
    return table


def _name_colors(scene: slicer.vtkMRMLScene, tag: str, name: str) -> None:
    """Name the colors, since the data probe shows their names under the mouse."""
    table = scene.GetSingletonNode(f"{tag}Colors", "vtkMRMLColorTableNode") or _colors(scene, tag)
    if table.GetColorName(1) != name:
        for index in range(2):
            table.SetColor(index, name, _GRAY, _GRAY, _GRAY, 1.0)


def _hidden(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLNode:
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return node
