"""The legend beside a map: its colors, numbers, and what they mean.

Slicer shows the legend of a volume only where it is background, foreground or label, and the maps are a layer above
these. So the legend belongs to an empty model that has the colors of the map.
"""

from __future__ import annotations

from typing import Any

import slicer

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import outputs, uncertainty, unknown


def show(parameters: Any, shown: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Show the legend of the map that is shown, in the slice views of the deformed image, and no other.

    Args:
        parameters: The parameters of a registration.
        shown: The map; None for none.
    """
    scene = parameters.fixedVolume.GetScene()
    preview = _("Preview:\n") if outputs.is_preview(parameters) else ""
    silent = "" if outputs.has_contrast(parameters) else _("\nsays little")
    hatched = scene.GetSingletonNode(unknown.TAG, "vtkMRMLScalarVolumeNode")
    kinds = (
        ("SPRStiffnessLegend", parameters.weightVolume, preview + _("Stiffness\n1 stiff\n0 free") + silent, 1.0),
        ("SPRVolumeChangeLegend", parameters.jacobianVolume, preview + _("Volume\n> 1 grows\n< 1 shrinks"), 2.0),
        ("SPRUncertaintyLegend", parameters.uncertaintyVolume, *_of_uncertainty(parameters)),
        ("SPRUnknownLegend", hatched, unknown.title(), 1.0),
    )
    for tag, volume, title, highest in kinds:
        visible = parameters.showLegend and volume is not None and volume is shown
        carrier = scene.GetSingletonNode(tag, "vtkMRMLModelNode")
        if carrier is not None and carrier.GetDisplayNode() is None:  # a scene that is closed keeps singletons alone
            scene.RemoveNode(carrier)
            carrier = None
        if carrier is None and visible:
            carrier = _make_carrier(scene, tag)
        if carrier is not None:
            _set_legend(carrier, volume, title, highest, visible)


def _of_uncertainty(parameters: Any) -> tuple[str, float]:
    """Return the title of the legend of the uncertainty, and its highest number."""
    if not uncertainty.has_map(parameters):
        return "", 1.0
    title = _("Preview:\n") if uncertainty.is_preview(parameters) else ""
    title += _("Uncertainty\n(± mm)")
    if parameters.hatchAboveMm > 0:
        title += _("\nlines: above\n{limit:g} mm").format(limit=parameters.hatchAboveMm)
    return title, uncertainty.shown_end_mm(parameters)


def _make_carrier(scene: slicer.vtkMRMLScene, tag: str) -> slicer.vtkMRMLModelNode:
    """Add the empty model; it is not saved, since it can be made again."""
    carrier = slicer.vtkMRMLModelNode()
    carrier.SetSingletonTag(tag)
    carrier.SetName(tag)
    carrier.SetHideFromEditors(True)
    carrier.SetSaveWithScene(False)
    carrier = scene.AddNode(carrier)
    display = scene.AddNewNodeByClass("vtkMRMLModelDisplayNode")
    display.SetHideFromEditors(True)
    display.SetSaveWithScene(False)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetVisibility2D(True)  # the legend is shown where the model would be
    carrier.SetAndObserveDisplayNodeID(display.GetID())
    return carrier


def _set_legend(
    carrier: slicer.vtkMRMLModelNode,
    volume: slicer.vtkMRMLScalarVolumeNode | None,
    title: str,
    highest: float,
    visible: bool,
) -> None:
    display = carrier.GetDisplayNode()
    if visible:
        display.SetAndObserveColorNodeID(volume.GetDisplayNode().GetColorNodeID())
        display.SetScalarRange(0.0, highest)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(display)
    if legend is None:
        legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(display)
        _set_looks(legend)
    scene, views = carrier.GetScene(), []
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        view = scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        if view.GetViewGroup() == 0:
            views.append(view.GetID())
    legend.SetViewNodeIDs(views)
    legend.SetTitleText(title)
    if title == unknown.title():  # hatching has no numbers
        legend.GetLabelTextProperty().SetOpacity(0.0)
    legend.SetVisibility(visible)


def _set_looks(legend: slicer.vtkMRMLColorLegendDisplayNode) -> None:
    legend.SetHideFromEditors(True)
    legend.SetSaveWithScene(False)
    legend.SetLabelFormat("%.1f")
    legend.SetNumberOfLabels(6)
    legend.SetSize(0.06, 0.3)  # the letters follow from it, whatever the size of the font
    legend.SetPosition(0.98, 0.05)
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetFontFamilyToArial()
        text.SetFontSize(10)
        text.SetItalic(False)
        text.SetBold(False)
        text.SetShadow(True)
