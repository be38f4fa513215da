"""The unmodified module with its .ui file, driven as a user would, on a worker that computes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving
from harness.driving import double_click, drag, groove, move, pick, type_keys, wait_for
from harness.widgets import qt

pytestmark = pytest.mark.slicer
IMAGES = os.environ.get("SPR_WRITE_IMAGES", "")
"""Folder where pictures of the panel are written; nothing for none."""


def test_the_button_says_what_is_missing(module):
    assert not module.ui.applyButton.enabled
    assert module.ui.applyButton.text == "Choose the two images"
    pick(module.ui.fixedSelector, "before")
    assert module.ui.applyButton.text == "Choose the moving image"
    pick(module.ui.movingSelector, "before")
    assert "same" in module.ui.applyButton.text
    assert not module.ui.applyButton.enabled
    pick(module.ui.movingSelector, "after")
    assert module.ui.applyButton.text == "&Apply"
    assert module.ui.applyButton.enabled
    assert "covers 100 %" in module.ui.guardLabel.text
    assert "fit" not in module.ui.guardLabel.text


def test_a_pair_that_says_what_it_is_gets_its_model_and_a_choice_of_the_user_stays(module):
    for image, name in zip(module.images, ("cine MRI heart ED", "cine MRI heart ES", "third"), strict=True):
        image.SetName(name)
    parameters, (moving, fixed, other) = module.panel.parameters, module.images
    parameters.fixedVolume = fixed
    assert parameters.method == "instance"  # one image is no pair
    parameters.movingVolume = moving
    assert parameters.method == "cardiac-cine-hyper-spr-semi"
    assert parameters.alpha == pytest.approx(module.panel.controller.model.optimum["alpha"])
    assert "cardiac-cine-hyper-spr-semi" in module.ui.modelSelector.currentText
    parameters.method = "general-hyper-spr"
    parameters.movingVolume = other
    parameters.movingVolume = moving
    assert parameters.method == "general-hyper-spr"


def test_apply_puts_the_results_into_the_scene(done):
    parameters = done.panel.parameters
    for field in ("displacementTransform", "inverseTransform", "deformedVolume", "weightVolume"):
        assert getattr(parameters, field) is not None, field
    assert "exact" in done.ui.latencyLabel.text
    assert "olding" in done.ui.badgeLabel.text
    assert done.ui.exportTransformButton.enabled
    assert not done.ui.progressBar.visible
    assert done.dialogs.shown == []


@pytest.mark.parametrize(("name", "field"), [("alphaSlider", "alpha"), ("lambdaMaxSlider", "lambdaMax")])
def test_dragging_previews_and_a_gesture_is_one_change(done, name, field):
    slider, parameters = getattr(done.ui, name), done.panel.parameters
    before, changes = getattr(parameters, field), []
    parameters.AddObserver("ModifiedEvent", lambda caller, event: changes.append(getattr(parameters, field)))
    middle, end = slider.minimum + 0.5, slider.minimum + 0.3
    groove(slider).setSliderDown(True)
    for value in (middle, end):
        move(slider, value)
        assert slider.value == pytest.approx(before)  # as it is in Slicer: stale while it is dragged
        assert getattr(parameters, field) == before
    hyperparameter = {"alpha": "alpha", "lambdaMax": "lambda_max"}[field]

    def shows_the_end():
        shown = done.panel.session.shown
        return shown.setting[hyperparameter] == pytest.approx(end, abs=0.02) and not shown.improvement

    assert application.process_events(10, shows_the_end)
    assert changes == []
    groove(slider).setSliderDown(False)
    assert getattr(parameters, field) == pytest.approx(end, abs=0.02)
    assert len(set(changes)) == 1


def test_a_drag_with_the_mouse_previews_and_is_one_change(done):
    slider, parameters = done.ui.alphaSlider, done.panel.parameters
    changes = []
    parameters.AddObserver("ModifiedEvent", lambda caller, event: changes.append(parameters.alpha))
    assert slider.childAt(driving.place_of(slider, slider.value)) is groove(slider)
    shown = driving.drag_with_mouse(slider, slider.value, 0.4)
    assert shown == sorted(shown)
    assert len(set(shown)) > 3, "the handle follows the mouse"
    assert parameters.alpha == pytest.approx(0.4, abs=0.02)
    assert len(set(changes)) == 1
    done.ui.undoButton.click()
    assert parameters.alpha == pytest.approx(0.1)


def test_arrow_keys_move_a_slider_that_has_the_focus(done):
    slider, parameters = done.ui.alphaSlider, done.panel.parameters
    inner, before = groove(slider), parameters.alpha
    driving.press_key(inner, qt.Qt.Key_Right)
    assert parameters.alpha > before
    driving.press_key(inner, qt.Qt.Key_Left)
    assert parameters.alpha == pytest.approx(before, abs=1e-3)
    assert application.process_events(10, lambda: done.panel.session.stage.name in ("READY", "DONE"))


def test_live_off_asks_for_nothing(done):
    done.ui.liveCheckBox.click()
    asked = done.panel.session.setting
    drag(done.ui.alphaSlider, (0.3, 0.4))
    assert done.panel.session.setting == asked


@pytest.mark.parametrize("part", ["left", "tick"])
def test_double_click_and_button_go_back_to_the_recommended_value(done, part):
    done.panel.parameters.alpha = 0.4
    slider = done.ui.alphaSlider
    application.process_events(0.05)
    tick = done.panel.sections[2]._ticks["alpha"]
    place = tick.mapTo(slider, tick.rect.center()) if part == "tick" else qt.QPoint(3, slider.height // 2)
    assert slider.childAt(place) is groove(slider)
    double_click(slider, place)
    assert done.panel.parameters.alpha == pytest.approx(0.1)
    done.panel.parameters.lambdaMax = 3.0
    done.ui.lambdaMaxTunedButton.click()
    assert done.panel.parameters.lambdaMax == pytest.approx(1.0)


def test_digits_that_are_typed_stay_and_are_one_change(done):
    parameters, field = done.panel.parameters, driving.field_of(done.ui.alphaSlider)
    changes = []
    parameters.AddObserver("ModifiedEvent", lambda caller, event: changes.append(parameters.alpha))
    field.selectAll()
    type_keys(field, "0.2")
    done.panel.refresh()  # as an answer of the worker does
    type_keys(field, "5\n")
    assert parameters.alpha == pytest.approx(0.25)
    assert changes
    assert all(value == pytest.approx(0.25) for value in changes)


def test_a_key_of_the_slider_counts_at_once(done):
    before = done.panel.parameters.alpha
    driving.field_of(done.ui.alphaSlider).stepUp()
    assert done.panel.parameters.alpha == pytest.approx(before + 0.001)


def test_another_prior_has_other_sliders(chosen):
    assert chosen.ui.alphaSlider.visible
    assert not chosen.ui.sigmaSlider.visible
    chosen.ui.priorSelector.setCurrentIndex(1)
    assert not chosen.ui.alphaSlider.visible
    assert chosen.ui.sigmaSlider.visible
    assert chosen.ui.lambdaMeanSlider.visible


def test_the_total_variation_prior_has_sliders_of_its_own(chosen):
    ui, parameters = chosen.ui, chosen.panel.parameters
    ui.liveCheckBox.click()
    parameters.lambdaMax = 2.0
    ui.priorSelector.setCurrentIndex(2)
    assert parameters.prior.value == "tv"
    assert [name for name in ("alpha", "lambdaMax", "sigma", "tv", "tvLambdaMax", "strength")
            if getattr(ui, f"{name}Slider").visible] == ["tv", "tvLambdaMax"]  # fmt: skip
    assert (ui.tvLambdaMaxSlider.minimum, ui.tvLambdaMaxSlider.maximum) == (1.0, 100.0)
    drag(ui.tvLambdaMaxSlider, (60.0,))
    drag(ui.tvSlider, (1.0,))
    assert parameters.tvLambdaMax == pytest.approx(60.0, abs=0.1)
    assert parameters.tv == pytest.approx(1.0, abs=0.01)
    ui.tvTunedButton.click()
    assert parameters.tv == pytest.approx(0.3)
    ui.priorSelector.setCurrentIndex(0)
    assert ui.lambdaMaxSlider.value == parameters.lambdaMax == pytest.approx(2.0)


def test_a_model_of_the_total_variation_prior_sets_its_sliders_alone(chosen):
    from SPRRegistrationLib import models, sliders

    card = {"prior": "tv", "ranges": {"lambda_max": [2.0, 40.0]}, "defaults": {"tv": 0.2, "lambda_max": 20.0}}
    model = models.TaskModel(name="liver", path=None, card=card)
    parameters = chosen.panel.parameters
    chosen.ui.liveCheckBox.click()
    sliders.take_model(parameters, model)
    assert (parameters.tv, parameters.tvLambdaMax, parameters.lambdaMax) == (0.2, 20.0, 1.0)
    assert sliders.ranges_of(None, model) == {"tvLambdaMax": (2.0, 48.0)}
    assert sliders.trained_of(None, model) == {"tvLambdaMax": 40.0}
    assert sliders.recommended_of(model)["tvLambdaMax"] == 20.0
    assert sliders.recommended_of(model)["lambdaMax"] == 1.0


def test_cancel_ends_the_computation(chosen):
    chosen.panel.worker.command[-1] = "60"
    chosen.ui.applyButton.click()
    wait_for(chosen.panel, "COMMITTING")
    assert chosen.ui.applyButton.text == "&Apply"
    assert not chosen.ui.applyButton.enabled
    assert chosen.ui.progressBar.visible
    chosen.ui.cancelButton.click()
    wait_for(chosen.panel, "CANCELLED", seconds=5)
    assert chosen.ui.applyButton.enabled
    assert not chosen.ui.cancelButton.enabled
    assert "ancelled" in chosen.ui.statusLabel.text


def test_landmarks_that_do_not_pair_are_refused_in_words(chosen):
    for side, number in (("fixed", 2), ("moving", 3)):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{side} points")
        for index in range(number):
            node.AddControlPoint(index, 0, 0)
        setattr(chosen.panel.parameters, f"{side}Landmarks", node)
    chosen.ui.applyButton.click()
    wait_for(chosen.panel, "FAILED", seconds=5)
    assert "andmarks" in chosen.ui.statusLabel.text
    assert chosen.ui.restartButton.visible
    chosen.panel.parameters.movingLandmarks = None
    chosen.ui.applyButton.click()
    wait_for(chosen.panel, "DONE")


def test_images_that_do_not_overlap_are_told_and_aligned_by_one_click(module):
    far = slicer.util.getNode("after")
    far.SetOrigin(5000, 0, 0)
    pick(module.ui.fixedSelector, "before")
    pick(module.ui.movingSelector, "after")
    assert "⚠" in module.ui.guardLabel.text
    assert "They are aligned before the deformation." in module.ui.guardLabel.text
    assert not module.ui.alignRigidButton.visible
    module.panel.parameters.alignment = type(module.panel.parameters.alignment).NONE
    assert module.ui.alignRigidButton.visible
    module.ui.alignRigidButton.click()
    assert module.panel.parameters.alignment.value == "rigid"
    assert not module.ui.alignRigidButton.visible


def test_nothing_is_installed_without_consent(chosen):
    chosen.panel.missing = lambda: ["torch>=2.4"]
    chosen.dialogs.answer = False
    chosen.ui.applyButton.click()
    (question,) = chosen.dialogs.shown
    assert "torch" in question
    assert chosen.panel.session is None
    assert "Nothing was installed" in chosen.ui.statusLabel.text
    assert chosen.ui.offlineButton.visible


def test_a_missing_extension_is_named(chosen):
    install = sys.modules["SPRRegistrationLib.qt.install"]
    chosen.panel.missing = lambda: [install.TORCH]
    chosen.ui.applyButton.click()
    assert "Extensions Manager" in chosen.ui.statusLabel.text
    assert chosen.panel.session is None


def test_a_folder_without_wheels_is_refused(chosen, tmp_path, monkeypatch):
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *arguments: str(tmp_path))
    chosen.panel.missing = lambda: ["torch>=2.4"]
    chosen.panel.sections[4].install_from_folder()
    assert "wheels" in chosen.ui.statusLabel.text


def test_slicers_own_packages_are_protected(chosen, tmp_path, monkeypatch):
    install, asked = sys.modules["SPRRegistrationLib.qt.install"], []

    def pip_install(arguments):
        asked.extend(arguments)
        asked.append(Path(arguments[arguments.index("-c") + 1]).read_text(encoding="utf-8"))

    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)  # before Slicer 5.12
    install.install(["safetensors>=0.4.3"])
    assert asked[0] == "safetensors>=0.4.3"
    assert f"numpy=={np.__version__}" in asked[-1]


def test_a_worker_that_is_killed_comes_back(done):
    session, transport = done.panel.session, done.panel.controller.transport
    first = transport._process
    transport.kill()
    assert application.process_events(10, lambda: session.stage.name == "OPENING")
    assert "lost" in done.ui.statusLabel.text
    wait_for(done.panel, "READY")
    assert transport._process is not first
    drag(done.ui.alphaSlider, (0.5,))
    assert application.process_events(10, lambda: session.shown.setting["alpha"] == pytest.approx(0.5, abs=0.01))


def test_a_worker_that_cannot_start_is_told_and_can_be_tried_again(chosen):
    right, chosen.panel.worker.command = chosen.panel.worker.command, ["/nowhere/python"]
    chosen.ui.applyButton.click()
    wait_for(chosen.panel, "FAILED", seconds=20)
    assert "cannot be kept running" in chosen.ui.statusLabel.text
    chosen.panel.worker.command = right
    chosen.ui.restartButton.click()
    wait_for(chosen.panel, "DONE")


def test_closing_the_scene_ends_the_worker(done):
    transport = done.panel.controller.transport
    process = transport._process
    slicer.mrmlScene.Clear(0)
    application.process_events(0.2)
    assert driving.sessions(done.panel) == []
    assert process.state() == qt.QProcess.NotRunning
    assert not done.ui.applyButton.enabled
    assert done.panel.parameters.fixedVolume is None


def test_the_scene_closed_while_it_computes(chosen):
    chosen.panel.worker.command[-1] = "60"
    chosen.ui.applyButton.click()
    slicer.mrmlScene.Clear(0)
    application.process_events(0.5)
    assert driving.sessions(chosen.panel) == []


def test_settings_come_back_with_the_scene(done, tmp_path):
    done.panel.parameters.alpha = 0.25
    done.ui.showDisplacementCheckBox.click()
    done.ui.storeAButton.click()
    text = done.ui.badgeLabel.text
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(0)
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Import()
    application.process_events(0.2)
    node = next(
        node
        for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        if node.GetParameter("fixedVolume") is not None and node.GetNodeReference("fixedVolume")
    )
    done.ui.registrationSelector.setCurrentNode(node)
    assert done.ui.alphaSlider.value == pytest.approx(0.25)
    assert done.ui.showDisplacementCheckBox.checked
    assert done.ui.showAButton.enabled
    assert done.ui.badgeLabel.text == text


def test_registrations_side_by_side(done):
    first = done.panel.session
    done.ui.registrationSelector.addNode()
    assert done.panel.session is None
    assert done.panel.parameters.fixedVolume is None
    pick(done.ui.fixedSelector, "before")
    pick(done.ui.movingSelector, "third")
    done.panel.parameters.alpha = 0.5
    done.ui.applyButton.click()
    wait_for(done.panel, "DONE")
    assert done.panel.session is not first
    pick(done.ui.registrationSelector, "SPRRegistration")
    assert done.panel.session is first
    assert done.ui.alphaSlider.value == pytest.approx(0.1)


def test_another_image_needs_another_opening(done):
    before = done.panel.parameters.displacementTransform
    pick(done.ui.movingSelector, "third")
    assert done.panel.session is None
    done.ui.applyButton.click()
    wait_for(done.panel, "DONE")
    assert done.panel.parameters.displacementTransform is before


def test_undo_redo_and_snapshots(done):
    parameters = done.panel.parameters
    assert not done.ui.undoButton.enabled
    drag(done.ui.alphaSlider, (0.4,))
    drag(done.ui.lambdaMaxSlider, (3.0,))
    done.ui.undoButton.click()
    assert parameters.lambdaMax == pytest.approx(1.0)
    assert parameters.alpha == pytest.approx(0.4, abs=0.01)
    done.ui.storeBButton.click()
    done.ui.redoButton.click()
    assert parameters.lambdaMax == pytest.approx(3.0, abs=0.01)
    done.ui.showBButton.click()
    assert parameters.lambdaMax == pytest.approx(1.0)
    assert "evenness" in done.ui.showBButton.toolTip


def test_the_settings_map_is_filled_and_a_click_goes_there(done):
    done.ui.mapSection.collapsed = False
    done.ui.sweepCheckBox.click()
    assert application.process_events(20, lambda: len(done.panel.session.points) == 4)
    assert done.ui.mapTable.rowCount == 2
    assert done.ui.mapTable.columnCount == 2
    texts = [done.ui.mapTable.item(row, column).text() for row in range(2) for column in range(2)]
    assert sum("★" in text for text in texts) == 1
    assert application.process_events(5, lambda: not done.panel.session.sweeping)
    done.panel.controller.end_session()
    done.panel.refresh()
    assert done.ui.mapTable.rowCount == 2  # as it is kept in the scene
    done.ui.mapTable.cellClicked.emit(0, 1)
    assert done.panel.parameters.alpha == pytest.approx(0.2)
    assert done.panel.parameters.lambdaMax == pytest.approx(2.0)


def test_a_task_model_is_imported_and_sets_the_sliders(chosen, tiny_network, card_for, tmp_path, monkeypatch):
    from SPRCore.io import Bundle, write_bundle

    network = tiny_network("hyper-vxm-spr-small")
    ranges = {"alpha": (0.0, 0.1), "lambda_max": (0.0, 3.0)}
    about = {"ranges": ranges, "defaults": {"alpha": 0.02, "lambda_max": 0.3}}
    path = tmp_path / "heart.sprmodel.safetensors"
    write_bundle(Bundle(card_for(network, name="heart", **about), dict(network.state_dict())), path)
    monkeypatch.setenv("SPR_MODELS", str(tmp_path / "mine"))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *arguments: str(path))
    ui, parameters = chosen.ui, chosen.panel.parameters
    ui.liveCheckBox.click()
    parameters.lambdaMax = 5.0
    ui.importButton.click()
    assert chosen.dialogs.shown == []
    assert parameters.method == "heart"
    for slider, field, value, ends in (
        (ui.alphaSlider, "alpha", 0.02, (0.001, 0.12)),
        (ui.lambdaMaxSlider, "lambdaMax", 0.3, (0.04, 3.6)),
    ):
        assert (slider.minimum, slider.maximum) == ends
        assert slider.value == pytest.approx(value)
        assert getattr(parameters, field) == pytest.approx(value)
    assert not ui.priorSelector.enabled
    ui.modelSelector.setCurrentIndex(0)
    assert ui.lambdaMaxSlider.minimum == 0.5
    assert ui.lambdaMaxSlider.value == parameters.lambdaMax == pytest.approx(0.5)


def test_swap_and_other_module(done):
    done.ui.swapButton.click()
    assert done.panel.parameters.fixedVolume.GetName() == "after"
    asked = done.panel.session
    done.widget.exit()
    done.panel.parameters.alpha = 0.33
    assert done.panel.session is asked  # another module is open: nothing is computed
    done.widget.enter()
    assert done.ui.alphaSlider.value == pytest.approx(0.33)


def test_export(done, tmp_path, monkeypatch):
    import nibabel

    transform = done.panel.parameters.displacementTransform
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: str(tmp_path / "out"))
    done.ui.exportFormatSelector.setCurrentIndex(2)
    done.ui.exportTransformButton.click()
    done.ui.exportReportButton.click()
    assert nibabel.load(tmp_path / "out.nii.gz").shape[-1] == 3
    assert transform.GetStorageNode() is None  # the scene will save it where it would have
    report = json.loads((tmp_path / "out").read_text(encoding="utf-8"))
    assert report["setting"]["alpha"] == pytest.approx(0.1)
    assert "before" not in [str(value) for value in report.values()], "the name of an image"


def test_an_export_that_fails_is_told(done, monkeypatch):
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: "/nowhere/at/all/out.h5")
    done.ui.exportTransformButton.click()
    assert "was not saved" in done.dialogs.shown[-1]


def legends():
    """Legends that are shown."""
    return [each for each in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") if each.GetVisibility()]


@pytest.mark.parametrize("way", ["another module", "another registration"])
def test_what_is_left_takes_its_maps_and_legend_along(done, way):
    display = sys.modules["SPRRegistrationLib.scene.display"]
    parameters, layouts = done.panel.parameters, slicer.app.layoutManager()
    composite = slicer.mrmlScene.AddNode(slicer.vtkMRMLSliceCompositeNode())
    view = slicer.vtkMRMLSliceNode()
    for node in (composite, view):
        node.SetLayoutName("Red")
    slicer.mrmlScene.AddNode(view)
    layouts.layout = 7
    for box in ("showDisplacementCheckBox", "originalAnatomyCheckBox"):
        getattr(done.ui, box).click()
    assert composite.GetNthLayerVolumeID(display.MAP_LAYER) == parameters.weightVolume.GetID()
    assert parameters.displacementTransform.GetDisplayNode().GetVisibility()
    assert layouts.layout != 7
    assert len(legends()) == 1
    if way == "another module":
        done.widget.exit()
    else:
        done.ui.registrationSelector.addNode()
    assert not composite.GetNthLayerVolumeID(display.MAP_LAYER)
    assert not parameters.displacementTransform.GetDisplayNode().GetVisibility()
    assert composite.GetForegroundVolumeID() == parameters.deformedVolume.GetID()
    assert layouts.layout == 7
    assert legends() == []
    if way == "another module":
        done.widget.enter()
    else:
        done.ui.registrationSelector.setCurrentNode(parameters.parameterNode)
    assert composite.GetNthLayerVolumeID(display.MAP_LAYER) == parameters.weightVolume.GetID()
    assert parameters.displacementTransform.GetDisplayNode().GetVisibility()
    assert layouts.layout != 7
    assert len(legends()) == 1


@pytest.mark.skipif("SPR_REAL_WIDGETS" in os.environ, reason="a test of the stand-ins")
def test_names_that_slicer_has_not_are_refused_to_the_module(module):
    path = str(application.MODULE)
    with pytest.raises(AttributeError, match="ctkSliderWidget has no setRange"):
        eval(compile("ui.alphaSlider.setRange(0, 1)", path, "eval"), {"ui": module.ui})
    with pytest.raises(AttributeError, match="no property colour"):
        exec(compile("ui.applyButton.colour = 1", path, "exec"), {"ui": module.ui})
    for wrong in (
        "applyButton.connect('clickedd()'",
        "alphaSlider.connect('valueChanged(int)'",
        "applyButton.connect('clicked'",
    ):
        with pytest.raises(ValueError, match="no signal"):
            eval(compile(f"ui.{wrong}, print)", path, "eval"), {"ui": module.ui})


@pytest.mark.slow
def test_the_sample_data_on_the_real_worker(module):
    module.panel.worker.command = sys.modules["SPRRegistrationLib.qt.process"].worker_command()
    module.ui.sampleButton.click()
    assert "covers 100 %" in module.ui.guardLabel.text
    module.ui.applyButton.click()
    wait_for(module.panel, "DONE", "FAILED", seconds=250)
    assert module.panel.session.shown.metrics["after"]["dice_mean"] > 0.85
    module.ui.suggestButton.click()
    assert application.process_events(60, lambda: module.panel.parameters.suggestion)
    assert "Suggested for this pair" in module.ui.suggestLabel.text
    if IMAGES:
        module.ui.storeAButton.click()
        application.process_events(0.5)
        last, parent = module.ui.helpSection, module.widget.parent
        foot = last.mapTo(parent, qt.QPoint(0, 40)).y()
        assert parent.grab(qt.QRect(0, 0, parent.width, foot)).save(str(Path(IMAGES) / "panel.png"))
