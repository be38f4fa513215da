"""Presets saved by the user: saved, chosen, deleted, kept for every scene, and what cannot be read is left out."""

from __future__ import annotations

import importlib.util
import json

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving

pytestmark = pytest.mark.slicer
KEY = "SPRRegistration/Presets"


@pytest.fixture
def unfolded(chosen):
    """The module with “More settings” unfolded."""
    chosen.ui.moreGroup.collapsed = False
    return chosen


def names(module):
    """Names in the list."""
    box = module.ui.presetSelector
    return [box.itemText(row) for row in range(box.count)]


def save(module, name):
    """Type a name and press Save."""
    line = module.ui.presetSelector.lineEdit()
    line.selectAll()
    driving.type_keys(line, name)
    module.ui.savePresetButton.click()


def choose(module, name):
    """Choose a preset as a user does."""
    row = names(module).index(name)
    module.ui.presetSelector.setCurrentIndex(row)
    module.ui.presetSelector.activated.emit(row)


@pytest.fixture
def kept(unfolded):
    """Two presets: "stiff" of the Beta prior from a search, with MIND; "even" of the uniform prior from rest."""
    parameters = unfolded.panel.parameters
    parameters.live = False
    parameters.alpha, parameters.lambdaMax = 0.3, 4.0
    parameters.start = type(parameters.start).SEARCH
    parameters.similarity = type(parameters.similarity).MIND
    save(unfolded, "stiff")
    parameters.prior = type(parameters.prior).UNIFORM
    parameters.strength = 2.5
    parameters.start = type(parameters.start).REST
    parameters.similarity = type(parameters.similarity).CORRELATION
    save(unfolded, "even")
    return unfolded


def test_nothing_can_be_saved_without_a_name(unfolded):
    assert not unfolded.ui.savePresetButton.enabled
    assert not unfolded.ui.deletePresetButton.enabled
    assert unfolded.ui.presetSelector.lineEdit().placeholderText == "New name"
    driving.type_keys(unfolded.ui.presetSelector.lineEdit(), "  ")
    assert not unfolded.ui.savePresetButton.enabled
    driving.type_keys(unfolded.ui.presetSelector.lineEdit(), "x")
    assert unfolded.ui.savePresetButton.enabled


def test_a_preset_sets_prior_sliders_start_and_similarity_as_one_change(kept):
    parameters, seen = kept.panel.parameters, []
    parameters.AddObserver(
        "ModifiedEvent", lambda caller, event: seen.append((parameters.prior.value, parameters.alpha))
    )
    choose(kept, "stiff")
    assert parameters.prior.value == "beta"
    assert (parameters.alpha, parameters.lambdaMax) == (0.3, 4.0)
    assert parameters.start.value == "search"
    assert parameters.similarity.value == "mind"
    assert kept.ui.similaritySelector.currentText.startswith("MIND")
    assert set(seen) == {("beta", 0.3)}
    assert kept.ui.alphaSlider.value == pytest.approx(0.3)
    kept.ui.undoButton.click()
    assert parameters.prior.value == "uniform"
    choose(kept, "even")
    assert (parameters.prior.value, parameters.strength, parameters.start.value) == ("uniform", 2.5, "rest")
    assert parameters.similarity.value == "lncc"


def test_a_name_that_is_there_is_replaced(kept):
    kept.panel.parameters.strength = 7.0
    save(kept, "even")
    assert names(kept) == ["even", "stiff"]
    kept.panel.parameters.strength = 1.0
    choose(kept, "even")
    assert kept.panel.parameters.strength == 7.0


def test_a_deleted_preset_is_gone_and_the_sliders_stay(kept):
    choose(kept, "stiff")
    assert kept.ui.deletePresetButton.enabled
    kept.ui.deletePresetButton.click()
    assert names(kept) == ["even"]
    assert kept.ui.presetSelector.currentText == ""
    assert kept.panel.parameters.alpha == 0.3
    assert not kept.ui.deletePresetButton.enabled


