"""Section “Settings map”: the measures of other settings, computed while the computer is idle; a click takes one."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from SPRRegistrationLib import messages, panel_state
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.settings_map import MapCell, MapTable, legend_of


class SettingsMapSection(Section):
    """A table of settings colored by a measure."""

    def build(self) -> None:
        """Connect the table."""
        self._drawn: tuple | None = None
        self._settings: dict[tuple[int, int], dict[str, float]] = {}
        self.ui.mapTable.connect("cellClicked(int,int)", self._take)
        self.ui.mapTable.connect("cellActivated(int,int)", self._take)

    def attach(self) -> None:
        """Draw the map of another registration."""
        self._drawn = None

    def refresh(self) -> None:
        """Draw the map, if it has changed."""
        key = (panel_state.map_key(self.controller), self.parameters.sweep)
        if key != self._drawn:
            self._drawn = key
            table = panel_state.map_table(self.controller)
            self._draw(table)
            self.ui.mapLabel.text = self._caption(table)

    def _draw(self, table: MapTable) -> None:
        """Fill the widget: a row for each value of the first hyperparameter, a column for each of the second."""
        widget = self.ui.mapTable
        widget.visible = bool(table.cells)
        widget.clear()
        widget.setRowCount(len(table.rows))
        widget.setColumnCount(len(table.columns))
        widget.setVerticalHeaderLabels([f"{value:.3g}" for value in table.rows])
        has_columns = len(table.names) > 1
        widget.setHorizontalHeaderLabels([f"{value:.3g}" if has_columns else "" for value in table.columns])
        self._settings = {(cell.row, cell.column): dict(cell.point.setting) for cell in table.cells}
        for cell in table.cells:
            widget.setItem(cell.row, cell.column, self._item(cell))
        widget.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        edges = 4
        widget.minimumHeight = widget.horizontalHeader().height + widget.verticalHeader().length() + edges

    def _item(self, cell: MapCell) -> object:
        text = "?" if cell.value is None else f"{cell.value:.4g}"
        item = qt.QTableWidgetItem(text + cell.signs)
        item.setToolTip(messages.settings_point(cell.point.setting, self.parameters.mapMeasure.label(), cell.value))
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        item.setTextAlignment(qt.Qt.AlignCenter)
        if cell.color is not None:
            item.setBackground(qt.QBrush(qt.QColor(*cell.color)))
            item.setForeground(qt.QBrush(qt.QColor("white" if cell.is_dark else "black")))
        return item

    def _take(self, row: int, column: int) -> None:
        self.call("go_to", self._settings.get((row, column), {}))

    def _caption(self, table: MapTable) -> str:
        if not table.cells:
            text = _("The map is computed after the first deformation, while the computer is idle.")
            return text if self.parameters.sweep else ""
        patterns = (_("Rows: {name}."), _("Columns: {name}."))
        titles = panel_state.map_titles(table)
        lines = [pattern.format(name=title) for pattern, title in zip(patterns, titles, strict=False)]
        return " ".join([*lines, legend_of(table)])
