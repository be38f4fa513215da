"""The page: the title bar, the sections of the panel in the order and words of 3D Slicer, and the views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.parameters import Alignment
from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html
from trame.widgets import vuetify3 as v

from SPRExplorer import page_results, page_settings
from SPRExplorer.controls import COMPACT, button, choice, component, file_input, html_attributes, text, upload_button
from SPRExplorer.state import PAGE, SHOWN
from SPRExplorer.views import Views, layout_choices

COLORS = {
    "light": {"primary": "#1f6f8b", "surface": "#ffffff", "background": "#f3f5f7", "warning": "#a65300"},
    "dark": {"primary": "#5cc2dd", "surface": "#1d232b", "background": "#12161b", "warning": "#f2a65a"},
}
SHORTCUTS = (
    ("A", _("Apply")),
    ("C", _("Cancel")),
    ("[  ]", _("Decrease, increase the largest stiffness")),
    ("-  =", _("Decrease, increase the evenness")),
    ("D", _("Deformed image on and off")),
    ("W", _("Stiffness map on and off")),
    ("V", _("Volume change map on and off")),
    ("U", _("Uncertainty on and off")),
    ("G", _("Displacement on and off")),
    ("F", _("Flicker")),
    (",  .", _("Previous, next slice")),
    ("Z  Shift+Z", _("Undo, redo")),
    ("R", _("Fit the views to the images")),
    ("?", _("Show this list")),
)


def build(server: Any, views: Views, do: Any) -> None:
    """Build the page.

    Args:
        server: The trame server.
        views: The views.
        do: Actions of the buttons.
    """
    themes = {name: {"dark": name == "dark", "colors": colors} for name, colors in COLORS.items()}
    with VAppLayout(server, vuetify_config={"theme": {"themes": themes}}, theme=(PAGE.theme,)) as layout:
        with html.Div(classes=(f"`spr-page spr-${{{PAGE.theme}}}`",)):
            with component("bar"):
                _bar(do)
            with html.Div(classes="spr-main"):
                with html.Aside(classes="spr-panel", **html_attributes(aria_label=_("Settings"))):
                    _sections(do)
                with html.Section(classes="spr-views", **html_attributes(aria_label=_("Views"))):
                    with html.Div(classes="spr-grid"):
                        views.add_to_page(layout)
                    _footer()
        with component("help"):
            _help()
        with component("messages"):
            _messages()


def _sections(do: Any) -> None:
    looks = {"multiple": True, "variant": "accordion", "flat": True, "v_model": (PAGE.open_sections,)}
    with v.VExpansionPanels(**looks):
        with _section(_("Inputs"), "inputs"):
            _inputs(do)
        with _section(_("Task model"), "model"):
            page_settings.task_model()
        with _section(_("Regularization"), "settings"):
            page_settings.regularization(do)
    with component("run"):
        page_settings.run(do)
    with v.VExpansionPanels(**looks):
        with _section(_("Show"), "show"):
            page_results.show()
        with _section(_("Quality"), "quality"):
            page_results.quality(do)
        with _section(_("Settings map"), "map"):
            page_results.settings_map(do)
        with _section(_("Export"), "export"):
            page_results.export()


@contextmanager
def _section(title: str, name: str) -> Iterator[None]:
    with v.VExpansionPanel(value=name, elevation=0, classes="spr-section", **html_attributes(data_spr_section=name)):
        v.VExpansionPanelTitle(title)
        with v.VExpansionPanelText(), component(name):
            yield


def _bar(do: Any) -> None:
    with html.Header(classes="spr-bar"):
        html.Div(classes="spr-mark", **html_attributes(aria_hidden="true"))
        with html.Div(classes="spr-name"):
            html.Strong(_("SPR Registration"))
            html.Span(_("Explorer"))
        html.Div(classes="spr-space")
        with html.Div(classes="spr-layouts", **html_attributes(role="group", aria_label=_("Views"))):
            for item in layout_choices():
                is_it = f"{PAGE.layout} === '{item['value']}'"
                looks = {"variant": (f"{is_it} ? 'tonal' : 'text'",), "color": (f"{is_it} ? 'primary' : undefined",)}
                _tool(item["icon"], f"{PAGE.layout} = '{item['value']}'", item["title"], **looks)
        _tool("mdi-fit-to-screen-outline", do.fit, _("Fit the views to the images"))
        is_dark = f"{PAGE.theme} === 'dark'"
        icon = text(f"{is_dark} ? 'mdi-white-balance-sunny' : 'mdi-weather-night'")
        _tool(icon, f"{PAGE.theme} = {is_dark} ? 'light' : 'dark'", _("Light or dark"))
        _tool("mdi-keyboard-outline", f"{PAGE.help} = true", _("Keyboard"))


def _tool(icon: str, click: Any, title: str, **looks: Any) -> None:
    looks = {"variant": "text"} | looks
    with v.VBtn(icon=True, click=click, size="small", **looks, **html_attributes(aria_label=title)):
        v.VIcon(icon)
        v.VTooltip(title, activator="parent", location="bottom")


def _inputs(do: Any) -> None:
    for side, title in (("fixed", _("Fixed image")), ("moving", _("Moving image"))):
        with html.Div(classes="spr-image", **html_attributes(data_spr_drop=f"{side}Volume")):
            with html.Div(classes="spr-image-words"):
                html.Span(title, classes="spr-small")
                html.Strong(text(f"{SHOWN.names}.{side}Volume || '{_('none')}'"))
            v.VProgressCircular(
                indeterminate=True, size=18, width=2, v_if=(f"{PAGE.reading}.includes('{side}Volume')",)
            )
            _open_menu(do, side, title)
    with html.Div(classes="spr-buttons"):
        button(_("Load sample data"), do.load_sample, "sampleButton", prepend_icon="mdi-lungs")
        button(_("Swap"), do.swap, "swapButton", prepend_icon="mdi-swap-vertical")
    with html.Div(classes=(f"`spr-notice ${{{PAGE.check_level}}}`",), **html_attributes(role="status")):
        v.VIcon(text(f"{PAGE.check_level} === 'check' ? 'mdi-alert' : 'mdi-information-outline'"), size="small")
        with html.Div():
            html.Div("{{ line }}", v_for=f"line in {PAGE.check}", key="line")
            with html.Div(classes="spr-buttons", v_if=(PAGE.can_align,)):
                button(_("Align first: rigid"), "alignment = 'rigid'", "alignRigidButton")
                button(_("Align first: affine"), "alignment = 'affine'", "alignAffineButton")
    choice("alignment", _("Alignment before the deformation"), Alignment)
    _channels(do)
    _references(do)


def _open_menu(do: Any, side: str, title: str) -> None:
    with v.VBtn(
        _("Open"), size="small", variant="tonal", append_icon="mdi-menu-down", **html_attributes(data_spr_open=side)
    ):
        with v.VMenu(activator="parent"), v.VList(density="compact"):
            for kind, label in (("file", _("File, or DICOM as .zip…")), ("folder", _("DICOM folder…"))):
                v.VListItem(title=label, **html_attributes(data_spr_pick=f"spr-{side}Volume-{kind}"))
            v.VListItem(
                v_for=f"name in {PAGE.folder_files}",
                key="name",
                title=("name",),
                prepend_icon="mdi-folder-outline",
                click=(do.open_listed, f"['{side}', name]"),
            )
    for kind, more in (("file", {"multiple": True}), ("folder", {"webkitdirectory": True})):
        file_input(f"{side}Volume", kind, title, **more)


def _channels(do: Any) -> None:
    """Build the inputs for second channels, in the place and words of the panel in 3D Slicer."""
    titles = {"fixedChannel": _("Fixed channel 2"), "movingChannel": _("Moving channel 2")}
    with html.Details(classes="spr-more", **html_attributes(data_spr_section="channels")):
        html.Summary(_("Second channels"))
        for field, title in titles.items():
            _optional_file(do, field, title)


def _references(do: Any) -> None:
    """Build the inputs for segments and landmarks, which only measure."""
    titles = {
        "fixedLabels": _("Segments of the fixed image"),
        "movingLabels": _("Segments of the moving image"),
        "fixedLandmarks": _("Landmarks of the fixed image"),
        "movingLandmarks": _("Landmarks of the moving image"),
    }
    with html.Details(classes="spr-more", **html_attributes(data_spr_section="references")):
        html.Summary(_("Segments and landmarks for measures"))
        for field, title in titles.items():
            _optional_file(do, field, title)
        label = _("Show as outlines and crosses")
        v.VCheckbox(v_model=(PAGE.show_references,), label=label, **COMPACT, color="primary", classes="spr-check")


def _optional_file(do: Any, field: str, title: str) -> None:
    """Build the line of a file that may be absent: its name, a button that removes it, and one that opens another."""
    with html.Div(classes="spr-image", **html_attributes(data_spr_drop=field)):
        with html.Div(classes="spr-image-words"):
            html.Span(title, classes="spr-small")
            html.Strong(text(f"{SHOWN.names}.{field} || '{_('none')}'"))
        remove = {"click": (do.forget, f"['{field}']"), "v_if": (f"{SHOWN.names}.{field}",)}
        named = html_attributes(aria_label=_("{what}: remove").format(what=title))
        with v.VBtn(icon=True, size="x-small", variant="text", **remove, **named):
            v.VIcon("mdi-close")
        upload_button(field, _("Open"), field, reading=True)


def _footer() -> None:
    with component("footer"), html.Footer(classes="spr-footer"):
        cursor_help = _("Point at a slice view to read the stiffness and the displacement there.")
        html.Span(text(f"{SHOWN.cursor_text} || '{cursor_help}'"))
        html.Span(_("Research software: not for diagnosis or treatment."), classes="spr-caution")


def _help() -> None:
    with v.VDialog(v_model=(PAGE.help,), max_width=460), v.VCard(title=_("Keyboard"), classes="spr-help"):
        with v.VCardText():
            with html.Table():
                for keys, effect in SHORTCUTS:
                    with html.Tr():
                        with html.Td():
                            html.Kbd(keys)
                        html.Td(effect)
            html.P(_("In a slice view: the wheel changes the slice, the right button zooms, the middle button pans."))
            html.P(_("The address contains the settings: copy it to restore them."))
        with v.VCardActions():
            v.VSpacer()
            v.VBtn(_("Close"), click=f"{PAGE.help} = false")


def _messages() -> None:
    """Build the error messages."""
    with v.VSnackbar(
        v_model=(PAGE.notice_open,), timeout=12000, location="bottom right", color="error", multi_line=True
    ):
        html.Span(text(PAGE.notice), **html_attributes(role="alert"))
    with html.Div(classes="spr-lost", id="spr-lost", **html_attributes(role="alert")):
        html.Strong(_("The connection is lost."))
        html.Span(_("The page reloads when the Explorer runs again. Your images stay on its computer."))
