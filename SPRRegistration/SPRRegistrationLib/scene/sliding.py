"""Surfaces of the segments of the fixed image in 3-D, colored by how far tissue slides along them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from SPRCore.errors import InputError
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import colors, geometry, inputs

SCALAR = "slide (mm)"
"""Name of the values at the points of the models."""

_SCRIPT = Path(__file__).parents[1] / "sliding_main.py"
_OWNER = "SPRRegistration.Sliding"
_LEAST_RANGE_MM = 2.0  # of the colors, so that noise is not shown as sliding


def show_sliding(parameters: Any, python: str) -> list[slicer.vtkMRMLModelNode]:
    """Measure sliding at the segments of the fixed image, and show it as models with a legend; waits some seconds.

    Args:
        parameters: The parameters of a registration with a result and segments.
        python: The Python that can load PyTorch, as for the worker.

    Returns:
        A model for each segment, in the place of those of an earlier result; empty without a result or segments.

    Raises:
        InputError: It could not be measured.
    """
    transform = parameters.displacementTransform
    shown = None if transform is None else geometry.displacement_of(transform)
    if shown is None or parameters.fixedLabels is None:
        return []
    numbers: dict[str, int] = {}
    labels, labels_affine = inputs.label_map(parameters.fixedLabels, parameters.fixedVolume, numbers)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        given = {"displacement": shown[0], "affine": shown[1], "labels": labels, "labels_affine": labels_affine}
        np.savez(folder / "input.npz", **given)
        done = subprocess.run([python, str(_SCRIPT), scratch], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(_("sliding"), got=last, remedy=_("press Apply, and look at the log"))
        surfaces = {name: folder / f"{number}.vtk" for name, number in numbers.items()}
        parts = {name: _read(path) for name, path in surfaces.items() if path.is_file()}
    return _show(parameters, parts)


def _read(path: Path) -> vtk.vtkPolyData:
    """Read a surface, with its points turned from LPS to RAS."""
    reader = vtk.vtkPolyDataReader()
    reader.SetFileName(str(path))
    turn = vtk.vtkTransform()
    turn.Scale(-1.0, -1.0, 1.0)
    turned = vtk.vtkTransformPolyDataFilter()
    turned.SetTransform(turn)
    turned.SetInputConnection(reader.GetOutputPort())
    turned.Update()
    surface = turned.GetOutput()
    surface.GetPointData().GetScalars().SetName(SCALAR)
    return surface


def _show(parameters: Any, parts: dict[str, vtk.vtkPolyData]) -> list[slicer.vtkMRMLModelNode]:
    scene, owner = parameters.fixedVolume.GetScene(), parameters.fixedVolume.GetID()
    for node in slicer.util.getNodesByClass("vtkMRMLModelNode", scene):
        if node.GetAttribute(_OWNER) == owner:
            scene.RemoveNode(node)
    table = colors.stiffness_colors(scene)
    highest = max([_LEAST_RANGE_MM, *(_largest(part) for part in parts.values())])
    models = []
    for name, surface in parts.items():
        model = scene.AddNewNodeByClass("vtkMRMLModelNode", _("{segment}: sliding").format(segment=name))
        model.SetAttribute(_OWNER, owner)
        model.SetAndObservePolyData(surface)
        model.CreateDefaultDisplayNodes()
        display = model.GetDisplayNode()
        display.SetActiveScalarName(SCALAR)
        display.SetAndObserveColorNodeID(table.GetID())
        display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
        display.SetScalarRange(0.0, highest)
        display.SetScalarVisibility(True)
        models.append(model)
    if models:
        legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(models[0].GetDisplayNode())
        legend.SetTitleText(_("Slide (mm)"))
        legend.SetLabelFormat("%.1f")
        legend.SetVisibility(parameters.showLegend)
    return models


def _largest(surface: vtk.vtkPolyData) -> float:
    """95th percentile of the slide of a surface in mm; 0 where nothing was measured."""
    from vtk.util.numpy_support import vtk_to_numpy

    values = vtk_to_numpy(surface.GetPointData().GetScalars())
    values = values[np.isfinite(values)]
    return float(np.percentile(values, 95)) if len(values) else 0.0
