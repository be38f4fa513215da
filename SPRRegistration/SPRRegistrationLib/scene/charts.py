"""Numbers of a registration as tables and charts of the scene: histogram, settings map, measures of each segment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import geometry, inputs, uncertainty

BINS = 50

_MEASURES = ("similarity", "folding_percent", "max_displacement_mm", "dice_mean", "tre_mm")
_PAIR = ("fixedVolume", "movingVolume")
_METHOD = "SPRRegistration.method"


def update_histogram(parameters: Any) -> None:
    """Draw how often each relative stiffness occurs.

    Args:
        parameters: The parameters of a registration; which get references to table, series and chart.
    """
    volume = parameters.weightVolume
    if volume is None or volume.GetImageData() is None:
        return
    percent = shares_of(volume, BINS)
    name = volume.GetName()
    table = _ensure(parameters, "histogramTable", "vtkMRMLTableNode", _("{name}: histogram").format(name=name))
    stiffness, share = _("Stiffness (0 free, 1 stiff)"), _("Part of the image (percent)")
    _fill(table, {stiffness: (np.arange(BINS) + 0.5) / BINS, share: percent})
    series = _ensure(parameters, "histogramSeries", "vtkMRMLPlotSeriesNode", _("Stiffness"))
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(stiffness)
    series.SetYColumnName(share)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatterBar)
    series.SetColor(0.49, 0.10, 0.53)
    chart = _ensure(parameters, "histogramChart", "vtkMRMLPlotChartNode", _("{name}: histogram").format(name=name))
    chart.SetTitle(_("How much of the image is free, how much is stiff"))
    chart.SetXAxisTitle(stiffness)
    chart.SetYAxisTitle(share)
    chart.SetLegendVisibility(False)
    if chart.GetNumberOfPlotSeriesNodes() == 0:
        chart.AddAndObservePlotSeriesNodeID(series.GetID())


def shares_of(volume: slicer.vtkMRMLScalarVolumeNode, bins: int, most: int | None = None) -> np.ndarray:
    """Return a histogram of a map from 0 to 1, in percent.

    Args:
        volume: The map, such as that of the stiffness.
        bins: Number of intervals.
        most: Number of voxels to subsample to; None for all.
    """
    values = slicer.util.arrayFromVolume(volume).ravel()
    values = values[:: max(1, len(values) // most)] if most else values
    counts, _edges = np.histogram(values, bins=bins, range=(0.0, 1.0))
    return 100.0 * counts / max(counts.sum(), 1)


def update_map(parameters: Any, points: Sequence[Any]) -> None:
    """Keep the settings map in a table, so that it is saved with the scene.

    Args:
        parameters: The parameters of a registration; which get a reference to the table.
        points: The `SweepPoint`s of the worker.
    """
    if not points:
        return
    names = list(points[0].setting)
    columns = {name: np.array([point.setting[name] for point in points]) for name in names}
    for measure in _MEASURES:
        values = [getattr(point if hasattr(point, measure) else point.quality, measure) for point in points]
        columns[measure] = np.array([np.nan if value is None else value for value in values], dtype=float)
    pair = parameters.fixedVolume.GetName()
    table = _ensure(parameters, "mapTable", "vtkMRMLTableNode", _("{name}: settings map").format(name=pair))
    _fill(table, columns)
    table.SetAttribute(_METHOD, parameters.method)
    for field in _PAIR:
        table.SetNodeReferenceID(field, getattr(parameters, field).GetID())


def saved_points(parameters: Any) -> list[Any]:
    """Return the settings map saved with the scene, if it belongs to the chosen images and method.

    Args:
        parameters: The parameters of a registration.

    Returns:
        Points like `protocol.SweepPoint`, with setting and measures; empty for no such map.
    """
    table = parameters.mapTable
    if table is None or table.GetAttribute(_METHOD) != parameters.method:
        return []
    if any(table.GetNodeReference(field) is not getattr(parameters, field) for field in _PAIR):
        return []
    columns = {
        name: [None if np.isnan(value) else value for value in values] for name, values in _columns(table).items()
    }
    points = []
    for row in range(table.GetNumberOfRows()):
        measures = {name: values[row] for name, values in columns.items() if name in _MEASURES}
        setting = {name: values[row] for name, values in columns.items() if name not in _MEASURES}
        points.append(SimpleNamespace(setting=setting, **measures))
    return points


def update_tables(parameters: Any, with_segments: bool = True) -> None:
    """Measure again what was listed: landmarks, and segments, which only exact results have (`with_segments`)."""
    if with_segments and parameters.segmentTable is not None:
        update_segment_table(parameters)
    if parameters.landmarkTable is not None:
        update_landmark_table(parameters)


def update_segment_table(parameters: Any) -> None:
    """List stiffness, displacement, change of volume and overlap of each segment of the fixed image.

    Args:
        parameters: The parameters of a registration with a result; which get a reference to the table.
    """
    shown = None
    if parameters.displacementTransform is not None:
        shown = geometry.displacement_of(parameters.displacementTransform)
    weight = parameters.weightVolume
    if parameters.fixedLabels is None or shown is None or weight is None or weight.GetImageData() is None:
        return
    numbers: dict[str, int] = {}
    labels, affine = inputs.label_map(parameters.fixedLabels, parameters.fixedVolume, numbers)
    rows = []
    for name, number in numbers.items():
        points = np.argwhere(labels == number) @ affine[:3, :3].T + affine[:3, 3]
        voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
        rows.append([name, len(points) * voxel_ml, *_of_segment(parameters, shown, points), _dice(parameters, number)])
    titles = (
        *(_("Segment"), _("Volume (ml)"), _("Stiffness, median"), _("Displacement, mean (mm)")),
        *(_("Displacement, largest (mm)"), _("Change of volume, mean"), _("Folded (percent)"), _("Overlap (Dice)")),
    )
    if uncertainty.has_map(parameters):
        titles += (_("Displacement, ± mm"),)
        medians = uncertainty.of_segments(parameters, parameters.fixedLabels)
        rows = [[*row, medians.get(row[0], np.nan)] for row in rows]
    name = _("{name}: segments").format(name=parameters.fixedVolume.GetName())
    table = _ensure(parameters, "segmentTable", "vtkMRMLTableNode", name)
    _fill(table, {title: [row[k] for row in rows] for k, title in enumerate(titles)})


def update_landmark_table(parameters: Any) -> None:
    """List the distance of each pair of landmarks after the deformation, with the uncertainty of the displacement.

    Args:
        parameters: The parameters of a registration with a result; which get a reference to the table.
    """
    fixed, moving, transform = parameters.fixedLandmarks, parameters.movingLandmarks, parameters.displacementTransform
    if None in (fixed, moving, transform) or geometry.displacement_of(transform) is None:
        return
    points, there = geometry.points_of(fixed), geometry.points_of(moving)
    count = min(len(points), len(there))
    if count == 0:
        return
    apart = np.linalg.norm(geometry.moved_points(transform, points[:count]) - there[:count], axis=1)
    columns = {
        _("Landmark"): [fixed.GetNthControlPointLabel(index) or str(index + 1) for index in range(count)],
        _("Distance (mm)"): apart,
        _("± mm"): uncertainty.values_mm(parameters, points[:count]),
    }
    name = _("{name}: landmarks").format(name=parameters.fixedVolume.GetName())
    _fill(_ensure(parameters, "landmarkTable", "vtkMRMLTableNode", name), columns)


def _of_segment(parameters: Any, shown: tuple, points: np.ndarray) -> list[float]:
    """Median stiffness, mean and largest displacement, mean change of volume and folded percent at points."""
    field, affine = shown
    weight = slicer.util.arrayFromVolume(parameters.weightVolume).transpose(2, 1, 0)
    stiffness = geometry.values_at(weight, geometry.affine_of(parameters.weightVolume), points)
    moves = np.linalg.norm(geometry.values_at(field, affine, points), axis=-1)
    changes = geometry.values_at(geometry.jacobian_determinant(field, affine), affine, points)
    if not np.isfinite(moves).any():
        return [np.nan] * 5
    folded = 100.0 * (changes[np.isfinite(changes)] <= 0).mean()
    return [np.nanmedian(stiffness), np.nanmean(moves), np.nanmax(moves), np.nanmean(changes), folded]


def _dice(parameters: Any, number: int) -> float:
    """Overlap of a segment after the last exact result; NaN if it was not measured."""
    report = json.loads(parameters.report) if parameters.report else {}
    return float(report.get("metrics", {}).get("after", {}).get("dice", {}).get(str(number), np.nan))


def _ensure(parameters: Any, field: str, class_name: str, name: str) -> Any:
    node = getattr(parameters, field)
    if node is None or node.GetScene() is None:
        node = parameters.fixedVolume.GetScene().AddNewNodeByClass(class_name, name)
        setattr(parameters, field, node)
    return node


def _fill(table: slicer.vtkMRMLTableNode, columns: dict[str, Sequence]) -> None:
    """Replace the columns of a table, as one change."""
    was_modifying = table.StartModify()
    table.RemoveAllColumns()
    table.SetUseColumnTitleAsColumnHeader(True)  # otherwise views show letters as headers
    table.SetLocked(True)
    for name, values in columns.items():
        is_text = len(values) > 0 and isinstance(values[0], str)
        column = vtk.vtkStringArray() if is_text else vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    table.EndModify(was_modifying)


def _columns(table: slicer.vtkMRMLTableNode) -> dict[str, list]:
    arrays = [table.GetTable().GetColumn(index) for index in range(table.GetNumberOfColumns())]
    return {array.GetName(): [array.GetValue(row) for row in range(array.GetNumberOfValues())] for array in arrays}
