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
WIDEST = 410
"""Pixels at 9 points, 12 pixels high. The real widgets were measured 7 % wider, and 450 pixels are there."""

PARTS = ("inputsSection", "modelSection", "regularizationSection", "showSection", "qualitySection", "mapSection")
GROUPS = ("exportSection", "outputsSection", "measuresGroup", "regionGroup", "cardGroup", "stiffnessGroup")


@pytest.fixture
def nine_points():
    """The font of an ordinary desktop."""
    before = qt.QApplication.font()
    font = qt.QFont("DejaVu Sans")
    font.setPixelSize(12)
    if qt.QFontInfo(font).family() != "DejaVu Sans":
        pytest.skip("the font is not there with which the widths were measured")
    qt.QApplication.setFont(font)
    yield
    qt.QApplication.setFont(before)


@pytest.fixture
def wide(nine_points, request):
    """The module with everything unfolded."""
    module = request.getfixturevalue("chosen")
    for name in (*PARTS, *GROUPS):
        getattr(module.ui, name).collapsed = False
    application.process_events(0.05)
    return module


def least(module):
    """The least width of the panel."""
    application.process_events(0.05)
    return module.widget.parent.minimumSizeHint().width()


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
    assert len(wide.ui.applyButton.text) > 50
    assert least(wide) == before


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_prior_fits(wide, place):
    wide.ui.priorSelector.setCurrentIndex(place)
    assert least(wide) <= WIDEST


def test_label_maps_are_offered_to_measure_with_only(module):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "organs")
    offered = {
        name: [box.itemText(index) for index in range(box.count)]
        for name, box in (
            (name, getattr(module.ui, f"{name}Selector")._box) for name in ("fixed", "moving", "fixedLabels")
        )
    }
    assert offered["fixed"] == offered["moving"] == ["None", "before", "after", "third"]
    assert "organs" in offered["fixedLabels"]
