"""Sections “Show”, “Quality”, “Settings map” and “Export” of the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.parameters import DisplacementStyle, MapMeasure
from SPRRegistrationLib.scene import exports, snapshots
from trame.widgets import html
from trame.widgets import vuetify3 as v

from SPRExplorer.controls import button, check, choice, html_attributes, slider, text, tooltip
from SPRExplorer.state import PAGE, SHOWN

MOST_HATCHED_MM = 20
"""End of the slider of the hatching; larger values come from addresses only."""


def show() -> None:
    """Build the section “Show”."""
    check("showDeformed", _("Deformed image"))
    slider("deformedOpacity", _("Blend"), 0.01)
    check("flicker", _("Flicker"))
    check("showWeight", _("Stiffness map"))
    caption = _("Yellow can deform sharply, dark moves rigidly; stiffness above “Hide above” is transparent.")
    html.Div(caption, v_if=("showWeight",), classes="spr-small")
    slider("weightOpacity", _("Opacity"), 0.01)
    slider("weightLimit", _("Hide above"), 0.01)
    check("showJacobian", _("Volume change map"))
    check("showLegend", _("Legend with numbers"))
    check("showUncertainty", _("Uncertainty (mm)"))
    slider("uncertaintyOpacity", _("Opacity"), 0.01)
    slider("hatchAboveMm", _("Hatch above, mm"), 0.5, 0, MOST_HATCHED_MM, zero=_("Off"))
    with html.Div(v_if=("showUncertainty",), classes="spr-small", **html_attributes(role="status")):
        html.Span(text(f"{SHOWN.uncertainty}.text"))
        tooltip("uncertaintyLabel")
    check("showDisplacement", _("Displacement"))
    with html.Div(classes="spr-pair"):
        choice("displacementStyle", _("As"), DisplacementStyle)
        check("showDisplacement3D", _("Also in 3-D"))
    slider("gridSpacingMm", _("Line spacing, mm"), 1, 2, 50)
    check("originalAnatomy", _("Original anatomy: moving image, undeformed"))


def quality(do: Any) -> None:
    """Build the section “Quality”."""
    html.Div(_("No result yet."), v_if=(f"!{SHOWN.badge}",), classes="spr-quiet")
    badge = SHOWN.badge
    with html.Div(v_if=(badge,)):
        with html.Div(classes=(f"`spr-notice ${{{badge}.level}}`",), id="spr-badge", **html_attributes(role="status")):
            v.VIcon(text(f"{badge}.icon"), size="small")
            with html.Div():
                html.Strong(text(f"{badge}.line"))
                html.Div("{{ doubt }}", v_for=f"doubt in {badge}.doubts", key="doubt")
        with html.Table(classes="spr-table"):
            with html.Tr(v_for=f"row in {SHOWN.measures}", key="row[0]"):
                html.Th("{{ row[0] }}")
                html.Td("{{ row[1] }}")
    _histogram()
    _contrast(do)
    with html.Div(classes="spr-buttons"):
        missing = (f"!{SHOWN.is_exact} || !{SHOWN.has_labels}",)
        button(_("Measure per segment"), do.measure_segments, "segmentTableButton", disabled=missing)
        missing = (f"!{SHOWN.has_result} || !{SHOWN.has_landmarks}",)
        button(_("Landmarks"), do.list_landmarks, "landmarkTableButton", disabled=missing)
    with _table(PAGE.segments, "spr-segments"):
        html.Div(_("Of the last exact result, not of the shown one."), v_if=(SHOWN.segments_old,), classes="spr-quiet")
    with _table(PAGE.landmarks, "spr-landmarks"):
        pass


@contextmanager
def _table(state: str, name: str) -> Iterator[None]:
    """Build a table of a state of titles and rows; what is built within is above it."""
    with html.Div(classes="spr-scroll", v_if=(f"{state}.rows.length",), id=name):
        yield
        with html.Table(classes="spr-table spr-cells"):
            with html.Tr():
                html.Th("{{ title }}", v_for=f"title in {state}.titles", key="title")
            with html.Tr(v_for=f"(row, index) in {state}.rows", key="index"):
                html.Td("{{ text }}", v_for="(text, column) in row", key="column")


def settings_map(do: Any) -> None:
    """Build the section “Settings map”, with snapshots, undo and redo."""
    check("sweep", _("Try other settings while the computer is idle"))
    choice("mapMeasure", _("Show"), MapMeasure)
    pending = _("The map is filled after the first deformation, while the computer is idle.")
    html.Div(pending, v_if=(f"sweep && !{PAGE.map}.rows.length",), classes="spr-quiet")
    with html.Div(v_if=(f"{PAGE.map}.rows.length",), classes="spr-scroll"):
        _map(do)
    with html.Div(classes="spr-snapshots"):
        for name in snapshots.NAMES:
            _snapshot(do, name)
    with html.Div(classes="spr-buttons"):
        button(_("Undo"), do.undo, "undoButton", disabled=(f"!{SHOWN.can_undo}",), prepend_icon="mdi-undo")
        button(_("Redo"), do.redo, "redoButton", disabled=(f"!{SHOWN.can_redo}",), prepend_icon="mdi-redo")
        button(_("Difference of A and B"), do.difference, "differenceButton", disabled=(f"!{SHOWN.can_compare}",))


def export() -> None:
    """Build the section “Export”: links to files that are written on request."""
    choice(PAGE.export_format, _("Transform as"), _items(exports.formats()), name="exportFormatSelector")
    choice(PAGE.export_direction, _("Direction"), _items(exports.directions()), name="exportDirectionSelector")
    with html.Div(classes="spr-buttons"):
        transform = f"`explorer/export/${{{PAGE.export_direction}}}${{{PAGE.export_format}}}`"
        _download(_("Transform"), transform, "exportTransformButton")
        _download(_("Deformed image"), "'explorer/export/deformedVolume.nii.gz'", "")
        _download(_("Stiffness map"), "'explorer/export/weightVolume.nii.gz'", "")
        address = "'explorer/export/uncertaintyVolume.nii.gz'"
        _download(_("Uncertainty"), address, "exportUncertaintyButton", f"{SHOWN.uncertainty}.is_exact")
        _download(_("Report"), "'explorer/export/report.json'", "exportReportButton")
    html.Div(
        _("Press Apply first: only exact results can be saved."), v_if=(f"!{SHOWN.has_report}",), classes="spr-quiet"
    )


def _items(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"title": title, "value": value} for title, value in pairs]


def _map(do: Any) -> None:
    with html.Table(classes="spr-map", **html_attributes(aria_label=_("Settings map"))):
        with html.Tr():
            html.Th()
            html.Th("{{ title }}", v_for=f"title in {PAGE.map}.column_titles", key="title")
        with html.Tr(v_for=f"(row, index) in {PAGE.map}.rows", key="index"):
            html.Th(text(f"{PAGE.map}.row_titles[index]"))
            with html.Td(v_for="(cell, column) in row", key="column"):
                html.Button(
                    "{{ cell.text }}{{ cell.signs }}",
                    v_if=("cell",),
                    type="button",
                    title=("cell.hint",),
                    style=("{background: cell.color, color: cell.ink}",),
                    click=(do.jump, "[cell.setting]"),
                )
    names = {"rows": text(f"{PAGE.map}.row_name"), "columns": text(f"{PAGE.map}.column_name")}
    caption = _("Rows: {rows}. Columns: {columns}.").format(**names)
    html.Div(f"{caption} {text(f'{PAGE.map}.legend')}", classes="spr-small")


def _snapshot(do: Any, name: str) -> None:
    with html.Div(classes="spr-snapshot"):
        keep = {"click": (do.keep, f"['{name}']"), "disabled": (f"!{SHOWN.has_result}",)}
        with v.VBtn(_("Keep as {name}").format(name=name), size="small", variant="text", **keep):
            tooltip(f"store{name}Button")
        recall = {"click": (do.recall, f"['{name}']"), "disabled": (f"!{SHOWN.snapshots}.{name}",)}
        with v.VBtn(_("Show {name}").format(name=name), size="small", variant="tonal", **recall):
            tooltip(f"show{name}Button")
        html.Span(text(f"{SHOWN.snapshots}.{name} || ''"), classes="spr-small")


def _histogram() -> None:
    with html.Div(v_if=(f"{PAGE.histogram}.length",), classes="spr-histogram"):
        html.Div(
            _("Histogram of the stiffness (height: square root of the share)"),
            classes="spr-small",
        )
        with html.Div(classes="spr-bars", **html_attributes(role="img", aria_label=_("Histogram of the stiffness"))):
            height = ("{height: bar.height, background: bar.color}",)
            with html.Div(
                v_for=f"(bar, index) in {PAGE.histogram}", key="index", title=("bar.text",), classes="spr-bar-slot"
            ):
                html.Div(classes="spr-bar-fill", style=height)
        with html.Div(classes="spr-small spr-pair"):
            html.Span(_("free 0"))
            html.Span(_("1 stiff"))


def _contrast(do: Any) -> None:
    """Build the text about a stiffness map without contrast, and the button that takes the proposed setting."""
    with html.Div(v_if=(SHOWN.contrast,), id="spr-contrast", **html_attributes(role="status")):
        html.Div(text(SHOWN.contrast), classes="spr-small")
        button(_("Use this setting"), do.restore_contrast, "contrastButton", v_if=(SHOWN.can_restore,))


def _download(label: str, address: str, name: str, is_there: str = "true") -> None:
    can_save = f"({SHOWN.has_report} && {is_there})"
    link = {"href": (f"{can_save} ? {address} : undefined",), "disabled": (f"!{can_save}",)}
    with v.VBtn(label, **link, size="small", variant="tonal", prepend_icon="mdi-download"):
        tooltip(name)
