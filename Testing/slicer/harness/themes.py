"""The light and the dark style of Slicer: Fusion, with its palette."""

from __future__ import annotations

import contextlib

from harness.widgets import qt

_ROLE = qt.QPalette
_DARK = {
    **{_ROLE.Window: "#323232", _ROLE.WindowText: "#ffffff", _ROLE.Base: "#191919", _ROLE.AlternateBase: "#323232"},
    **{_ROLE.Text: "#ffffff", _ROLE.Button: "#323232", _ROLE.ButtonText: "#ffffff", _ROLE.BrightText: "#ff0000"},
    **{_ROLE.ToolTipBase: "#323232", _ROLE.ToolTipText: "#ffffff", _ROLE.Link: "#2a82da", _ROLE.Highlight: "#2a82da"},
    **{_ROLE.HighlightedText: "#000000", _ROLE.PlaceholderText: "#a0a0a0"},
}
_GRAY = (_ROLE.WindowText, _ROLE.Text, _ROLE.ButtonText)
THEMES = ("light", "dark")


@contextlib.contextmanager
def theme(name):
    """Use a style in a context."""
    application = qt.QApplication.instance()
    style, palette = application.style().objectName, application.palette()
    application.setStyle("Fusion")
    application.setPalette(make_palette(name))
    yield
    application.setStyle(style)
    application.setPalette(palette)


def make_palette(name):
    """Return the colors of a style."""
    if name == "light":
        return qt.QApplication.style().standardPalette()
    palette = qt.QPalette()
    for role, color in _DARK.items():
        palette.setColor(role, qt.QColor(color))
    for role in _GRAY:
        palette.setColor(qt.QPalette.Disabled, role, qt.QColor("#808080"))
    return palette
