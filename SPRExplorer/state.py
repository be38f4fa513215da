"""The state of the page as plain values, computed from the registration."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Any

from SPRRegistrationLib import anatomies, checks, messages, models, settings_map, suggestion, verdict
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.parameters import (
    Alignment,
    Anatomy,
    Device,
    DisplacementStyle,
    MapMeasure,
    Prior,
    Start,
    setting_of,
)
from SPRRegistrationLib.scene import charts, inputs, snapshots
from SPRRegistrationLib.session import Stage
from SPRRegistrationLib.sliders import sliders_of

from SPRExplorer.fields import CHANGEABLE
from SPRExplorer.nodes import REFERENCES, SIDES
from SPRExplorer.panel import Panel

HISTOGRAM_BINS = 40

MAX_HISTOGRAM_VOXELS = 300_000
"""Voxels that are counted, evenly sampled, to keep the page responsive."""

ICONS = {
    "good": "mdi-check-circle",
    "preview": "mdi-progress-clock",
    "check": "mdi-alert",
    "bad": "mdi-close-octagon",
}


def fields_of(panel: Panel) -> dict[str, Any]:
    """Return the changeable parameters as plain values."""
    values = {field: getattr(panel.parameters, field) for field in CHANGEABLE}
    return {field: value.value if isinstance(value, Enum) else value for field, value in values.items()}


def set_by_anatomy(panel: Panel) -> dict[str, Any]:
    """Return the fields that the chosen anatomy sets, as plain values; a link omits them."""
    values = anatomies.fields_of(panel.parameters.anatomy) if panel.model.name == INSTANCE else {}
    return {field: value.value if isinstance(value, Enum) else value for field, value in values.items()}


def state_of(panel: Panel) -> dict[str, Any]:
    """Return the parts of the state that change often."""
    return {**_run(panel), **_sliders(panel), **_quality(panel), **_kept(panel), **_inputs(panel)}


def choices() -> dict[str, list[dict[str, str]]]:
    """Return the items of the lists, by state."""
    kinds = {
        "alignment": Alignment,
        "anatomy": Anatomy,
        "start": Start,
        "device": Device,
        "displacementStyle": DisplacementStyle,
        "mapMeasure": MapMeasure,
        "prior": Prior,
    }
    return {f"{name}_items": [_choice(each.label(), each.value) for each in kind] for name, kind in kinds.items()}


def methods_of(panel: Panel) -> list[dict[str, str]]:
    """Return the items of the list of methods."""
    return [_choice(model.title, model.name) for model in panel.models]


def map_of(panel: Panel) -> dict[str, Any]:
    """Return the settings map as rows of colored cells."""
    points = [] if panel.session is None else panel.session.points
    measure = panel.parameters.mapMeasure
    table = settings_map.table_of(points, measure, suggestion.marked(panel.parameters))
    rows: list[list[Any]] = [[None] * len(table.columns) for _row in table.rows]
    for cell in table.cells:
        rows[cell.row][cell.column] = {
            "text": "?" if cell.value is None else f"{cell.value:.3g}",
            "hint": messages.settings_point(cell.point.setting, measure.label(), cell.value),
            "color": "transparent" if cell.color is None else "rgb({}, {}, {})".format(*cell.color),
            "ink": "#fff" if cell.is_dark else "#111",
            "signs": cell.signs,
            "setting": dict(cell.point.setting),
        }
    names = [messages.setting_names().get(name, name) for name in table.names]
    return {
        "rows": rows,
        "row_titles": [f"{value:.3g}" for value in table.rows],
        "column_titles": [f"{value:.3g}" for value in table.columns] if names[1:] else [""],
        "legend": settings_map.legend_of(table),
        "row_name": names[0] if names else "",
        "column_name": names[1] if names[1:] else "",
    }


def histogram_of(panel: Panel) -> list[dict[str, Any]]:
    """Return the histogram of the stiffness as bars with height, color and text."""
    volume = panel.parameters.weightVolume
    if not panel.session or panel.session.shown is None or volume is None or volume.GetImageData() is None:
        return []
    percent = charts.shares_of(volume, HISTOGRAM_BINS, MAX_HISTOGRAM_VOXELS)
    table, color = panel.parameters.weightColors, [0.0] * 4
    bars = []
    for index, share in enumerate(percent):
        low, high = index / HISTOGRAM_BINS, (index + 1) / HISTOGRAM_BINS
        table.GetColor(round((low + high) / 2 * (table.GetNumberOfColors() - 1)), color)
        bars.append(
            {
                "height": f"{100 * math.sqrt(share / max(percent)):.1f}%",
                "color": "rgb({:.0f} {:.0f} {:.0f})".format(*(255 * part for part in color[:3])),
                "text": _("Stiffness {low:.2f} to {high:.2f}: {share:.1f} % of the image").format(
                    low=low, high=high, share=share
                ),
            }
        )
    return bars


def segments_of(panel: Panel) -> dict[str, Any]:
    """Return the measures per segment as a table of texts."""
    node = panel.parameters.segmentTable
    if node is None:
        return {"titles": [], "rows": []}
    columns = [node.GetTable().GetColumn(index) for index in range(node.GetNumberOfColumns())]
    texts = [[_text(column.GetValue(row)) for row in range(column.GetNumberOfValues())] for column in columns]
    return {"titles": [column.GetName() for column in columns], "rows": [list(row) for row in zip(*texts, strict=True)]}


def card_of(panel: Panel) -> list[list[str]]:
    """Return the rows of the model card."""
    return [list(row) for row in models.card_lines(panel.model)]


def _choice(title: str, value: str) -> dict[str, str]:
    return {"title": title, "value": value}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "-" if value != value else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _run(panel: Panel) -> dict[str, Any]:
    session, busy = panel.session, panel.is_busy
    why_not = messages.why_not_apply(panel.parameters)
    shown = None if session is None else session.shown
    return {
        "busy": busy,
        "apply_text": why_not.rstrip(".") or _("Apply"),
        "can_apply": not why_not and not panel.is_committing,
        "failed": session is not None and session.stage is Stage.FAILED and not why_not,
        "status": "" if session is None or (why_not and not busy) else session.words,
        "progress": -1 if session is None or session.progress is None else round(100 * session.progress),
        "latency": "" if shown is None else messages.latency(shown.age_ms, shown.exact),
        "is_exact": shown is not None and shown.exact,
        "cursor_text": panel.cursor,
    }


def _sliders(panel: Panel) -> dict[str, Any]:
    sliders = sliders_of(panel.parameters, panel.session, panel.model)
    advice = suggestion.shown(panel.parameters, panel.session)
    return {
        "sliders": list(sliders.fields),
        "limits": {field: list(ends) for field, ends in sliders.ranges.items()},
        "tuned": {field: sliders.recommended[field] for field in sliders.fields},
        "suggested": dict(sliders.suggested),
        "suggest_line": advice.line,
        "can_suggest": advice.can_ask,
        "can_take": advice.can_take,
        "is_choosing": panel.session is not None and panel.session.is_choosing,
    }


def _quality(panel: Panel) -> dict[str, Any]:
    session, parameters = panel.session, panel.parameters
    shown = None if session is None else session.shown
    nothing = {"badge": None, "measures": [], "has_result": False, "map_known": False, "segments_old": False}
    if shown is None:
        return nothing | {"has_report": bool(parameters.report)}
    badge = verdict.badge(verdict.of_result(shown, session.opened, inputs.extent_mm(parameters.fixedVolume)))
    shown_badge = {"level": badge.level, "line": badge.line, "icon": ICONS[badge.level], "doubts": list(badge.doubts)}
    return {
        "badge": shown_badge,
        "measures": [list(detail) for detail in badge.details],
        "has_result": True,
        "map_known": shown.weight_known,
        "segments_old": parameters.segmentTable is not None and not shown.metrics,
        "has_report": bool(parameters.report),
    }


def _kept(panel: Panel) -> dict[str, Any]:
    kept, history = snapshots.snapshots_of(panel.parameters), snapshots.history_of(panel.parameters)
    names = messages.setting_names()
    texts = {}
    for name, snapshot in kept.items():
        texts[name] = ", ".join(f"{names.get(key, key)} {value:.3g}" for key, value in snapshot.setting.items())
    return {
        "kept": texts,
        "can_undo": history.can_undo,
        "can_redo": history.can_redo,
        "can_compare": {"A", "B"} <= kept.keys(),
    }


def _inputs(panel: Panel) -> dict[str, Any]:
    parameters = panel.parameters
    return {
        **{f"{side}_name": _name_of(getattr(parameters, f"{side}Volume")) for side in SIDES},
        **{f"{field}_name": _name_of(getattr(parameters, field)) for field in REFERENCES},
        "has_labels": parameters.fixedLabels is not None,
        "setting_words": json.dumps(setting_of(parameters)),
    }


def _name_of(node: Any) -> str:
    return "" if node is None else node.GetName()


def check_of(panel: Panel) -> dict[str, Any]:
    """Return the result of the pair check; costly, so only for a new pair."""
    opened = None if panel.session is None else panel.session.opened
    found = checks.pair_check(panel.parameters, str(panel.model.card.get("modality", "")), opened)
    return {"guard": list(found.lines), "guard_level": found.level, "can_align": found.can_align}
