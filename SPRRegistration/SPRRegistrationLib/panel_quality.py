"""Section “Quality”: the verdict in words, the measures, what is under the mouse, and tables and charts on demand."""

from __future__ import annotations

import html
import json

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import charts, display, geometry, outputs, words
from .panel_section import Section

SIGNS = {"good": "✓", "check": "⚠", "bad": "✕"}
BORDERS = {"good": "#2e7d32", "check": "#c46a00", "bad": "#b3261e"}
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
        quality, metrics = self._measures()
        has_result = outputs.is_alive(self.parameters) and self.parameters.weightVolume is not None
        self.ui.histogramButton.enabled = self.ui.segmentTableButton.enabled = has_result
        if quality is None:
            self.ui.badgeLabel.text, self.ui.measuresLabel.text = _("No result yet."), ""
            self.ui.badgeLabel.setStyleSheet("")
            return
        badge = words.badge(quality, metrics)
        self.ui.badgeLabel.text = f"<b>{SIGNS[badge.level]}&nbsp; {html.escape(badge.line)}</b>"
        self.ui.badgeLabel.setStyleSheet(f"QLabel {{ border-left: 5px solid {BORDERS[badge.level]}; }}")
        rows = [detail.split(": ", 1) for detail in badge.details]
        cells = "".join(f"<tr><td>{html.escape(a)}&nbsp;&nbsp;</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
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

    def _measures(self) -> tuple[dict | None, dict | None]:
        """Return the measures of what is shown: live from the worker, or as they were saved with the scene."""
        shown = None if self.session is None else self.session.shown
        if shown is not None:
            return vars(shown.quality), shown.metrics.get("after")
        if not self.parameters.quality:
            return None, None
        report = json.loads(self.parameters.report) if self.parameters.report else {}
        return json.loads(self.parameters.quality), report.get("metrics", {}).get("after")

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
            values=words.cursor(value_at(self.parameters.weightVolume, place), length)
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
