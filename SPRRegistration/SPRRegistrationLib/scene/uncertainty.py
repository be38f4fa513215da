"""The uncertainty of the displacement in the scene: its map, and its values at points, segments and landmarks.

It is one standard deviation of the displacement, in mm, on a coarse grid over the field of view of the fixed image. The
map is always that of the deformation that is shown: it is removed with the next one of another setting.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import slicer
import slicer.util
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import geometry, inputs, outputs, unknown

HATCHING = "SPRUncertaintyHatching"
SCALARS = "Uncertainty (mm)"
"""Name of the point data of deformed models."""

_PREVIEW = "SPRRegistration.Preview"
_WORDS = "SPRRegistration.Uncertainty"
_ENDS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100, 200)


def show(parameters: Any, array: np.ndarray, affine: np.ndarray, p95_mm: float, exact: bool) -> None:
    """Put a map into the scene.

    Args:
        parameters: The parameters of a registration with a result.
        array: One standard deviation of the displacement in mm, shape (X, Y, Z).
        affine: Matrix from its indices to RAS mm.
        p95_mm: The value below which 95 % of the image are; the colors end at a round number above.
        exact: Whether it is that of an exact result; otherwise that of a preview.
    """
    outputs.ensure_uncertainty(parameters)
    volume = parameters.uncertaintyVolume
    geometry.set_image(volume, np.ascontiguousarray(array), affine)
    volume.SetAttribute(_PREVIEW, "no" if exact else "yes")
    volume.GetDisplayNode().SetWindowLevelMinMax(0.0, end_mm(p95_mm))


def clear(parameters: Any) -> bool:
    """Remove the map, because another deformation is shown; return whether there was one."""
    had_map = has_map(parameters)
    if had_map:
        parameters.uncertaintyVolume.SetAndObserveImageData(None)
    return had_map


def has_map(parameters: Any) -> bool:
    """Return whether the uncertainty of the deformation that is shown is in the scene."""
    volume = parameters.uncertaintyVolume
    return volume is not None and volume.GetScene() is not None and volume.GetImageData() is not None


def is_preview(parameters: Any) -> bool:
    """Return whether the map is that of a preview."""
    return has_map(parameters) and parameters.uncertaintyVolume.GetAttribute(_PREVIEW) == "yes"


def has_exact_map(parameters: Any) -> bool:
    """Return whether there is a map, of an exact result."""
    return has_map(parameters) and not is_preview(parameters)


def shown_end_mm(parameters: Any) -> float:
    """Return the value in mm at which the colors of the map end; 0 without a map."""
    return parameters.uncertaintyVolume.GetDisplayNode().GetWindowLevelMax() if has_map(parameters) else 0.0


def end_mm(p95_mm: float) -> float:
    """Return the round number at which the colors end."""
    return float(next((end for end in _ENDS if end >= p95_mm), _ENDS[-1]))


def values_mm(parameters: Any, points: np.ndarray) -> np.ndarray:
    """Return the uncertainty at points in RAS mm, shape (N, 3), interpolated linearly.

    Returns:
        Values in mm, shape (N,); NaN without a map, and for points outside of the fixed image.
    """
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    if not has_map(parameters):
        return np.full(len(points), np.nan)
    volume = parameters.uncertaintyVolume
    array, affine = slicer.util.arrayFromVolume(volume).transpose(2, 1, 0), geometry.affine_of(volume)
    values = _linear(array, affine, points)
    values[~geometry.is_inside(array.shape, affine, points)] = np.nan
    return values


def hatching(parameters: Any) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return lines over the image where the uncertainty is above `hatchAboveMm`; None without limit or map."""
    limit = parameters.hatchAboveMm
    if limit <= 0 or not parameters.showUncertainty or not has_map(parameters):
        return None
    volume = parameters.uncertaintyVolume
    token = f" {limit:.3f} {volume.GetID()} {volume.GetImageData().GetMTime()}"
    title = _("Uncertainty above {limit:g} mm").format(limit=limit)

    def is_above(points: np.ndarray) -> np.ndarray:
        return np.nan_to_num(values_mm(parameters, points)) > limit

    return unknown.volume_where(parameters.fixedVolume, HATCHING, title, token, is_above)


