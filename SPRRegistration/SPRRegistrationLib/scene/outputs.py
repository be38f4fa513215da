"""The result nodes of one registration: created once, only their voxels change afterwards.

During previews the deformed image shares the voxels of the moving one under the transform, so that Slicer reslices only
the visible slices. The exact result is resampled on the fixed grid. The moving image is never changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import colors, geometry

_AUTOMATIC_NAME = "SPRRegistration.Name"
_PREVIEW = "SPRRegistration.Preview"
_NO_CONTRAST = "SPRRegistration.NoContrast"
_LOOKS_OF = "SPRRegistration.LooksOf"

CLASSES = {
    "displacementTransform": "vtkMRMLGridTransformNode",
    "inverseTransform": "vtkMRMLGridTransformNode",
    "deformedVolume": "vtkMRMLScalarVolumeNode",
    "weightVolume": "vtkMRMLScalarVolumeNode",
    "jacobianVolume": "vtkMRMLScalarVolumeNode",
    "uncertaintyVolume": "vtkMRMLScalarVolumeNode",
}
"""The results, by the fields of the parameters that refer to them."""

CHOSEN = ("deformedVolume", "displacementTransform", "weightVolume")
"""Those for which the user can choose a node."""


def names(fixed: str, moving: str) -> dict[str, str]:
    """Return the names of the results, by the fields of the parameters, from those of the images."""
    pair = _("{moving} on {fixed}").format(moving=moving, fixed=fixed)
    words = {
        "displacementTransform": _("deformation"),
        "inverseTransform": _("inverse deformation"),
        "deformedVolume": _("deformed image"),
        "weightVolume": _("stiffness"),
        "jacobianVolume": _("change of volume"),
        "uncertaintyVolume": _("uncertainty, mm"),
    }
    return {field: f"{pair} ({word})" for field, word in words.items()}


def is_alive(parameters: Any) -> bool:
    """Return whether both images of a registration are in the scene."""
    volumes = (parameters.fixedVolume, parameters.movingVolume)
    return all(volume is not None and volume.GetScene() is not None for volume in volumes)


def mistaken(parameters: Any) -> list[str]:
    """Return the results for which a node is chosen that the registration reads, or that is another result."""
    taken = [parameters.fixedVolume, parameters.movingVolume, parameters.initialTransform]
    found = []
    for field in CHOSEN:
        node = getattr(parameters, field)
        if node is not None and node in taken:
            found.append(field)
        taken.append(node)
    return found


def is_own(node: slicer.vtkMRMLNode) -> bool:
    """Return whether a node was made for a result, and not chosen by the user."""
    return node.GetAttribute(_AUTOMATIC_NAME) is not None


def ensure(parameters: Any) -> None:
    """Create missing result nodes, and name them after the images; a name given by the user stays."""
    scene = parameters.fixedVolume.GetScene()
    tables = {"weightColors": colors.stiffness_colors(scene), "jacobianColors": colors.volume_change_colors(scene)}
    for field, table in tables.items():
        if getattr(parameters, field) is not table:
            setattr(parameters, field, table)
    for field in CLASSES:
        if field != "uncertaintyVolume":  # made when it is computed
            _ensure_node(parameters, field)
    for node in (parameters.displacementTransform, parameters.inverseTransform):
        geometry.make_linear(node)
    _ensure_looks(parameters)


def ensure_uncertainty(parameters: Any) -> None:
    """Create the node of the uncertainty, as `ensure`."""
    table = colors.uncertainty_colors(parameters.fixedVolume.GetScene())
    if parameters.uncertaintyColors is not table:
        parameters.uncertaintyColors = table
    _ensure_node(parameters, "uncertaintyVolume")
    volume = parameters.uncertaintyVolume
    if volume.GetDisplayNode() is None:
        volume.CreateDefaultDisplayNodes()
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())


def _ensure_node(parameters: Any, field: str) -> None:
    scene, node = parameters.fixedVolume.GetScene(), getattr(parameters, field)
    name = names(parameters.fixedVolume.GetName(), parameters.movingVolume.GetName())[field]
    if node is None or node.GetScene() is None:
        node = scene.AddNewNodeByClass(CLASSES[field], name)
        node.SetAttribute(_AUTOMATIC_NAME, node.GetName())
        setattr(parameters, field, node)
    elif node.GetName() == node.GetAttribute(_AUTOMATIC_NAME) != name:
        node.SetName(name)
        node.SetAttribute(_AUTOMATIC_NAME, name)


def is_preview(parameters: Any) -> bool:
    """Return whether the current maps are those of a preview."""
    volume = parameters.weightVolume
    return volume is not None and volume.GetAttribute(_PREVIEW) == "yes"


def note_contrast(parameters: Any, has_contrast: bool) -> None:
    """Note whether the stiffness map tells anatomy apart, for its legend."""
    parameters.weightVolume.SetAttribute(_NO_CONTRAST, None if has_contrast else "yes")


def has_contrast(parameters: Any) -> bool:
    """Return whether the stiffness map tells anatomy apart, as far as it is known."""
    volume = parameters.weightVolume
    return volume is None or volume.GetAttribute(_NO_CONTRAST) is None


def show_preview(parameters: Any, displacement: tuple, weight: tuple | None, exact: bool = False) -> None:
    """Show a deformation that may still change.

    Args:
        parameters: The parameters of the registration, with result nodes.
        displacement: Pull map in RAS mm, shape (X, Y, Z, 3), with its affine.
        weight: Relative stiffness, shape (X, Y, Z), with its affine; None if it is not known.
        exact: Whether it is the exact deformation, still without inverse and measures.
    """
    if weight is None:
        parameters.weightVolume.SetAndObserveImageData(None)
    else:
        geometry.set_image(parameters.weightVolume, *weight)
    parameters.weightVolume.SetAttribute(_PREVIEW, "no" if exact else "yes")
    show_deformation(parameters, *displacement)


def show_deformation(parameters: Any, field: np.ndarray, affine: np.ndarray) -> None:
    """Show a deformation with unknown stiffness.

    Args:
        parameters: The parameters of the registration, with result nodes.
        field: Pull map in RAS mm, shape (X, Y, Z, 3).
        affine: Its affine.
    """
    transform, inverse = parameters.displacementTransform, parameters.inverseTransform
    geometry.set_displacement(transform, field, affine)
    _see_through(parameters.deformedVolume, parameters.movingVolume, transform)
    # The inverse of the last exact result does not belong to it; this one is computed where it is used.
    if inverse.GetTransformToParentAs("vtkOrientedGridTransform", False) is not transform.GetTransformFromParent():
        inverse.SetAndObserveTransformToParent(transform.GetTransformFromParent())
    if parameters.showJacobian:
        refresh_jacobian(parameters)
    else:
        parameters.jacobianVolume.SetAndObserveImageData(None)


def show_result(parameters: Any, displacement: tuple, weight: tuple, inverse: tuple) -> None:
    """Show an exact result.

    Args:
        parameters: The parameters of the registration, with result nodes.
        displacement: Pull map on the fixed grid in RAS mm, shape (X, Y, Z, 3), with its affine.
        weight: Relative stiffness, shape (X, Y, Z), with its affine.
        inverse: Pull map from the moving to the fixed image, on the moving grid, with its affine.
    """
    geometry.set_displacement(parameters.displacementTransform, *displacement)
    geometry.set_displacement(parameters.inverseTransform, *inverse)
    geometry.set_image(parameters.weightVolume, *weight)
    parameters.weightVolume.SetAttribute(_PREVIEW, "no")
    refresh_jacobian(parameters)
    bake(parameters)


def bake(parameters: Any) -> None:
    """Put the deformed image on the grid of the fixed one, under no transform."""
    fixed, deformed = parameters.fixedVolume, parameters.deformedVolume
    moving, grid = parameters.movingVolume, geometry.grid_of(fixed)
    image = geometry.resliced(moving.GetImageData(), geometry.affine_of(moving), grid, parameters.displacementTransform)
    was_modifying = deformed.StartModify()
    deformed.SetAndObserveTransformNodeID(None)
    deformed.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    deformed.SetAndObserveImageData(image)
    deformed.EndModify(was_modifying)


def refresh_jacobian(parameters: Any) -> None:
    """Compute the change of volume of the current deformation."""
    shown = geometry.displacement_of(parameters.displacementTransform)
    if shown is not None:
        field, affine = shown
        geometry.set_image(parameters.jacobianVolume, geometry.jacobian_determinant(field, affine), affine)


def _see_through(
    deformed: slicer.vtkMRMLScalarVolumeNode,
    moving: slicer.vtkMRMLScalarVolumeNode,
    transform: slicer.vtkMRMLGridTransformNode,
) -> None:
    """Let the deformed image share the voxels of the moving one, under the transform."""
    if deformed.GetImageData() is moving.GetImageData() and deformed.GetParentTransformNode() is transform:
        return
    was_modifying = deformed.StartModify()
    deformed.SetAndObserveImageData(moving.GetImageData())
    deformed.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.affine_of(moving)))
    deformed.SetAndObserveTransformNodeID(transform.GetID())
    deformed.EndModify(was_modifying)


def _ensure_looks(parameters: Any) -> None:
    """Create the display nodes of the results; changes of the user stay, for the same image."""
    deformed, moving = parameters.deformedVolume, parameters.movingVolume
    is_new = deformed.GetDisplayNode() is None
    if is_new:
        deformed.CreateDefaultDisplayNodes()
    before = deformed.GetNodeReference(_LOOKS_OF)
    if before is not moving:  # a window for one image shows another one black or white
        if (is_new or before is not None) and moving.GetDisplayNode() is not None:
            deformed.GetDisplayNode().CopyContent(moving.GetDisplayNode())
        deformed.SetNodeReferenceID(_LOOKS_OF, moving.GetID())
    maps = {"weightVolume": (parameters.weightColors, 1.0), "jacobianVolume": (parameters.jacobianColors, 2.0)}
    for field, (table, highest) in maps.items():
        volume = getattr(parameters, field)
        is_chosen = field == "weightVolume" and volume.GetAttribute(_PREVIEW) is None  # with looks of its own, if any
        if is_chosen or volume.GetDisplayNode() is None:
            volume.CreateDefaultDisplayNodes()
            display = volume.GetDisplayNode()
            display.AutoWindowLevelOff()
            display.SetWindowLevelMinMax(0.0, highest)
            display.SetAndObserveColorNodeID(table.GetID())
