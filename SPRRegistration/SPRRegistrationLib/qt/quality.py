"""Section “Quality”: the verdict in words, the measures, the values under the mouse, tables and charts on demand."""

from __future__ import annotations

import html

import qt
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import panel_state, verdict
from SPRRegistrationLib.qt.process import worker_command
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import charts, display, outputs

BORDERS = {"good": "#3a9a40", "preview": "#76828f", "check": "#c46a00", "bad": "#e0453a"}
"""Color of the left edge, which stands out in both styles of Slicer; the sign and the words say the same."""


class QualitySection(Section):
    """How good the deformation is."""

    def build(self) -> None:
        """Connect the buttons."""
        self._cursor: display.LinkedCursor | None = None
        self.ui.histogramButton.connect("clicked()", self.show_histogram)
        self.ui.segmentTableButton.connect("clicked()", self.show_segments)
        self.ui.contrastButton.connect("clicked()", lambda: self.call("restore_contrast"))
        self.ui.slidingButton.connect("clicked()", self.show_sliding)
        self.ui.landmarkTableButton.connect("clicked()", self.show_landmarks)

    def attach(self) -> None:
        """Follow the mouse over the images."""
        self._follow()
        self._show_tables()

    def detach(self) -> None:
        """Stop following the mouse."""
        if self._cursor is not None:
            self._cursor.remove()
            self._cursor = None

    def refresh(self) -> None:
        """Show the verdict on the current result."""
        self._follow()
        has_result = outputs.is_alive(self.parameters) and self.parameters.weightVolume is not None
        is_known = has_result and self.parameters.weightVolume.GetImageData() is not None
        self.ui.histogramButton.enabled = is_known
        self.ui.segmentTableButton.enabled = is_known and not outputs.is_preview(self.parameters)
        contrast = panel_state.map_contrast_state(self.controller)
        self.ui.contrastLabel.text = contrast.line
        self.ui.contrastLabel.visible = bool(contrast.line)
        self.ui.contrastButton.visible = bool(contrast.setting)
        has_segments = self.parameters is not None and self.parameters.fixedLabels is not None
        self.ui.slidingButton.enabled = self.ui.segmentTableButton.enabled and has_segments
        landmarks = (self.parameters.fixedLandmarks, self.parameters.movingLandmarks)
        self.ui.landmarkTableButton.enabled = has_result and None not in landmarks
        badge = panel_state.badge(self.controller)
        if badge is None:
            self.ui.badgeLabel.text, self.ui.measuresLabel.text = _("No result yet."), ""
            self.ui.badgeLabel.setStyleSheet("")
            return
        doubts = "".join(f"<br>{html.escape(doubt)}" for doubt in badge.doubts)
        self.ui.badgeLabel.text = f"<b>{verdict.SIGNS[badge.level]}&nbsp; {html.escape(badge.line)}</b>{doubts}"
        edge = f"border: 0px none; border-left: 5px solid {BORDERS[badge.level]}"  # Qt draws one edge alone only so
        self.ui.badgeLabel.setStyleSheet(f"QLabel {{ {edge}; }}")
        rows = [(html.escape(name), html.escape(value)) for name, value in badge.details]
        cells = "".join(f"<tr><td>{name}&nbsp;&nbsp;</td><td>{value}</td></tr>" for name, value in rows)
        self.ui.measuresLabel.text = f"<table>{cells}</table>"

    def show_histogram(self) -> None:
        """Show the histogram of the stiffness beside the views."""
        charts.update_histogram(self.parameters)
        if self.parameters.histogramChart is not None and hasattr(slicer.modules, "plots"):
            slicer.modules.plots.logic().ShowChartInLayout(self.parameters.histogramChart)

    def show_segments(self) -> None:
        """Show measures of each segment of the fixed image."""
        self.controller.measure_segments()
        self._show_tables()

    def show_sliding(self) -> None:
        """Show the surfaces of the segments, colored by the slide."""
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            self.call("show_sliding", worker_command()[0])
        finally:
            qt.QApplication.restoreOverrideCursor()

    def show_landmarks(self) -> None:
        """Show the distance of each pair of landmarks."""
        self.controller.list_landmarks()
        self._show_tables()

    def _show_tables(self) -> None:
        ui, parameters = self.ui, self.parameters
        tables = ((ui.segmentTableView, parameters.segmentTable), (ui.landmarkTableView, parameters.landmarkTable))
        for view, table in tables:
            view.setMRMLTableNode(table)
            view.visible = table is not None

    def _follow(self) -> None:
        if self._cursor is None and self.parameters.fixedVolume is not None:
            self._cursor = display.LinkedCursor(self.parameters, self._moved)

    def _moved(self, position: tuple[float, float, float] | None) -> None:
        values = "" if self.controller is None else panel_state.cursor_text(self.controller, position)
        text = _("Move the mouse over a slice view to read the stiffness and the displacement.")
        self.ui.cursorLabel.text = _("Under the mouse: {values}").format(values=values) if values else text
