"""Section “Settings map”: how other settings would do, found while the computer is idle; a click goes there."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from . import charts, words
from .panel_section import Section
from .parameters import apply_setting
from .settings_map import LOW_IS_GOOD, best_of, color_of, value_of


class SettingsMap(Section):
    """A table of settings colored by a measure."""

    def build(self) -> None:
        """Connect the table."""
        self._drawn, self._asked = None, (None, False)
        self._cells: dict[tuple[int, int], dict[str, float]] = {}
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
        points = [] if session is None else session.points
        state = (id(session), len(points), self.parameters.mapMeasure)
        if state != self._drawn:
            self._drawn = state
            self.draw(points)
            charts.update_map(self.parameters, points)  # so that it is saved with the scene
        self._say(points)

    def draw(self, points: list) -> None:
        """Fill the table: a row for each value of the first hyperparameter, a column for each of the second."""
        table, measure = self.ui.mapTable, self.parameters.mapMeasure
        table.visible = bool(points)
        table.clear()
        self._cells = {}
        if not points:
            return
        names = list(points[0].setting)[:2]
        rows = sorted({point.setting[names[0]] for point in points}, reverse=True)
        columns = sorted({point.setting[names[-1]] for point in points}) if len(names) > 1 else [0.0]
        table.setRowCount(len(rows))
        table.setColumnCount(len(columns))
        table.setVerticalHeaderLabels([f"{value:.3g}" for value in rows])
        table.setHorizontalHeaderLabels([f"{value:.3g}" for value in columns] if len(names) > 1 else [""])
        values = [value_of(point, measure) for point in points]
        best = best_of(values, measure)
        for point, value in zip(points, values, strict=True):
            place = (rows.index(point.setting[names[0]]), columns.index(point.setting[names[-1]]) if names[1:] else 0)
            self._cells[place] = dict(point.setting)
            self._set_cell(place, point, value, values, value is not None and value == best)

    def _set_cell(self, place: tuple[int, int], point: object, value: float | None, values: list, best: bool) -> None:
        text = "?" if value is None else f"{value:.3g}" + (" ★" if best else "")
        item = qt.QTableWidgetItem(text)
        item.setToolTip(words.settings_point(point.setting, self.parameters.mapMeasure.label(), value))
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        item.setTextAlignment(qt.Qt.AlignCenter)
        if value is not None:
            red, green, blue = color_of(value, values, self.parameters.mapMeasure in LOW_IS_GOOD)
            item.setBackground(qt.QBrush(qt.QColor(red, green, blue)))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 128
            item.setForeground(qt.QBrush(qt.QColor("white" if dark else "black")))
        self.ui.mapTable.setItem(place[0], place[1], item)

    def _jump(self, row: int, column: int) -> None:
        setting = self._cells.get((row, column))
        if setting is not None and self.parameters is not None:
            apply_setting(self.parameters, setting)

    def _say(self, points: list) -> None:
        names = words.setting_names()
        if points:
            texts = [names.get(name, name) for name in list(points[0].setting)[:2]]
            lines = [_("Rows: {name}.").format(name=texts[0])]
            lines += [_("Columns: {name}.").format(name=text) for text in texts[1:]]
            text = " ".join([*lines, _("Click a cell to go there; ★ is the best.")])
        elif self.parameters.sweep:
            text = _("The map is filled once a deformation was computed and nothing else is to be done.")
        else:
            text = ""
        self.ui.mapLabel.text = text
