"""The legends of the maps as HTML, which stays sharp and readable in small views."""

from __future__ import annotations

import slicer
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import colors, unknown
from trame.widgets import html

from SPRExplorer.controls import text
from SPRExplorer.state import SHOWN

STOPS = 17
LEGEND = f"{SHOWN.has_result} && showLegend && "
STIFFNESS = f"{LEGEND}showWeight && !showJacobian && !showUncertainty && "
WEIGHT, UNKNOWN = f"{STIFFNESS}{SHOWN.map_known}", f"{STIFFNESS}!{SHOWN.map_known}"
VOLUME, UNCERTAINTY = f"{LEGEND}showJacobian && !showUncertainty", f"{LEGEND}showUncertainty"


def gradient(table: slicer.vtkMRMLColorTableNode) -> str:
    """Return the colors of a table as a CSS gradient, first at the bottom."""
    color = [0.0] * 4
    stops = []
    for stop in range(STOPS):
        table.GetColor(round(stop / (STOPS - 1) * (colors.SIZE - 1)), color)
        stops.append("rgb({:.0f} {:.0f} {:.0f})".format(*(255 * part for part in color[:3])))
    return f"linear-gradient(to top, {', '.join(stops)})"


def build(scene: slicer.vtkMRMLScene) -> None:
    """Add the legends of the maps to a view; the page shows that of the visible map."""
    stiffness = ((1.0, _("stiff")), (0.5, ""), (0.0, _("free")))
    change = ((2.0, _("grows")), (1.0, _("unchanged")), (0.0, _("folded")))
    with _legend(WEIGHT, _("Stiffness"), gradient(colors.stiffness_colors(scene)), stiffness):
        html.Span(_("says little"), v_if=(SHOWN.contrast,), classes="spr-legend-preview")
    _legend(VOLUME, _("Change of volume"), gradient(colors.volume_change_colors(scene)), change)
    with html.Div(classes="spr-legend spr-legend-unknown", v_if=(UNKNOWN,)):
        html.Span(unknown.title())
        html.Div(classes="spr-hatching")
    _uncertainty(gradient(colors.uncertainty_colors(scene)))


def _legend(when: str, title: str, bar: str, marks: tuple[tuple[float, str], ...]) -> html.Div:
    with html.Div(classes="spr-legend", v_if=(when,)) as legend:
        html.Span(title, classes="spr-legend-title")
        html.Span(_("preview"), v_if=(f"!{SHOWN.is_exact}",), classes="spr-legend-preview")
        _body(bar, [f"{word} {value:.1f}" for value, word in marks])
    return legend


def _uncertainty(bar: str) -> None:
    """Add the legend of the uncertainty, or the text that there is no map yet."""
    end = f"{SHOWN.uncertainty}.end_mm"
    with html.Div(classes="spr-legend spr-legend-uncertainty", v_if=(UNCERTAINTY,)):
        html.Span(_("Uncertainty (± mm)"), classes="spr-legend-title")
        with html.Div(v_if=(f"{end} > 0",), classes="spr-legend"):
            html.Span(_("preview"), v_if=(f"!{SHOWN.uncertainty}.is_exact",), classes="spr-legend-preview")
            _body(bar, [text(f"Number({share} * {end}).toFixed(1)") for share in (1, 0.5, 0)])
            with html.Div(v_if=("hatchAboveMm > 0",), classes="spr-legend-limit"):
                html.Div(classes="spr-hatching")
                html.Span(_("lines: above {limit} mm").format(limit=text("hatchAboveMm")))
        html.Span(text(f"{SHOWN.uncertainty}.text"), v_else=True, classes="spr-legend-preview")


def _body(bar: str, marks: list[str]) -> None:
    with html.Div(classes="spr-legend-body"):
        with html.Div(classes="spr-legend-marks"):
            for mark in marks:
                html.Span(mark)
        html.Div(classes="spr-legend-bar", style=f"background: {bar}")
