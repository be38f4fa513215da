"""Section “Settings map”: how other settings would do, found while the computer is idle; a click goes there."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from SPRRegistrationLib import messages
from SPRRegistrationLib.parameters import apply_setting
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import charts
from SPRRegistrationLib.settings_map import Cell, Table, legend_of, table_of
from SPRRegistrationLib.suggestion import marked


class SettingsMap(Section):
    """A table of settings colored by a measure."""

    def build(self) -> None:
        """Connect the table."""
        self._drawn, self._asked = None, (None, False)
        self._settings: dict[tuple[int, int], dict[str, float]] = {}
        self.ui.mapTable.connect("cellClicked(int,int)", self._jump)
        self.ui.mapTable.connect("cellActivated(int,int)", self._jump)

    def attach(self) -> None:
        """Draw the map of another registration."""
        self._drawn = None

    def refresh(self) -> None:
        """Ask for the map, and draw what has come."""
        session = self.session
        wanted = self.parameters.sweep
        if session is not None and session.ranges and (session, wanted) != self._asked:
            was, self._asked = self._asked, (session, wanted)
            if wanted or was[0] is session:
                session.sweep(wanted)
        points = charts.saved_points(self.parameters) if session is None else session.points
        state = (id(session), len(points), self.parameters.mapMeasure, tuple(marked(self.parameters).items()))
        if state != self._drawn:
            self._drawn = state
            self.draw(points)
        self._say(points)

    def draw(self, points: list) -> None:
        """Fill the table: a row for each value of the first hyperparameter, a column for each of the second."""
        widget, found = self.ui.mapTable, self._table(points)
        widget.visible = bool(points)
        widget.clear()
        widget.setRowCount(len(found.rows))
        widget.setColumnCount(len(found.columns))
        widget.setVerticalHeaderLabels([f"{value:.3g}" for value in found.rows])
        has_columns = len(found.names) > 1
        widget.setHorizontalHeaderLabels([f"{value:.3g}" if has_columns else "" for value in found.columns])
        self._settings = {(cell.row, cell.column): dict(cell.point.setting) for cell in found.cells}
        for cell in found.cells:
            widget.setItem(cell.row, cell.column, self._item(cell))
        widget.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        edges = 4
        widget.minimumHeight = widget.horizontalHeader().height + widget.verticalHeader().length() + edges

    def _table(self, points: list) -> Table:
        return table_of(points, self.parameters.mapMeasure, marked(self.parameters))

    def _item(self, cell: Cell) -> object:
        text = "?" if cell.value is None else f"{cell.value:.4g}"
        item = qt.QTableWidgetItem(text + cell.signs)
        item.setToolTip(messages.settings_point(cell.point.setting, self.parameters.mapMeasure.label(), cell.value))
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        item.setTextAlignment(qt.Qt.AlignCenter)
        if cell.color is not None:
            item.setBackground(qt.QBrush(qt.QColor(*cell.color)))
            item.setForeground(qt.QBrush(qt.QColor("white" if cell.is_dark else "black")))
        return item

    def _jump(self, row: int, column: int) -> None:
        setting = self._settings.get((row, column))
        if setting is not None and self.parameters is not None:
            apply_setting(self.parameters, setting)

    def _say(self, points: list) -> None:
        names = messages.setting_names()
        if points:
            texts = [names.get(name, name) for name in list(points[0].setting)[:2]]
            lines = [_("Rows: {name}.").format(name=texts[0])]
            lines += [_("Columns: {name}.").format(name=text) for text in texts[1:]]
            text = " ".join([*lines, legend_of(self._table(points))])
        elif self.parameters.sweep:
            text = _("The map is filled once a deformation was computed and nothing else is to be done.")
        else:
            text = ""
        self.ui.mapLabel.text = text