def test_presets_are_there_in_another_scene_and_after_a_new_start(kept):
    slicer.mrmlScene.Clear(0)
    application.process_events(0.05)
    assert names(kept) == ["even", "stiff"]
    kept.widget.cleanup()
    widget = application.load()
    box = widget.panel.ui.presetSelector
    assert [box.itemText(row) for row in range(box.count)] == ["even", "stiff"]
    widget.cleanup()


def test_the_preset_of_the_current_setting_is_named_when_the_module_is_entered(kept):
    kept.widget.exit()
    kept.widget.enter()
    assert kept.ui.presetSelector.currentText == "even"
    kept.widget.exit()
    kept.panel.parameters.similarity = type(kept.panel.parameters.similarity).MEAN_SQUARES
    kept.widget.enter()
    assert kept.ui.presetSelector.currentText == ""
    kept.widget.exit()
    kept.panel.parameters.similarity = type(kept.panel.parameters.similarity).CORRELATION
    kept.panel.parameters.strength = 9.0
    kept.widget.enter()
    assert kept.ui.presetSelector.currentText == ""


def test_a_task_model_has_no_start_and_no_part_of_the_body(kept):
    assert kept.ui.startSelector.enabled
    kept.panel.parameters.method = "general-hyper-spr"
    assert not kept.ui.startSelector.enabled
    assert not kept.ui.anatomySelector.visible
    assert kept.ui.presetSelector.enabled


def test_a_preset_of_a_task_model_that_is_not_installed_says_so(unfolded):
    entry = {
        "name": "old",
        "method": "gone",
        "prior": "beta",
        "start": "rest",
        "setting": {"alpha": 0.1, "lambda_max": 1},
    }
    slicer.app.userSettings().setValue(KEY, json.dumps([entry]))
    unfolded.widget.exit()
    unfolded.widget.enter()
    choose(unfolded, "old")
    assert "not installed here" in unfolded.ui.cardLabel.text


def test_a_preset_of_the_time_before_similarities_is_of_local_correlation(unfolded):
    entry = {"name": "old", "method": "instance", "prior": "uniform", "start": "search", "setting": {"lambda": 3.0}}
    slicer.app.userSettings().setValue(KEY, json.dumps([entry]))
    parameters = unfolded.panel.parameters
    parameters.similarity = type(parameters.similarity).MIND
    unfolded.widget.exit()
    unfolded.widget.enter()
    choose(unfolded, "old")
    assert (parameters.strength, parameters.start.value, parameters.similarity.value) == (3.0, "search", "lncc")
    save(unfolded, "new")
    saved = {each["name"]: each for each in json.loads(slicer.app.userSettings().value(KEY))}
    assert saved["old"] == saved["new"] | {"name": "old"}
    assert (saved["old"]["version"], saved["old"]["similarity"]) == (2, "lncc")


USABLE = {"name": "a", "method": "instance", "prior": "uniform", "start": "rest", "setting": {"lambda": 1}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([USABLE | {"version": 3, "similarity": "lncc"}]),
        json.dumps([USABLE | {"version": 2}]),
        json.dumps([USABLE | {"version": 2, "similarity": "of tomorrow"}]),
        "no JSON",
        "{}",
        "[1, null, {}]",
        '[{"name": "a", "method": "instance", "prior": "of tomorrow", "start": "rest", "setting": {}}]',
        '[{"name": "a", "method": "instance", "prior": "beta", "start": "rest", "setting": {"alpha": 1}}]',
        '[{"name": "a", "method": "instance", "prior": "uniform", "start": "rest", "setting": {"lambda": NaN}}]',
        '[{"name": " ", "method": "instance", "prior": "uniform", "start": "rest", "setting": {"lambda": 1}}]',
    ],
)
def test_what_cannot_be_used_is_left_out(unfolded, text):
    slicer.app.userSettings().setValue(KEY, text)
    unfolded.widget.exit()
    unfolded.widget.enter()
    assert names(unfolded) == []
    save(unfolded, "new")
    assert names(unfolded) == ["new"]
