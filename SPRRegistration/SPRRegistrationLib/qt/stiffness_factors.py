"""Part of “Regularization”: the stiffness factors of single segments, such as bones."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import painting


class StiffnessFactorsSection(Section):
    """A table with a factor for each segment."""

    def build(self) -> None:
        """Connect the table."""
        self._shown: tuple | None = None
        self._keys: list[str] = []
        self._followed: tuple[object, list[int]] = (None, [])
        self._filling = False
        self.ui.stiffnessTable.setHorizontalHeaderLabels([_("Segment"), _("Stiffness factor")])
        self.ui.stiffnessTable.connect("cellChanged(int,int)", self._typed)

    def attach(self) -> None:
        """Show the segments of another registration."""
        self._shown = None
        self._follow()

    def detach(self) -> None:
        """Stop observing the segmentation."""
        followed, tags = self._followed
        for tag in tags:
            followed.RemoveObserver(tag)
        self._followed = (None, [])

    def refresh(self) -> None:
        """List the segments."""
        self._follow()
        segments = self.parameters.stiffnessSegments
        state = (segments and segments.GetID(), self._segments(), self.parameters.stiffnessFactors)
        if state != self._shown:
            self._shown = state
            self._fill()

    def _follow(self) -> None:
        """Observe added, removed and renamed segments, which do not modify the parameters."""
        node = self.parameters.stiffnessSegments
        segmentation = None if node is None else node.GetSegmentation()
        if segmentation is not self._followed[0]:
            self.detach()
            kind = slicer.vtkSegmentation
            events = (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified)
            update = lambda caller, event: self.call("changed")  # noqa: E731
            tags = [] if segmentation is None else [segmentation.AddObserver(event, update) for event in events]
            self._followed = (segmentation, tags)

    def _segments(self) -> list[tuple[str, str]]:
        node = self.parameters.stiffnessSegments
        if node is None:
            return []
        segmentation = node.GetSegmentation()
        return [(key, segmentation.GetSegment(key).GetName()) for key in segmentation.GetSegmentIDs()]

    def _fill(self) -> None:
        table, factors = self.ui.stiffnessTable, painting.factors_of(self.parameters)
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
        if not self._filling and column == 1 and self.controller is not None:
            self._shown = None  # a text that is refused is replaced
            self.controller.type_factor(self._keys[row], self.ui.stiffnessTable.item(row, 1).text())
