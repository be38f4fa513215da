"""Controls of the page: sliders, check boxes, lists and buttons, with label and tooltip.

The tooltips are those of the panel in 3D Slicer, by the name of the field or widget.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from html import escape
from typing import Any

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.messages import MARK
from SPRRegistrationLib.tooltips import tooltips
from trame.widgets import client, html
from trame.widgets import vuetify3 as v
from trame_client.ui.core import AbstractLayout

from SPRExplorer.state import PAGE, SHOWN, items_of

COMPACT = {"hide_details": True, "density": "compact"}


def html_attributes(**attributes: str) -> dict[str, list[str]]:
    """Return HTML attributes that trame does not know, such as `aria_label`, as its argument `raw_attrs`."""
    return {"raw_attrs": [f'{name.replace("_", "-")}="{escape(value)}"' for name, value in attributes.items()]}


@contextmanager
def component(name: str) -> Iterator[None]:
    """Build a Vue component of its own, which the browser renders only when its own state changes.

    In a single template, each movement of a slider would render the whole page.
    """
    template = client.ServerTemplate(name=f"spr_{name}")
    root = html.Div(trame_server=template.server, connect_parent=False, classes="spr-component")
    with AbstractLayout(template.server, root, template_name=f"spr_{name}"):
        yield


def text(expression: str) -> str:
    """Return the template of the value of an expression."""
    return f"{{{{ {expression} }}}}"


def tooltip(name: str) -> None:
    """Add a tooltip to the current element, if there is one of that name."""
    if tip := tooltips().get(name):
        v.VTooltip(tip, activator="parent", location="right", open_delay=600, max_width=320)


def slider(field: str, label: str, step: float, low: float = 0, high: float = 1, zero: str = "") -> None:
    """Add a slider with its value.

    Args:
        field: State that it changes.
        label: Label.
        step: Step.
        low: Lowest value.
        high: Highest value.
        zero: Word instead of the number 0.
    """
    with component(f"row_{field}"), html.Div(classes="spr-row", **html_attributes(data_spr_field=field)):
        _label(field, label)
        limits = {"min": low, "max": high, "step": step}
        looks = {"color": "primary", "track_size": 3, "thumb_size": 15}
        v.VSlider(v_model=(field,), **limits, **COMPACT, **looks, **html_attributes(aria_label=label))
        _number(field, step, zero)


def hyperparameter_slider(field: str, label: str, step: float, recommend: Any, press: Any) -> None:
    """Add a slider of a hyperparameter, with its marks and a reset button.

    The marks are at the recommended and the suggested value, and where it is beyond training.

    Args:
        field: State that it changes.
        label: Label.
        step: Step.
        recommend: Handler that sets the recommended value.
        press: Handler of the start of a drag.
    """
    limits = f"{SHOWN.limits}.{field}"
    marks = {"spr-tick": f"{SHOWN.recommended}.{field}", "spr-diamond": f"{SHOWN.suggested}.{field}"}
    shown = (f"{SHOWN.sliders}.includes('{field}')",)
    with component(f"row_{field}"), html.Div(classes="spr-row", v_if=shown, **html_attributes(data_spr_field=field)):
        with html.Span(text(f"{SHOWN.labels}.{field} || {json.dumps(label)}"), classes="spr-label"):
            tooltip(field)
        with html.Div(classes="spr-tuned", dblclick=recommend):
            ends = {"min": (f"{limits}[0]",), "max": (f"{limits}[1]",), "step": step}
            looks = {"color": "primary", "track_size": 4, "thumb_size": 18}
            v.VSlider(v_model=(field,), start=press, **ends, **COMPACT, **looks, **html_attributes(aria_label=label))
            trained = f"{SHOWN.trained}.{field}"
            with html.Div(classes="spr-tick-row"):
                share = f"100 * ({limits}[1] - {trained}) / ({limits}[1] - {limits}[0])"
                html.Div(classes="spr-beyond", style=(f"{{width: {share} + '%'}}",), v_if=(f"{trained} !== undefined",))
                for css_class, value in marks.items():
                    position = f"{{left: 100 * ({value} - {limits}[0]) / ({limits}[1] - {limits}[0]) + '%'}}"
                    mark = MARK if css_class == "spr-diamond" else ""
                    html.Div(mark, classes=css_class, style=(position,), v_if=(f"{value} !== undefined",))
            words = _("beyond training, which ended at {end}").format(end=text(f"Number({trained}.toPrecision(3))"))
            html.Div(words, classes="spr-small", v_if=(f"{trained} !== undefined && {field} > {trained}",))
        _number(field, step)
        reset = _("{name}: reset to the recommended value").format(name=label)
        with v.VBtn(icon=True, size="x-small", variant="text", click=recommend, **html_attributes(aria_label=reset)):
            v.VIcon("mdi-restore")
            tooltip(f"{field}TunedButton")


def check(field: str, label: str) -> None:
    """Add a check box."""
    with v.VCheckbox(v_model=(field,), label=label, **COMPACT, color="primary", classes="spr-check"):
        tooltip(field)


def choice(
    field: str, label: str, items: type[Enum] | list[dict] | str, widget: Any = v.VSelect, name: str = ""
) -> None:
    """Add a list to choose from.

    Args:
        field: State that it changes.
        label: Label.
        items: An enumeration, the items, or the name of their state.
        widget: Widget class.
        name: Name of its tooltip; that of the field by default.
    """
    values = items_of(items) if isinstance(items, type) else items
    state = (items,) if isinstance(items, str) else (f"{field}_items", values)
    with widget(v_model=(field,), items=state, label=label, **COMPACT, variant="outlined", classes="spr-choice"):
        tooltip(name or field)


def button(label: str, click: Any, name: str, **more: Any) -> None:
    """Add a button.

    Args:
        label: Text.
        click: Handler.
        name: Name of its tooltip.
        more: Further attributes.
    """
    with v.VBtn(label, click=click, size="small", variant="tonal", **more):
        tooltip(name)


def upload_button(what: str, label: str, name: str, reading: bool = False, **looks: Any) -> None:
    """Add a button that uploads a file.

    Args:
        what: Target of the upload, see `routes.UPLOADS`.
        label: Text.
        name: Name of its tooltip.
        reading: Whether it shows activity while the file is read.
        looks: Further attributes of the button.
    """
    loading = {"loading": (f"{PAGE.reading}.includes('{what}')",)} if reading else {}
    button(label, None, name, **loading, **looks, **html_attributes(data_spr_pick=f"spr-{what}-file"))
    file_input(what, "file", label)


def file_input(what: str, kind: str, label: str, **more: Any) -> None:
    """Add a hidden file input.

    Args:
        what: Target of the upload, see `routes.UPLOADS`.
        kind: Distinguishes the inputs of one target.
        label: Accessible name.
        more: Attributes, such as `multiple`.
    """
    names = html_attributes(data_spr_upload=what, aria_label=label)
    html.Input(**more, type="file", id=f"spr-{what}-{kind}", classes="spr-hidden", tabindex="-1", **names)


def _label(field: str, label: str) -> None:
    with html.Span(label, classes="spr-label"):
        tooltip(field)


def _number(field: str, step: float, zero: str = "") -> None:
    digits = len(f"{step:g}".partition(".")[2])
    number = f"Number({field}).toFixed({digits})"
    html.Span(text(f"{field} ? {number} : {json.dumps(zero)}" if zero else number), classes="spr-number")
