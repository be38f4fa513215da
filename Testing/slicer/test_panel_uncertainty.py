"""The uncertainty on the panel: its controls, what the worker is asked, tables, export, and scripts."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving
from harness.widgets import qt

import SPRCore.io

pytestmark = pytest.mark.slicer


def waits(is_true):
    assert application.process_events(20, is_true)


def test_it_is_computed_while_it_is_switched_on_and_removed_with_another_setting(done):
    from SPRRegistrationLib.scene import uncertainty

    ui, panel = done.ui, done.panel
    assert panel.session.uncertainty is None
    assert not ui.uncertaintyLabel.visible
    assert not ui.hatchAboveSlider.enabled
    ui.showSection.collapsed = False
    ui.showUncertaintyCheckBox.click()
    waits(lambda: panel.session.uncertainty is not None)
    assert panel.parameters.showUncertainty
    assert panel.session.uncertainty.fine
    assert ui.hatchAboveSlider.enabled
    assert ui.uncertaintyLabel.text == "Median ± 0.5 mm, 95 % of the image below ± 1.5 mm"
    assert json.loads(panel.parameters.report)["metrics"]["after"]["uncertainty_mm"]["median"] == 0.5
    assert "Uncertainty of the displacement" in ui.measuresLabel.text
    values = slicer.util.arrayFromVolume(panel.parameters.uncertaintyVolume)
    assert values.max() == pytest.approx(0.5 * panel.session.setting["alpha"])
    driving.drag(ui.alphaSlider, [0.2, 0.4])
    waits(lambda: panel.session.uncertainty is not None and panel.session.uncertainty.setting["alpha"] > 0.3)
    values = slicer.util.arrayFromVolume(panel.parameters.uncertaintyVolume)
    assert values.max() == pytest.approx(0.5 * panel.session.setting["alpha"])
    ui.showUncertaintyCheckBox.click()
    driving.drag(ui.alphaSlider, [0.1, 0.25])
    waits(lambda: panel.session.shown.setting["alpha"] < 0.3)
    assert not uncertainty.has_map(panel.parameters)
    assert not ui.exportUncertaintyButton.enabled


def test_it_is_saved_and_listed(done, tmp_path, monkeypatch):
    ui, panel = done.ui, done.panel
    parameters = panel.parameters
    for name in ("fixedLandmarks", "movingLandmarks"):
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        points.AddControlPoint(1.0, 1.0, 1.0, "P")
        setattr(parameters, name, points)
    ui.showUncertaintyCheckBox.click()
    waits(lambda: panel.session.uncertainty is not None and panel.session.uncertainty.fine)
    assert ui.landmarkTableButton.enabled
    ui.landmarkTableButton.click()
    assert ui.landmarkTableView.mrmlTableNode() is parameters.landmarkTable
    row = [parameters.landmarkTable.GetTable().GetColumn(k).GetValue(0) for k in range(3)]
    assert row[0] == "P"
    assert row[2] == pytest.approx(0.5 * panel.session.setting["alpha"])
    path = tmp_path / "uncertainty.nii.gz"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: str(path))
    ui.exportUncertaintyButton.click()
    saved = SPRCore.io.read_volume(path)
    assert saved.array == pytest.approx(slicer.util.arrayFromVolume(parameters.uncertaintyVolume).transpose(2, 1, 0))


def test_a_script_gets_it_with_the_result(script_module):
    images = [driving.add_image(name, seed) for seed, name in enumerate(("before", "after"), start=1)]
    from SPRRegistrationLib.qt import controllers

    controllers.shared().worker.command = driving.worker()
    logic = script_module.SPRRegistrationLogic()
    registration = logic.registerVolumes(*images, showUncertainty=True, timeout=60)
    values = slicer.util.arrayFromVolume(registration.uncertaintyVolume)
    assert values == pytest.approx(np.full_like(values, 0.5 * registration.alpha))
    assert json.loads(registration.report)["metrics"]["after"]["uncertainty_mm"]["p95"] == 1.5
