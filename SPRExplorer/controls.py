"""Parts of the page that occur many times: rows, sliders, switches, lists, with a label and an explanation each.

The explanations are those of the panel in 3D Slicer, found by the name of the field or widget.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.messages import MARK
from SPRRegistrationLib.tooltips import tooltips
from trame.widgets import client, html
from trame.widgets import vuetify3 as v
from trame_client.ui.core import AbstractLayout

SLIM = {"hide_details": True, "density": "compact"}


def plain(**attributes: str) -> dict[str, list[str]]:
    """Return attributes of HTML that trame does not know, such as `aria_label`, as it wants to be given them."""
    return {"raw_attrs": [f'{name.replace("_", "-")}="{escape(value)}"' for name, value in attributes.items()]}


@contextmanager
def piece(name: str) -> Iterator[None]:
    """Build a part of the page that the browser makes anew by itself, when something changes that it shows.

    Otherwise each movement of a slider would make it go through the whole page.
    """
    place = client.ServerTemplate(name=f"spr_{name}")
    root = html.Div(trame_server=place.server, connect_parent=False, classes="spr-piece")
    with AbstractLayout(place.server, root, template_name=f"spr_{name}"):
        yield


def hint(name: str) -> None:
    """Add a tool tip to what is being built, by its name in `tooltips`, if there is one."""
    text = tooltips().get(name)
    if text:
        v.VTooltip(text, activator="parent", location="right", open_delay=600, max_width=320)


def slider(field: str, label: str, step: float, low: float = 0, high: float = 1) -> None:
    """Add a slider with its number.

    Args:
        field: The state it changes.
        label: Its name.
        step: Step of its value.
        low: Lowest value.
        high: Highest value.
    """
    with piece(f"row_{field}"), html.Div(classes="spr-row", **plain(data_spr_field=field)):
        _label(field, label)
        limits = {"min": low, "max": high, "step": step}
        looks = {"color": "primary", "track_size": 3, "thumb_size": 15}
        v.VSlider(v_model=(field,), **limits, **SLIM, **looks, **plain(aria_label=label))
        _number(field, step)


def tuned_slider(field: str, label: str, step: float, recommend: Any, press: Any) -> None:
    """Add a slider of a hyperparameter, with its recommended and suggested values marked and a way back to the former.

    Args:
        field: The state it changes.
        label: Its name.
        step: Step of its value.
        recommend: Sets the recommended value.
        press: Called when it is taken hold of.
    """
    limits, marks = f"limits.{field}", {"spr-tick": f"tuned.{field}", "spr-diamond": f"suggested.{field}"}
    shown = (f"sliders.includes('{field}')",)
    with piece(f"row_{field}"), html.Div(classes="spr-row", v_if=shown, **plain(data_spr_field=field)):
        _label(field, label)
        with html.Div(classes="spr-tuned", dblclick=recommend):
            ends = {"min": (f"{limits}[0]",), "max": (f"{limits}[1]",), "step": step}
            looks = {"color": "primary", "track_size": 4, "thumb_size": 18}
            v.VSlider(v_model=(field,), start=press, **ends, **SLIM, **looks, **plain(aria_label=label))
            with html.Div(classes="spr-tick-row"):
                for looks, value in marks.items():
                    place = f"{{left: 100 * ({value} - {limits}[0]) / ({limits}[1] - {limits}[0]) + '%'}}"
                    text = MARK if looks == "spr-diamond" else ""
                    html.Div(text, classes=looks, style=(place,), v_if=(f"{value} !== undefined",))
        _number(field, step)
        back = _("{name}: back to the recommended value").format(name=label)
        with v.VBtn(icon=True, size="x-small", variant="text", click=recommend, **plain(aria_label=back)):
            v.VIcon("mdi-restore")
            hint(f"{field}TunedButton")


def check(field: str, label: str) -> None:
    """Add a check box."""
    with v.VCheckbox(v_model=(field,), label=label, **SLIM, color="primary", classes="spr-check"):
        hint(field)


def choice(field: str, label: str, items: tuple = (), widget: Any = v.VSelect, name: str = "") -> None:
    """Add a list to choose from.

    Args:
        field: The state it changes.
        label: Its name.
        items: The state that holds the items, and their first value; by default that of the field.
        widget: The kind of list.
        name: Name of the list in the panel of 3D Slicer, where it is not that of the field.
    """
    items = items or (f"{field}_items",)
    with widget(v_model=(field,), items=items, label=label, **SLIM, variant="outlined", classes="spr-choice"):
        hint(name or field)


def button(label: str, click: Any, name: str, **more: Any) -> None:
    """Add a button.

    Args:
        label: Its text.
        click: What it does.
        name: Name of the button in the panel of 3D Slicer.
        more: Further attributes.
    """
    with v.VBtn(label, click=click, size="small", variant="tonal", **more):
        hint(name)


def upload_button(what: str, label: str, name: str, reading: bool = False, **looks: Any) -> None:
    """Add a button that asks for a file and sends it.

    Args:
        what: What it is to be, as the server's address for uploads has it.
        label: Its text.
        name: Name of the button or list in the panel of 3D Slicer.
        reading: Whether it turns while the file is read.
        looks: Further attributes of the button.
    """
    waits = {"loading": (f"reading.includes('{what}')",)} if reading else {}
    button(label, None, name, **waits, **looks, **plain(data_spr_pick=f"spr-{what}-file"))
    file_input(what, "file", label)


def file_input(what: str, kind: str, label: str, **more: Any) -> None:
    """Add what asks for files, unseen.

    Args:
        what: What they are to be, as the server's address for uploads has it.
        kind: Tells those of one side apart.
        label: Its name for those who do not see the page.
        more: Attributes, such as `multiple`.
    """
    names = plain(data_spr_upload=what, aria_label=label)
    html.Input(**more, type="file", id=f"spr-{what}-{kind}", classes="spr-hidden", tabindex="-1", **names)


def _label(field: str, label: str) -> None:
    with html.Span(label, classes="spr-label"):
        hint(field)


def _number(field: str, step: float) -> None:
    digits = len(f"{step:g}".partition(".")[2])
    html.Span(f"{{{{ Number({field}).toFixed({digits}) }}}}", classes="spr-number")
