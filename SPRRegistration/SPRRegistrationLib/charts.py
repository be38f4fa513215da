"""Numbers of a registration as tables and charts of the scene: histogram, settings map, measures of each segment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from . import colors, geometry, inputs
from .i18n import tr as _

BINS = 50
SHADES = 6
"""Series that the settings map is drawn with, one for each shade of its color."""

_MEASURES = ("lncc", "folding_percent", "max_displacement_mm", "dice_mean", "tre_mm")


def update_histogram(parameters: Any) -> None:
    """Draw how often each relative stiffness occurs.

    Args:
        parameters: The parameters of a registration; they come to refer to table, series and chart.
    """
    volume = parameters.weightVolume
    if volume is None or volume.GetImageData() is None:
        return
    counts, edges = np.histogram(slicer.util.arrayFromVolume(volume), bins=BINS, range=(0.0, 1.0))
    percent = 100.0 * counts / max(counts.sum(), 1)
    name = volume.GetName()
    table = _ensure(parameters, "histogramTable", "vtkMRMLTableNode", _("{name}: histogram").format(name=name))
    stiffness, share = _("Stiffness (0 free, 1 stiff)"), _("Part of the image (percent)")
    _fill(table, {stiffness: (edges[1:] + edges[:-1]) / 2, share: percent})
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


def update_map(parameters: Any, points: Sequence[Any]) -> None:
    """Keep the settings map in a table, so that it is saved with the scene, and draw the chosen measure as a chart.

    Each point is a square whose color says how good the setting is: bright is good.

    Args:
        parameters: The parameters of a registration; they come to refer to table and chart.
        points: The `Point`s of the worker.
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
    _draw_map(parameters, table, columns, names)


def setting_at(parameters: Any, series_id: str, row: int) -> dict[str, float] | None:
    """Return the setting of a square that was clicked.

    Args:
        parameters: The parameters of a registration with a settings map.
        series_id: Identifier of the series node, as the plot view's `dataSelected` gives it.
        row: Number of the point in it.

    Returns:
        Hyperparameters by the worker's names; None if there is no such square.
    """
    node = parameters.fixedVolume.GetScene().GetNodeByID(series_id)
    table = None if node is None else node.GetTableNode()
    if table is None or not 0 <= row < table.GetNumberOfRows():
        return None
    known = set(_columns(parameters.mapTable)) if parameters.mapTable is not None else set()
    return {name: values[row] for name, values in _columns(table).items() if name in known and name not in _MEASURES}


def update_segment_table(parameters: Any) -> None:
    """List stiffness, displacement, change of volume and overlap of each segment of the fixed image.

    Args:
        parameters: The parameters of a registration with a result; they come to refer to the table.
    """
    shown = None
    if parameters.displacementTransform is not None:
        shown = geometry.displacement_of(parameters.displacementTransform)
    if parameters.fixedLabels is None or shown is None or parameters.weightVolume.GetImageData() is None:
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
    name = _("{name}: segments").format(name=parameters.fixedVolume.GetName())
    table = _ensure(parameters, "segmentTable", "vtkMRMLTableNode", name)
    _fill(table, {title: [row[k] for row in rows] for k, title in enumerate(titles)})


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


def _draw_map(parameters: Any, table: slicer.vtkMRMLTableNode, columns: dict, names: list[str]) -> None:
    measure = parameters.mapMeasure.value
    values = columns[measure] if measure in ("lncc", "dice_mean") else -columns[measure]
    chart = _ensure(parameters, "mapChart", "vtkMRMLPlotChartNode", table.GetName())
    chart.SetTitle(parameters.mapMeasure.label())
    chart.SetXAxisTitle(names[-1])
    chart.SetYAxisTitle(names[0] if names[1:] else parameters.mapMeasure.label())
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    shades = np.where(known, np.floor((values - low) / max(high - low, 1e-12) * (SHADES - 1e-6)), -1)
    for shade in range(SHADES):
        chosen = shades == shade
        series = _series(parameters, chart, shade)
        shown = {name: columns[name][chosen] for name in (*names, measure)}
        _fill(series.GetTableNode(), shown)
        series.SetXColumnName(names[-1])
        series.SetYColumnName(names[0] if names[1:] else measure)
        original = columns[measure][chosen]
        series.SetName(f"{original.min():.3g} - {original.max():.3g}" if chosen.any() else _("none"))


def _series(parameters: Any, chart: slicer.vtkMRMLPlotChartNode, shade: int) -> slicer.vtkMRMLPlotSeriesNode:
    """Find or make the series of one shade, and its table."""
    if shade < chart.GetNumberOfPlotSeriesNodes():
        return chart.GetNthPlotSeriesNode(shade)
    scene = chart.GetScene()
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode")
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{chart.GetName()} {shade + 1}")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleSquare)
    series.SetMarkerSize(25)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
    color = [0.0, 0.0, 0.0, 0.0]
    best_is_bright = round((SHADES - 1 - shade) / (SHADES - 1) * (colors.SIZE - 1))
    colors.stiffness_colors(scene).GetColor(best_is_bright, color)
    series.SetColor(*color[:3])
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return series


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
