"""The panel fits beside the views: Slicer's panel of modules has no bar to scroll sideways."""

from __future__ import annotations

import importlib.util

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving
from harness.widgets import qt

pytestmark = pytest.mark.slicer
WIDEST = 400
"""Pixels that Slicer's panel of modules has at least, for a font of 12 points."""

SIZES = {"9 points": 12, "12 points": 16}
"""Height of the font in pixels, at 96 dots an inch."""

BEGINNER = ("inputsSection", "regularizationSection", "qualitySection")
FOLDED = ("modelSection", "showSection", "mapSection", "outputsSection", "exportSection", "helpSection")
GROUPS = ("measuresGroup", "regionGroup", "cardGroup", "moreGroup", "stiffnessGroup")


def use_font(pixels):
    """Use the font with which the widths were measured, in a size."""
    font = qt.QFont("DejaVu Sans")
    font.setPixelSize(pixels)
    if qt.QFontInfo(font).family() != "DejaVu Sans":
        pytest.skip("the font is not there with which the widths were measured")
    qt.QApplication.setFont(font)


@pytest.fixture(params=list(SIZES), autouse=True)
def font(request):
    """The font of an ordinary desktop, and a large one."""
    before = qt.QApplication.font()
    use_font(SIZES[request.param])
    yield
    qt.QApplication.setFont(before)


@pytest.fixture
def wide(font, request):
    """The module with everything unfolded."""
    module = request.getfixturevalue("chosen")
    for name in (*BEGINNER, *FOLDED, *GROUPS):
        getattr(module.ui, name).collapsed = False
    application.process_events(0.05)
    return module


def least(module):
    """The least width of the panel."""
    application.process_events(0.05)
    return driving.hint(module.widget.parent, "minimumSizeHint").width()


def test_everything_unfolded_fits(wide):
    assert 200 < least(wide) <= WIDEST


def test_long_names_and_messages_change_nothing(wide):
    before = least(wide)
    wide.images[0].SetName("Thorax_Lung_1.0_B60f_Inspiration_with_a_very_long_description_of_the_series_of_2019")
    driving.add_image("another_" * 20)
    wide.ui.statusLabel.text = "/a/folder/" + "a_folder_with_a_long_name/" * 10
    wide.ui.guardLabel.text = "word" * 60
    assert least(wide) == before


def test_what_stands_in_the_way_of_apply_changes_nothing(wide):
    before = least(wide)
    driving.pick(wide.ui.movingSelector, "before")
    assert "same" in wide.ui.applyButton.text
    assert least(wide) == before


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_prior_fits(wide, place):
    wide.ui.priorSelector.setCurrentIndex(place)
    assert least(wide) <= WIDEST


def needed(widget):
    """The width that the text of a button or a label needs."""
    lines = widget.text.replace("&", "").split("\n")
    return max(widget.fontMetrics().horizontalAdvance(line) for line in lines)


def cut(module):
    """Names of the widgets whose text is wider than they are."""
    named = {
        name: widget
        for name, widget in vars(module.ui).items()
        if widget.inherits("QLabel") or widget.inherits("QAbstractButton")
    }
    plain = {
        name: widget for name, widget in named.items() if widget.visible and widget.text and not is_wrapped(widget)
    }
    assert len(plain) > 40
    return {
        name: (widget.text, needed(widget), widget.width)
        for name, widget in plain.items()
        if needed(widget) > widget.width
    }


def is_wrapped(widget):
    """Whether a text is divided into lines where it is too long."""
    return widget.inherits("QLabel") and widget.wordWrap


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_no_text_is_cut_at_the_least_width(wide, place):
    wide.widget.parent.resize(WIDEST, 3000)
    wide.ui.priorSelector.setCurrentIndex(place)
    application.process_events(0.05)
    assert cut(wide) == {}


@pytest.mark.parametrize("names", [(), ("before", None), ("before", "before"), ("before", "after")])
def test_what_apply_needs_is_not_cut(module, names):
    module.widget.parent.resize(WIDEST, 3000)
    for selector, name in zip((module.ui.fixedSelector, module.ui.movingSelector), names, strict=False):
        if name:
            driving.pick(selector, name)
    application.process_events(0.05)
    button = module.ui.applyButton
    assert needed(button) < button.width, button.text


def test_a_beginner_sees_inputs_sliders_apply_and_quality(module):
    assert [name for name in BEGINNER if getattr(module.ui, name).collapsed] == []
    assert [name for name in (*FOLDED, *GROUPS) if not getattr(module.ui, name).collapsed] == []
    for name in ("sampleButton", "fixedSelector", "movingSelector", "alphaSlider", "lambdaMaxSlider", "applyButton"):
        assert getattr(module.ui, name).visible, name
    assert not module.ui.priorSelector.visible


def test_sliders_are_named_by_what_they_set_with_the_letter_of_the_paper(module):
    texts = {name: getattr(module.ui, f"{name}Label").text.replace("&", "") for name in ("alpha", "lambdaMax")}
    assert texts == {"alpha": "Evenness of the stiffness (α′):", "lambdaMax": "Largest stiffness (λ max):"}  # noqa: RUF001


def test_label_maps_are_offered_to_measure_with_only(module):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "organs")
    names = ("fixed", "moving", "fixedLabels")
    offered = {name: driving.offered(getattr(module.ui, f"{name}Selector"))[0] for name in names}
    assert offered["fixed"] == offered["moving"] == ["None", "before", "after", "third"]
    assert "organs" in offered["fixedLabels"]
