"""Part of “Regularization”: the stiffness of single segments, such as bones."""

from __future__ import annotations

import json

import qt
import slicer
from slicer.i18n import tr as _

from SPRCore.errors import SPRError
from SPRRegistrationLib.qt.section import Section, words_of
from SPRRegistrationLib.scene import inputs


class PaintedStiffness(Section):
    """A table with a factor for each segment."""

    def build(self) -> None:
        """Connect the table."""
        self._shown = self._told = None
        self._keys: list[str] = []
        self._followed: tuple[object, list[int]] = (None, [])
        self._filling = False
        self.ui.stiffnessTable.setHorizontalHeaderLabels([_("Segment"), _("Times as stiff")])
        self.ui.stiffnessTable.connect("cellChanged(int,int)", self._typed)

    def attach(self) -> None:
        """Show the segments of another registration."""
        self._shown, self._told = None, self._state()
        self._follow()

    def detach(self) -> None:
        """Follow the segments no more."""
        followed, tags = self._followed
        for tag in tags:
            followed.RemoveObserver(tag)
        self._followed = (None, [])

    def refresh(self) -> None:
        """List the segments, and tell the worker what has changed."""
        self._follow()
        segments = self.parameters.stiffnessSegments
        state = (segments and segments.GetID(), self._segments(), self.parameters.stiffnessFactors)
        if state != self._shown:
            self._shown = state
            self._fill()
        if self._state() != self._told:
            self._told = self._state()
            self._tell()

    def _follow(self) -> None:
        """Look again when a segment is added, removed or named otherwise, which the parameters do not tell."""
        node = self.parameters.stiffnessSegments
        segmentation = None if node is None else node.GetSegmentation()
        if segmentation is not self._followed[0]:
            self.detach()
            kind = slicer.vtkSegmentation
            events = (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified)
            look = lambda caller, event: self.panel.refresh()  # noqa: E731
            tags = [] if segmentation is None else [segmentation.AddObserver(event, look) for event in events]
            self._followed = (segmentation, tags)

    def _state(self) -> tuple:
        """Return what the worker has to know: which segments there are and what was typed for them."""
        segments, factors = self.parameters.stiffnessSegments, self._factors()
        there = {key: factors[key] for key, _name in self._segments() if key in factors}
        return (segments and segments.GetID(), there)

    def _factors(self) -> dict[str, float]:
        return json.loads(self.parameters.stiffnessFactors) if self.parameters.stiffnessFactors else {}

    def _segments(self) -> list[tuple[str, str]]:
        node = self.parameters.stiffnessSegments
        if node is None:
            return []
        segmentation = node.GetSegmentation()
        return [(key, segmentation.GetSegment(key).GetName()) for key in segmentation.GetSegmentIDs()]

    def _fill(self) -> None:
        table, factors = self.ui.stiffnessTable, self._factors()
        self._filling = True
        table.setRowCount(0)
        self._keys = [key for key, _name in self._segments()]
        for row, (key, name) in enumerate(self._segments()):
            table.insertRow(row)
            title = qt.QTableWidgetItem(name)
            title.setFlags(qt.Qt.ItemIsEnabled)
            table.setItem(row, 0, title)
            table.setItem(row, 1, qt.QTableWidgetItem(f"{factors.get(key, 1.0):g}"))
        self._filling = False

    def _typed(self, row: int, column: int) -> None:
        if self._filling or column != 1 or self.parameters is None:
            return
        key, text = self._keys[row], self.ui.stiffnessTable.item(row, 1).text()
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            value = 0.0
        if 0.001 <= value <= 1000:
            self.parameters.stiffnessFactors = json.dumps(self._factors() | {key: value})
        else:
            self._fill()  # back to what it was
            words = _("The stiffness of a segment is a number from 0.001 to 1000; “{text}” is not.")
            self.ui.statusLabel.text = words.format(text=text)

    def _tell(self) -> None:
        if self.session is None:
            return
        try:
            painted = inputs.painted_stiffness(self.parameters)
        except SPRError as error:
            self.ui.statusLabel.text = words_of(error)
        else:
            self.session.paint(*(painted or (None,)))
