"""The legends of the maps as HTML, which stays sharp and readable in small views."""

from __future__ import annotations

import slicer
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import colors, unknown
from trame.widgets import html

from SPRExplorer.state import SHOWN

STOPS = 17
LEGEND = f"{SHOWN.has_result} && showLegend && "
STIFFNESS = f"{LEGEND}showWeight && !showJacobian && "
WEIGHT, UNKNOWN, VOLUME = f"{STIFFNESS}{SHOWN.map_known}", f"{STIFFNESS}!{SHOWN.map_known}", f"{LEGEND}showJacobian"


def gradient(table: slicer.vtkMRMLColorTableNode) -> str:
    """Return the colors of a table as a CSS gradient, first at the bottom."""
    color = [0.0] * 4
    stops = []
    for stop in range(STOPS):
        table.GetColor(round(stop / (STOPS - 1) * (colors.SIZE - 1)), color)
        stops.append("rgb({:.0f} {:.0f} {:.0f})".format(*(255 * part for part in color[:3])))
    return f"linear-gradient(to top, {', '.join(stops)})"


def build(scene: slicer.vtkMRMLScene) -> None:
    """Add the legends of both maps to a view; the page shows that of the visible map."""
    stiffness = ((1.0, _("stiff")), (0.5, ""), (0.0, _("free")))
    change = ((2.0, _("grows")), (1.0, _("unchanged")), (0.0, _("folded")))
    with _legend(WEIGHT, _("Stiffness"), gradient(colors.stiffness_colors(scene)), stiffness):
        html.Span(_("says little"), v_if=(SHOWN.contrast,), classes="spr-legend-preview")
    _legend(VOLUME, _("Change of volume"), gradient(colors.volume_change_colors(scene)), change)
    with html.Div(classes="spr-legend spr-legend-unknown", v_if=(UNKNOWN,)):
        html.Span(unknown.title())
        html.Div(classes="spr-hatching")


def _legend(when: str, title: str, bar: str, marks: tuple[tuple[float, str], ...]) -> html.Div:
    with html.Div(classes="spr-legend", v_if=(when,)) as legend:
        html.Span(title, classes="spr-legend-title")
        html.Span(_("preview"), v_if=(f"!{SHOWN.is_exact}",), classes="spr-legend-preview")
        with html.Div(classes="spr-legend-body"):
            with html.Div(classes="spr-legend-marks"):
                for value, word in marks:
                    html.Span(f"{word} {value:.1f}")
            html.Div(classes="spr-legend-bar", style=f"background: {bar}")
    return legend
