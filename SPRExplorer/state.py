"""The state of the page: typed fields, computed from the controller and never stored elsewhere.

The parameters that the page changes are states of their own names, since `changes.take` types and checks them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import slicer
from SPRRegistrationLib import anatomies, messages, models, panel_state, settings_map, verdict
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.scene import charts, painting, snapshots, uncertainty
from SPRRegistrationLib.sliders import SliderStates
from trame_server.state import State
from trame_server.utils.typed_state import CollectionEncoderDecoder, TypedState

from SPRExplorer.controller import ExplorerController
from SPRExplorer.fields import CHANGEABLE
from SPRExplorer.nodes import INPUTS

HISTOGRAM_BINS = 40

MAX_HISTOGRAM_VOXELS = 300_000
"""Voxels that are counted, evenly sampled, to keep the page responsive."""

ICONS = {
    "good": "mdi-check-circle",
    "preview": "mdi-progress-clock",
    "check": "mdi-alert",
    "bad": "mdi-close-octagon",
}


class Encoder(CollectionEncoderDecoder):
    """Decodes values of a wrong type, which only a faulty page sends, as None."""

    def decode(self, obj: Any, obj_type: type) -> Any:
        """Return a value of the type, or None."""
        try:
            return super().decode(obj, obj_type)
        except TypeError:
            return None


@dataclass
class PageState:
    """What the page itself changes, and what is costly to compute.

    Attributes:
        open_sections: Names of the open sections.
        notice: Text of the error message.
        reading: Fields whose files are being read.
        folder_files: Images in the folder of the server.
        export_format: Suffix of exported transforms.
        export_direction: Field of the exported transform.
        link: Settings as a URL fragment.
        card: Rows of the model card.
        factors: Stiffness factor of each segment.
        check, check_level, can_align: The pair check, and whether it proposes an alignment.
    """

    theme: str = "dark"
    layout: str = "four"
    open_sections: list[str] = field(default_factory=lambda: ["inputs", "settings", "show", "quality"])
    help: bool = False
    notice: str = ""
    notice_open: bool = False
    reading: list[str] = field(default_factory=list)
    show_references: bool = False
    folder_files: list[str] = field(default_factory=list)
    export_format: str = ".h5"
    export_direction: str = "displacementTransform"
    link: str = ""
    method_items: list[dict[str, str]] = field(default_factory=list)
    card: list[list[str]] = field(default_factory=list)
    segments: dict[str, Any] = field(default_factory=dict)
    landmarks: dict[str, Any] = field(default_factory=dict)
    map: dict[str, Any] = field(default_factory=dict)
    histogram: list[dict[str, str]] = field(default_factory=list)
    factors: list[dict[str, Any]] = field(default_factory=list)
    check: list[str] = field(default_factory=list)
    check_level: str = ""
    can_align: bool = False


@dataclass(frozen=True, kw_only=True)
class ShownState:
    """What the controller determines; updated often.

    Attributes:
        progress: Percent; -1 if unknown.
        sliders: Fields of the visible sliders.
        limits, recommended, suggested: Ends and marks of the sliders.
        trained: Values of the sliders above which they are beyond training.
        labels: Labels of sliders that differ from the usual ones.
        suggestion: Text about the suggestion.
        contrast: Text about a stiffness map without contrast.
        can_restore: Whether it proposes a setting.
        segments_old: Whether the measures per segment belong to another result.
        uncertainty: The uncertainty of the result: its `text`, `end_mm` where the colors of its map end (0 without a
            map), and whether the map `is_exact`.
        snapshots: Settings of the snapshots as text.
        names: Names of the chosen nodes by field.
    """

    busy: bool
    apply_text: str
    can_apply: bool
    failed: bool
    status: str
    progress: int
    latency: str
    is_exact: bool
    cursor_text: str
    sliders: list[str]
    limits: dict[str, list[float]]
    recommended: dict[str, float]
    suggested: dict[str, float]
    trained: dict[str, float]
    labels: dict[str, str]
    suggestion: str
    contrast: str
    can_restore: bool
    can_suggest: bool
    can_take: bool
    is_choosing: bool
    badge: dict[str, Any] | None
    measures: list[list[str]]
    has_result: bool
    map_known: bool
    segments_old: bool
    has_report: bool
    uncertainty: dict[str, Any]
    snapshots: dict[str, str]
    can_undo: bool
    can_redo: bool
    can_compare: bool
    names: dict[str, str]
    has_labels: bool
    has_landmarks: bool


PAGE: PageState = TypedState(State(), PageState).name
SHOWN: ShownState = TypedState(State(), ShownState).name
"""State names by field, for expressions of the page."""


def fields_of(controller: ExplorerController) -> dict[str, Any]:
    """Return the changeable parameters as plain values."""
    return _plain({name: getattr(controller.parameters, name) for name in CHANGEABLE})


def set_by_anatomy(controller: ExplorerController) -> dict[str, Any]:
    """Return the fields that the chosen anatomy sets, as plain values; a link omits them."""
    return _plain(anatomies.fields_of(controller.parameters.anatomy) if controller.model.name == INSTANCE else {})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def state_of(controller: ExplorerController) -> ShownState:
    """Return the state of the controller for the page."""
    parameters, session = controller.parameters, controller.session
    shown = None if session is None else session.shown
    run, sliders = panel_state.run_state(controller), panel_state.slider_states(controller)
    advice, badge = panel_state.suggestion_state(controller), panel_state.badge(controller)
    contrast = panel_state.map_contrast_state(controller)
    kept, history = panel_state.kept_settings(controller), snapshots.history_of(parameters)
    nodes = {name: getattr(parameters, name) for name in INPUTS}
    return ShownState(
        **_run(run),
        latency=panel_state.latency(controller),
        is_exact=shown is not None and shown.exact,
        cursor_text=controller.cursor,
        **_sliders(sliders),
        suggestion=advice.line,
        contrast=contrast.line,
        can_restore=bool(contrast.setting),
        can_suggest=advice.can_ask,
        can_take=advice.can_take,
        is_choosing=session is not None and session.is_choosing,
        badge=None if badge is None else _badge(badge),
        measures=[list(detail) for detail in badge.details] if badge else [],
        has_result=shown is not None,
        map_known=shown is not None and shown.weight_known,
        segments_old=shown is not None and parameters.segmentTable is not None and not shown.metrics,
        has_report=bool(parameters.report),
        uncertainty=_uncertainty(controller),
        snapshots=kept,
        can_undo=history.can_undo,
        can_redo=history.can_redo,
        can_compare={"A", "B"} <= kept.keys(),
        names={name: "" if node is None else node.GetName() for name, node in nodes.items()},
        has_labels=parameters.fixedLabels is not None,
        has_landmarks=None not in (parameters.fixedLandmarks, parameters.movingLandmarks),
    )


def _run(run: panel_state.RunState) -> dict[str, Any]:
    progress = -1 if run.progress is None else round(100 * run.progress)
    facts = {"busy": run.is_busy, "can_apply": run.can_apply, "failed": run.has_failed, "status": run.status}
    return {**facts, "apply_text": run.missing or _("Apply"), "progress": progress}


def _sliders(sliders: SliderStates) -> dict[str, Any]:
    return {
        "sliders": list(sliders.fields),
        "limits": {name: list(ends) for name, ends in sliders.ranges.items()},
        "recommended": {name: sliders.recommended[name] for name in sliders.fields},
        "suggested": dict(sliders.suggested),
        "trained": dict(sliders.trained),
        "labels": dict(sliders.labels),
    }


def _uncertainty(controller: ExplorerController) -> dict[str, Any]:
    return {
        "text": panel_state.uncertainty_text(controller),
        "end_mm": uncertainty.shown_end_mm(controller.parameters),
        "is_exact": uncertainty.has_exact_map(controller.parameters),
    }


def _badge(badge: verdict.Badge) -> dict[str, Any]:
    return {"level": badge.level, "line": badge.line, "icon": ICONS[badge.level], "doubts": list(badge.doubts)}


def update_check(page: PageState, controller: ExplorerController) -> None:
    """Set the pair check and the stiffness factors; costly, so only for a new pair."""
    found = panel_state.check_state(controller)
    page.check, page.check_level, page.can_align = list(found.lines), found.level, found.can_align
    page.factors = painting.table(controller.parameters)


def items_of(kind: type[Enum]) -> list[dict[str, str]]:
    """Return the members of an enumeration as items of a list."""
    return [{"title": each.label(), "value": each.value} for each in kind]


def methods_of(controller: ExplorerController) -> list[dict[str, str]]:
    """Return the items of the list of methods."""
    return [{"title": model.title, "value": model.name} for model in controller.models]


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


def histogram_of(controller: ExplorerController) -> list[dict[str, str]]:
    """Return the histogram of the stiffness as bars with height, color and text."""
    volume = controller.parameters.weightVolume
    if not controller.session or controller.session.shown is None or volume is None or volume.GetImageData() is None:
        return []
    percent = charts.shares_of(volume, HISTOGRAM_BINS, MAX_HISTOGRAM_VOXELS)
    table, color = controller.parameters.weightColors, [0.0] * 4
    text = _("Stiffness {low:.2f} to {high:.2f}: {share:.1f} % of the image")
    bars = []
    for index, share in enumerate(percent):
        low, high = index / HISTOGRAM_BINS, (index + 1) / HISTOGRAM_BINS
        table.GetColor(round((low + high) / 2 * (table.GetNumberOfColors() - 1)), color)
        bars.append(
            {
                "height": f"{100 * math.sqrt(share / max(percent)):.1f}%",
                "color": "rgb({:.0f} {:.0f} {:.0f})".format(*(255 * part for part in color[:3])),
                "text": text.format(low=low, high=high, share=share),
            }
        )
    return bars


def table_of(node: slicer.vtkMRMLTableNode | None) -> dict[str, Any]:
    """Return measures per segment or landmark as a table of texts."""
    if node is None:
        return {"titles": [], "rows": []}
    columns = [node.GetTable().GetColumn(index) for index in range(node.GetNumberOfColumns())]
    texts = [[_text(column.GetValue(row)) for row in range(column.GetNumberOfValues())] for column in columns]
    return {"titles": [column.GetName() for column in columns], "rows": [list(row) for row in zip(*texts, strict=True)]}


def card_of(controller: ExplorerController) -> list[list[str]]:
    """Return the rows of the model card."""
    return [list(row) for row in models.card_lines(controller.model)]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "-" if value != value else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
