"""The settings map as a table of colored cells: a row for each value of the first hyperparameter, and so on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from SPRRegistrationLib import messages
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.messages import MARK
from SPRRegistrationLib.parameters import MapMeasure

LOW_IS_GOOD = (MapMeasure.FOLDING, MapMeasure.DISPLACEMENT, MapMeasure.LANDMARKS)
# Dark blue, green, yellow: even steps of brightness, distinct for color-blind people, too.
LEAST_SPREAD = {MapMeasure.SIMILARITY: 0.01, MapMeasure.OVERLAP: 0.005, MapMeasure.DISPLACEMENT: 0.5}
"""Differences below this are not significant: no colors and no star."""

BEYOND = "△"
"""Marks settings beyond the training of a task model."""

NO_COLOR = (150, 150, 150)
COLORS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


@dataclass(frozen=True)
class MapCell:
    """One setting: row and column, measure (None if unknown), color, and whether it is marked."""

    row: int
    column: int
    point: Any
    value: float | None
    color: tuple[int, int, int] | None
    best: bool
    is_suggested: bool = False
    is_beyond_training: bool = False

    @property
    def signs(self) -> str:
        """Signs beside the measure."""
        beyond = f" {BEYOND}" if self.is_beyond_training else ""
        return (" ★" if self.best else "") + (f" {MARK}" if self.is_suggested else "") + beyond

    @property
    def is_dark(self) -> bool:
        """Whether its text has to be white."""
        return self.color is not None and 0.3 * self.color[0] + 0.6 * self.color[1] + 0.1 * self.color[2] < 128


@dataclass(frozen=True)
class MapTable:
    """The map: hyperparameters of rows and columns, their values, the known cells, and whether all are about equal."""

    names: tuple[str, ...]
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    cells: tuple[MapCell, ...]
    is_even: bool = False


def table_of(
    points: Sequence[Any],
    measure: MapMeasure,
    suggested: Mapping[str, float] | None = None,
    trained: Mapping[str, float] | None = None,
) -> MapTable:
    """Lay out a settings map: large values of the first hyperparameter on top, of the second to the right.

    Args:
        points: The `SweepPoint`s of the worker.
        measure: What is shown.
        suggested: The suggested setting, whose nearest cell is marked; empty for none.
        trained: Largest values of the training of a task model; settings above them are marked.
    """
    if not points:
        return MapTable((), (), (), ())
    names = tuple(points[0].setting)[:2]
    rows = sorted({point.setting[names[0]] for point in points}, reverse=True)
    columns = sorted({point.setting[names[1]] for point in points}) if names[1:] else [0.0]
    values = [value_of(point, measure) for point in points]
    is_even = not is_spread(values, measure)
    best = None if is_even else best_of(values, measure)
    nearest = _nearest(points, suggested or {})
    cells = []
    for point, value in zip(points, values, strict=True):
        row, column = rows.index(point.setting[names[0]]), columns.index(point.setting[names[1]]) if names[1:] else 0
        color = None if value is None else NO_COLOR
        if value is not None and best is not None:
            color = color_of(value, values, measure in LOW_IS_GOOD)
        marks = value is not None and value == best, point is nearest, messages.is_beyond(point.setting, trained or {})
        cells.append(MapCell(row, column, point, value, color, *marks))
    return MapTable(names, tuple(rows), tuple(columns), tuple(cells), is_even)


def legend_of(table: MapTable) -> str:
    """Return the legend of the colors and signs of a map."""
    text = _("Click a cell to take its setting; ★ is the best.")
    if table.is_even:
        text = _("Click a cell to take its setting; by this measure the settings are about equally good.")
    if any(cell.is_suggested for cell in table.cells):
        text += " " + _("{mark} is the nearest to the suggested setting.").format(mark=MARK)
    if any(cell.is_beyond_training for cell in table.cells):
        text += " " + _("{mark} is beyond the training of the task model.").format(mark=BEYOND)
    return text


def _nearest(points: Sequence[Any], suggested: Mapping[str, float]) -> Any:
    """Return the point of the map that is nearest to a setting, in the logarithm; None if it is of another prior."""
    if not suggested or suggested.keys() != points[0].setting.keys():
        return None

    def apart(point: Any) -> float:
        return sum(math.log(max(point.setting[name], 1e-9) / value) ** 2 for name, value in suggested.items())

    return min(points, key=apart)


def value_of(point: Any, measure: MapMeasure) -> float | None:
    """Return a measure of a point of the map."""
    name = measure.value
    return getattr(point, name) if hasattr(point, name) else getattr(point.quality, name)


def is_spread(values: Sequence[float | None], measure: MapMeasure) -> bool:
    """Return whether the differences of some values are significant; those of a single one are."""
    known = [value for value in values if value is not None]
    least = LEAST_SPREAD.get(measure, 0.05)
    return len(known) == 1 or (len(known) > 1 and max(known) - min(known) >= least)


def best_of(values: Sequence[float | None], measure: MapMeasure) -> float | None:
    """Return the best of some values; None if there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return min(known) if measure in LOW_IS_GOOD else max(known)


def color_of(value: float, values: Sequence[float | None], low_is_good: bool) -> tuple[int, int, int]:
    """Return the color of a value among others; the brightest is the best."""
    known = [each for each in values if each is not None]
    low, high = min(known), max(known)
    part = 1.0 if high == low else (value - low) / (high - low)
    part = (1 - part if low_is_good and high != low else part) * (len(COLORS) - 1)
    index = min(int(part), len(COLORS) - 2)
    pairs = zip(COLORS[index], COLORS[index + 1], strict=True)
    red, green, blue = (round(a + (b - a) * (part - index)) for a, b in pairs)
    return red, green, blue
