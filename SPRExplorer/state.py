"""The state of the page as plain values, computed from the registration."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Any

from SPRRegistrationLib import anatomies, messages, models, panel_state, settings_map
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.parameters import (
    Alignment,
    AnatomyChoice,
    Device,
    DisplacementStyle,
    MapMeasure,
    PriorChoice,
    StartChoice,
    setting_of,
)
from SPRRegistrationLib.scene import charts, snapshots

from SPRExplorer.controller import ExplorerController
from SPRExplorer.fields import CHANGEABLE
from SPRExplorer.nodes import REFERENCES, SIDES

HISTOGRAM_BINS = 40

MAX_HISTOGRAM_VOXELS = 300_000
"""Voxels that are counted, evenly sampled, to keep the page responsive."""

ICONS = {
    "good": "mdi-check-circle",
    "preview": "mdi-progress-clock",
    "check": "mdi-alert",
    "bad": "mdi-close-octagon",
}


def fields_of(controller: ExplorerController) -> dict[str, Any]:
    """Return the fields of the parameters that the page may change, as plain values."""
    values = {field: getattr(controller.parameters, field) for field in CHANGEABLE}
    return {field: value.value if isinstance(value, Enum) else value for field, value in values.items()}


def set_by_anatomy(controller: ExplorerController) -> dict[str, Any]:
    """Return the fields that the chosen part of the body sets, as plain values: an address need not repeat them."""
    values = anatomies.fields_of(controller.parameters.anatomy) if controller.model.name == INSTANCE else {}
    return {field: value.value if isinstance(value, Enum) else value for field, value in values.items()}


def state_of(controller: ExplorerController) -> dict[str, Any]:
    """Return everything else that the page shows and that changes all the time."""
    return {
        **_run(controller),
        **_sliders(controller),
        **_quality(controller),
        **_kept(controller),
        **_inputs(controller),
    }


def choices() -> dict[str, list[dict[str, str]]]:
    """Return what can be chosen from lists, by the fields."""
    kinds = {
        "alignment": Alignment,
        "anatomy": AnatomyChoice,
        "start": StartChoice,
        "device": Device,
        "displacementStyle": DisplacementStyle,
        "mapMeasure": MapMeasure,
        "prior": PriorChoice,
    }
    return {f"{name}_items": [_choice(each.label(), each.value) for each in kind] for name, kind in kinds.items()}


def methods_of(controller: ExplorerController) -> list[dict[str, str]]:
    """Return the methods there are, for a list."""
    return [_choice(model.title, model.name) for model in controller.models]


def map_of(controller: ExplorerController) -> dict[str, Any]:
    """Return the settings map as rows of colored cells."""
    measure, table = controller.parameters.mapMeasure, panel_state.map_table(controller)
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
    names = panel_state.map_titles(table)
    return {
        "rows": rows,
        "row_titles": [f"{value:.3g}" for value in table.rows],
        "column_titles": [f"{value:.3g}" for value in table.columns] if names[1:] else [""],
        "legend": settings_map.legend_of(table),
        "row_name": names[0] if names else "",
        "column_name": names[1] if names[1:] else "",
    }


def histogram_of(controller: ExplorerController) -> list[dict[str, Any]]:
    """Return how much of the image has which stiffness, as bars with their height, color and words."""
    volume = controller.parameters.weightVolume
    if not controller.session or controller.session.shown is None or volume is None or volume.GetImageData() is None:
        return []
    percent = charts.shares_of(volume, HISTOGRAM_BINS, MAX_HISTOGRAM_VOXELS)
    table, color = controller.parameters.weightColors, [0.0] * 4
    bars = []
    for place, share in enumerate(percent):
        low, high = place / HISTOGRAM_BINS, (place + 1) / HISTOGRAM_BINS
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


def segments_of(controller: ExplorerController) -> dict[str, Any]:
    """Return the measures of the segments as a table of texts."""
    node = controller.parameters.segmentTable
    if node is None:
        return {"titles": [], "rows": []}
    columns = [node.GetTable().GetColumn(index) for index in range(node.GetNumberOfColumns())]
    texts = [[_text(column.GetValue(row)) for row in range(column.GetNumberOfValues())] for column in columns]
    return {"titles": [column.GetName() for column in columns], "rows": [list(row) for row in zip(*texts, strict=True)]}


def card_of(controller: ExplorerController) -> list[list[str]]:
    """Return what the task model says of itself."""
    return [list(row) for row in models.card_lines(controller.model)]


def _choice(title: str, value: str) -> dict[str, str]:
    return {"title": title, "value": value}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "-" if value != value else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _run(controller: ExplorerController) -> dict[str, Any]:
    run, shown = panel_state.run_state(controller), None if controller.session is None else controller.session.shown
    return {
        "busy": run.is_busy,
        "apply_text": run.missing or _("Apply"),
        "can_apply": run.can_apply,
        "failed": run.has_failed,
        "status": run.status,
        "progress": -1 if run.progress is None else round(100 * run.progress),
        "latency": panel_state.latency(controller),
        "is_exact": shown is not None and shown.exact,
        "cursor_text": controller.cursor,
    }


def _sliders(controller: ExplorerController) -> dict[str, Any]:
    states, advice = panel_state.slider_states(controller), panel_state.suggestion_state(controller)
    return {
        "sliders": list(states.fields),
        "limits": {field: list(ends) for field, ends in states.ranges.items()},
        "tuned": {field: states.recommended[field] for field in states.fields},
        "suggested": dict(states.suggested),
        "suggest_line": advice.line,
        "can_suggest": advice.can_ask,
        "can_take": advice.can_take,
        "is_choosing": controller.session is not None and controller.session.is_choosing,
    }


def _quality(controller: ExplorerController) -> dict[str, Any]:
    parameters, badge = controller.parameters, panel_state.badge(controller)
    shown = None if controller.session is None else controller.session.shown
    looks = badge and {
        "level": badge.level,
        "line": badge.line,
        "icon": ICONS[badge.level],
        "doubts": list(badge.doubts),
    }
    return {
        "badge": looks,
        "measures": [list(detail) for detail in badge.details] if badge else [],
        "has_result": shown is not None,
        "map_known": shown is not None and shown.weight_known,
        "segments_old": shown is not None and parameters.segmentTable is not None and not shown.metrics,
        "has_report": bool(parameters.report),
    }


def _kept(controller: ExplorerController) -> dict[str, Any]:
    kept, history = panel_state.kept_settings(controller), snapshots.history_of(controller.parameters)
    return {
        "kept": kept,
        "can_undo": history.can_undo,
        "can_redo": history.can_redo,
        "can_compare": {"A", "B"} <= kept.keys(),
    }


def _inputs(controller: ExplorerController) -> dict[str, Any]:
    parameters = controller.parameters
    return {
        **{f"{side}_name": _name_of(getattr(parameters, f"{side}Volume")) for side in SIDES},
        **{f"{field}_name": _name_of(getattr(parameters, field)) for field in REFERENCES},
        "has_labels": parameters.fixedLabels is not None,
        "setting_words": json.dumps(setting_of(parameters)),
    }


def _name_of(node: Any) -> str:
    return "" if node is None else node.GetName()


def check_of(controller: ExplorerController) -> dict[str, Any]:
    """Return what the check of the pair says; not cheap, so only for a new pair."""
    found = panel_state.check_state(controller)
    return {"guard": list(found.lines), "guard_level": found.level, "can_align": found.can_align}
