"""The five minutes of the page about 3D Slicer, step by step, with the mouse where the page says so."""

from __future__ import annotations

import importlib.util
import json

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving
from harness.widgets import qt

pytestmark = pytest.mark.slicer


def shows(panel, exact):
    """Whether the last result that is shown is exact."""
    return panel.session.shown is not None and panel.session.shown.exact is exact


@pytest.fixture
def tutorial(empty):
    """The module after the first two steps: sample data, and Apply."""
    ui = empty.ui
    ui.sampleButton.click()
    assert (ui.fixedSelector.currentNode().GetName(), ui.movingSelector.currentNode().GetName()) == (
        "Breathed out",
        "Breathed in",
    )
    assert "covers" in ui.guardLabel.text
    assert ui.showSection.collapsed
    ui.applyButton.click()
    driving.wait_for(empty.panel, "DONE")
    assert "olding" in ui.badgeLabel.text
    return empty


def test_sliders(tutorial):
    ui, panel = tutorial.ui, tutorial.panel
    driving.drag_with_mouse(ui.lambdaMaxSlider, ui.lambdaMaxSlider.value, 3.0)
    assert panel.parameters.lambdaMax == pytest.approx(3.0, abs=0.05)
    assert application.process_events(
        10, lambda: panel.session.shown.setting["lambda_max"] == pytest.approx(3, abs=0.1)
    )
    driving.double_click(ui.lambdaMaxSlider, driving.place_of(ui.lambdaMaxSlider, 4.0))
    assert panel.parameters.lambdaMax == pytest.approx(1.0)
    ui.applyButton.click()
    driving.wait_for(panel, "DONE")
    assert shows(panel, exact=True)
    assert "exact result" in ui.latencyLabel.text


def test_part_of_the_body_start_and_suggestion(tutorial):
    ui, parameters = tutorial.ui, tutorial.panel.parameters
    ui.liveCheckBox.click()
    row = [choice.value for choice in type(parameters.anatomy)].index("lung")
    ui.anatomySelector.setCurrentIndex(row)
    assert (parameters.anatomy.value, parameters.start.value) == ("lung", "search")
    ui.moreGroup.collapsed = False
    assert ui.startSelector.visible
    assert ui.startSelector.currentText == "From a search"
    ui.suggestButton.click()
    assert application.process_events(20, lambda: parameters.suggestion)
    assert "Suggested for this pair" in ui.suggestLabel.text


def test_maps_and_original_anatomy(tutorial):
    ui, parameters = tutorial.ui, tutorial.panel.parameters
    before = slicer.app.layoutManager().layout
    ui.showSection.collapsed = False
    assert ui.showWeightCheckBox.checked
    for box, field in (
        ("showDisplacementCheckBox", "showDisplacement"),
        ("showJacobianCheckBox", "showJacobian"),
        ("originalAnatomyCheckBox", "originalAnatomy"),
    ):
        getattr(ui, box).click()
        assert getattr(parameters, field), field
    assert slicer.app.layoutManager().layout != before


def test_settings_map_snapshot_and_undo(tutorial):
    ui, panel = tutorial.ui, tutorial.panel
    ui.mapSection.collapsed = False
    ui.sweepCheckBox.click()
    assert application.process_events(20, lambda: ui.mapTable.rowCount == 2)
    before = panel.parameters.alpha
    ui.storeAButton.click()
    rectangle = ui.mapTable.visualItemRect(ui.mapTable.item(0, 1))
    place = ui.mapTable.viewport().mapTo(ui.mapTable, rectangle.center())
    driving.mouse(ui.mapTable, place, qt.QEvent.MouseButtonPress, qt.QEvent.MouseButtonRelease)
    assert panel.parameters.alpha == pytest.approx(0.2)
    ui.undoButton.click()
    assert panel.parameters.alpha == pytest.approx(before)
    assert ui.showAButton.enabled


def test_saved_preset(tutorial):
    ui, parameters = tutorial.ui, tutorial.panel.parameters
    ui.liveCheckBox.click()
    ui.moreGroup.collapsed = False
    driving.type_keys(ui.presetSelector.lineEdit(), "chest")
    ui.savePresetButton.click()
    saved, parameters.alpha = parameters.alpha, 0.5
    ui.presetSelector.activated.emit(0)
    assert parameters.alpha == pytest.approx(saved)


def test_warping_export_and_log(tutorial, tmp_path, monkeypatch):
    ui, parameters = tutorial.ui, tutorial.panel.parameters
    ui.outputsSection.collapsed = False
    ui.warpSelector.setCurrentNode(parameters.movingLabels)
    ui.warpButton.click()
    assert "warped" in ui.warpLabel.text
    ui.exportSection.collapsed = False
    for button, name in ((ui.exportTransformButton, "chest.h5"), (ui.exportReportButton, "report.json")):
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments, name=name: str(tmp_path / name))
        button.click()
        assert (tmp_path / name).stat().st_size > 100
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["setting"]
    ui.helpSection.collapsed = False
    assert ui.logText.visible
    assert ui.logText.toPlainText()
    assert "Breathed" not in ui.logText.toPlainText()
    assert tutorial.dialogs.shown == []
