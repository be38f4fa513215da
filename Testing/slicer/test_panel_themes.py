"""The panel in the light and the dark style of Slicer: what is colored stands out from its background in both.

With SPR_WRITE_IMAGES naming a folder, its pictures at 400 and 600 pixels are written there, to be looked at.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

from harness import application, driving, themes
from harness.widgets import qt

pytestmark = pytest.mark.slicer
IMAGES = os.environ.get("SPR_WRITE_IMAGES", "")
SECTIONS = ("modelSection", "showSection", "mapSection", "outputsSection", "exportSection", "helpSection")
GROUPS = ("regionGroup", "measuresGroup", "cardGroup", "moreGroup", "stiffnessGroup")
LEAST_CONTRAST = 3.0
"""WCAG 2.1 of graphics and large text."""


@pytest.fixture(params=themes.THEMES)
def styled(request):
    """The module with a result, in a style that it was opened with."""
    with themes.theme(request.param):
        done = request.getfixturevalue("done")
        done.theme = request.param
        application.process_events(0.05)
        yield done


def luminance(color):
    """Relative luminance, 0 to 1."""
    parts = [value / 255 for value in (color.red(), color.green(), color.blue())]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(factor * part for factor, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    """Contrast of two colors, 1 to 21."""
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def colors_of(widget):
    """Colors in the style sheet of a widget, and the color behind it."""
    found = [part.split(";")[0].split("}")[0].split()[-1] for part in widget.styleSheet.split(":")[1:]]
    behind = qt.QApplication.palette().color(qt.QPalette.Window)  # not its own, which its style sheet sets
    return [qt.QColor(text) for text in found if text.startswith("#")], behind


def test_marks_of_the_sliders_and_the_quality_stand_out(styled):
    section = next(each for each in styled.panel.sections if type(each).__name__ == "RegularizationSection")
    marks = [*section.marks("alpha"), styled.ui.badgeLabel]
    for widget in marks:
        own, behind = colors_of(widget)
        assert own
        assert min(contrast(color, behind) for color in own) >= LEAST_CONTRAST, (styled.theme, widget.styleSheet)


def test_the_edge_of_the_quality_is_drawn(styled):
    from SPRRegistrationLib.qt.quality import BORDERS

    label = styled.ui.badgeLabel
    picture = label.grab().toImage()
    assert picture.pixelColor(2, label.height // 2).name() == BORDERS["good"]
    assert picture.pixelColor(label.width - 3, label.height // 2).name() != BORDERS["good"]


def test_each_quality_has_a_color_that_stands_out(styled):
    from SPRRegistrationLib.qt.quality import BORDERS

    behind = qt.QApplication.palette().color(qt.QPalette.Window)
    assert {name: color for name, color in BORDERS.items() if contrast(qt.QColor(color), behind) < LEAST_CONTRAST} == {}


def test_text_is_read_on_its_background(styled):
    palette = styled.ui.SPRRegistration.palette
    for text, behind in ((qt.QPalette.WindowText, qt.QPalette.Window), (qt.QPalette.Text, qt.QPalette.Base)):
        assert contrast(palette.color(text), palette.color(behind)) > 4.5
    for name in ("badgeLabel", "statusLabel", "guardLabel", "measuresLabel"):
        assert "background" not in getattr(styled.ui, name).styleSheet, name


@pytest.mark.parametrize("width", [400, 600])
@pytest.mark.parametrize("unfolded", [False, True], ids=["beginner", "unfolded"])
def test_pictures_of_the_panel(styled, width, unfolded):
    parent = styled.widget.parent
    for name in (*SECTIONS, *GROUPS):
        getattr(styled.ui, name).collapsed = not unfolded
    application.process_events(0.05)
    parent.resize(width, driving.hint(parent, "sizeHint").height())
    application.process_events(0.1)
    picture = parent.grab()
    assert picture.width() == parent.width == width
    if IMAGES:
        kind = "unfolded" if unfolded else "beginner"
        assert picture.save(str(Path(IMAGES) / f"panel-{styled.theme}-{width}-{kind}.png"))