def of_segments(parameters: Any, segments: Any) -> dict[str, float]:
    """Return the median uncertainty in mm of each segment that has voxels in the fixed image.

    Args:
        parameters: The parameters of the registration.
        segments: Segmentation or label map in the space of the fixed image.
    """
    numbers: dict[str, int] = {}
    labels, affine = inputs.label_map(segments, parameters.fixedVolume, numbers)
    found = {}
    for name, number in numbers.items():
        values = values_mm(parameters, np.argwhere(labels == number) @ affine[:3, :3].T + affine[:3, 3])
        if np.isfinite(values).any():
            found[name] = float(np.nanmedian(values))
    return found


def attach(parameters: Any, node: slicer.vtkMRMLTransformableNode) -> None:
    """Add the uncertainty to a deformed copy in the space of the fixed image.

    Models are colored by it; control points get it as their description. Outlines of segments cannot have colors that
    vary, so the medians of the segments are in the description of the node.

    Args:
        parameters: The parameters of the registration that deformed it.
        node: The copy; images are left as they are.
    """
    words = ""
    if not has_map(parameters):
        return
    if node.IsA("vtkMRMLModelNode"):
        words = _color_model(parameters, node)
    elif node.IsA("vtkMRMLMarkupsNode"):
        values = values_mm(parameters, slicer.util.arrayFromMarkupsControlPoints(node, world=True))
        for index, value in enumerate(values):
            if np.isfinite(value):
                node.SetNthControlPointDescription(index, _("± {:.1f} mm").format(value))
        words = _range(values)
    elif node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        medians = of_segments(parameters, node)
        words = ", ".join(
            _("{name} ± {value:.1f} mm").format(name=name, value=value) for name, value in medians.items()
        )
    if words:
        words = _("Uncertainty (one standard deviation): {values}.").format(values=words)
        node.SetDescription(words)
        node.SetAttribute(_WORDS, words)


def words_about(node: slicer.vtkMRMLTransformableNode) -> str:
    """Return the uncertainty of a deformed copy in a sentence; empty if it is not known."""
    return node.GetAttribute(_WORDS) or ""


def _color_model(parameters: Any, model: slicer.vtkMRMLModelNode) -> str:
    mesh = model.GetMesh()
    values = values_mm(parameters, vtk_to_numpy(mesh.GetPoints().GetData()))
    scalars = numpy_to_vtk(np.nan_to_num(values).astype(np.float32), deep=True)
    scalars.SetName(SCALARS)
    model.AddPointScalars(scalars)
    if model.GetDisplayNode() is None:
        model.CreateDefaultDisplayNodes()
    display, shown = model.GetDisplayNode(), parameters.uncertaintyVolume.GetDisplayNode()
    display.SetActiveScalar(SCALARS, 0)  # of points
    display.SetAndObserveColorNodeID(shown.GetColorNodeID())
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(0.0, shown.GetWindowLevelMax())
    display.SetScalarVisibility(True)
    return _range(values)


def _range(values: np.ndarray) -> str:
    if not np.isfinite(values).any():
        return ""
    text = _("± {:.1f} mm (median), up to ± {:.1f} mm")
    return text.format(float(np.nanmedian(values)), float(np.nanmax(values)))


def _linear(array: np.ndarray, affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate between voxel centers; beyond the outermost ones their values are repeated."""
    voxels = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    last = np.array(array.shape) - 1
    voxels = np.clip(voxels, 0, last)
    low = np.minimum(voxels.astype(int), np.maximum(last - 1, 0))
    part = voxels - low
    values = np.zeros(len(points))
    for corner in itertools.product((0, 1), repeat=3):
        share = np.prod(np.where(corner, part, 1.0 - part), axis=1)
        values += share * array[tuple(np.minimum(low + corner, last).T)]
    return values
