"""Section “Quality”: the verdict in words, the measures, what is under the mouse, and tables and charts on demand."""

from __future__ import annotations

import html

import numpy as np
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import messages, verdict
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import charts, display, geometry, inputs, outputs

BORDERS = {"good": "#2e7d32", "preview": "#6b7682", "check": "#c46a00", "bad": "#b3261e"}
"""Color of the left edge; the sign and the words say the same."""


class Quality(Section):
    """How good the deformation is that is shown."""

    def build(self) -> None:
        """Connect the buttons."""
        self._cursor = None
        self.ui.histogramButton.connect("clicked()", self.show_histogram)
        self.ui.segmentTableButton.connect("clicked()", self.show_segments)

    def attach(self) -> None:
        """Follow the mouse over the images."""
        self._follow()
        self.ui.segmentTableView.setMRMLTableNode(self.parameters.segmentTable)
        self.ui.segmentTableView.visible = self.parameters.segmentTable is not None

    def detach(self) -> None:
        """Leave the mouse alone."""
        if self._cursor is not None:
            self._cursor.remove()
            self._cursor = None

    def refresh(self) -> None:
        """Show the verdict on what is shown."""
        self._follow()
        shown = self._shown()
        has_result = outputs.is_alive(self.parameters) and self.parameters.weightVolume is not None
        is_known = has_result and self.parameters.weightVolume.GetImageData() is not None
        self.ui.histogramButton.enabled = is_known
        self.ui.segmentTableButton.enabled = is_known and not outputs.is_preview(self.parameters)
        if shown is None:
            self.ui.badgeLabel.text, self.ui.measuresLabel.text = _("No result yet."), ""
            self.ui.badgeLabel.setStyleSheet("")
            return
        badge = verdict.badge(shown)
        doubts = "".join(f"<br>{html.escape(doubt)}" for doubt in badge.doubts)
        self.ui.badgeLabel.text = f"<b>{verdict.SIGNS[badge.level]}&nbsp; {html.escape(badge.line)}</b>{doubts}"
        self.ui.badgeLabel.setStyleSheet(f"QLabel {{ border-left: 5px solid {BORDERS[badge.level]}; }}")
        rows = [(html.escape(name), html.escape(value)) for name, value in badge.details]
        cells = "".join(f"<tr><td>{name}&nbsp;&nbsp;</td><td>{value}</td></tr>" for name, value in rows)
        self.ui.measuresLabel.text = f"<table>{cells}</table>"

    def show_histogram(self) -> None:
        """Show the histogram of the stiffness beside the views."""
        charts.update_histogram(self.parameters)
        show_chart(self.parameters.histogramChart)

    def show_segments(self) -> None:
        """List measures of each segment of the fixed image."""
        charts.update_segment_table(self.parameters)
        self.ui.segmentTableView.setMRMLTableNode(self.parameters.segmentTable)
        self.ui.segmentTableView.visible = self.parameters.segmentTable is not None

    def _shown(self) -> verdict.Shown | None:
        """Return what there is to judge: live from the worker, or as it was saved with the scene."""
        parameters, session = self.parameters, self.session
        extent_mm = inputs.extent_mm(parameters.fixedVolume)
        if session is None or session.shown is None:
            return verdict.of_report(parameters.quality, parameters.report, extent_mm)
        return verdict.of_result(session.shown, session.opened, extent_mm)

    def _follow(self) -> None:
        if self._cursor is None and self.parameters.fixedVolume is not None:
            self._cursor = display.LinkedCursor(self.parameters, self._moved)

    def _moved(self, place: tuple[float, float, float] | None) -> None:
        if place is None or self.parameters is None or self.parameters.displacementTransform is None:
            self.ui.cursorLabel.text = _("Move the mouse over a slice view to read the stiffness and the displacement.")
            return
        (there,) = geometry.moved_points(self.parameters.displacementTransform, [place])
        length = float(np.linalg.norm(there - np.array(place)))
        self.ui.cursorLabel.text = _("Under the mouse: {values}").format(
            values=messages.cursor(value_at(self.parameters.weightVolume, place), length)
        )


def show_chart(chart: slicer.vtkMRMLPlotChartNode | None) -> None:
    """Show a chart beside the views."""
    if chart is not None and hasattr(slicer.modules, "plots"):
        slicer.modules.plots.logic().ShowChartInLayout(chart)


def value_at(volume: slicer.vtkMRMLScalarVolumeNode | None, place: tuple[float, float, float]) -> float | None:
    """Return the voxel of a volume at a place in RAS mm; None outside of it."""
    if volume is None or volume.GetImageData() is None:
        return None
    array, affine = geometry.image_of(volume)
    index = np.rint(np.linalg.solve(affine, [*place, 1.0])[:3]).astype(int)
    inside = (index >= 0).all() and (index < array.shape).all()
    return float(array[tuple(index)]) if inside else None
