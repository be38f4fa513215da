"""Part of the body, start and the suggested setting in the panel of Slicer, driven as a user would."""

from __future__ import annotations

import importlib.util
import json

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

from harness import application
from harness.driving import drag, groove, pick, wait_for

pytestmark = pytest.mark.slicer


def choose(selector, text):
    """Choose an entry of a list by what it says."""
    selector.setCurrentIndex(next(index for index in range(selector.count) if selector.itemText(index) == text))


def marks(module):
    """Where the suggested values are marked, by the fields of the visible sliders: the part of the groove, 0 to 1."""
    found = {}
    for field, mark in module.panel.sections[2]._suggested.items():
        if mark.visible and getattr(module.ui, f"{field}Slider").visible:
            width = groove(getattr(module.ui, f"{field}Slider")).width
            found[field] = (mark.x + mark.width / 2 - 7) / (width - 14)
    return found


def part_of(slider, value):
    return (value - slider.minimum) / (slider.maximum - slider.minimum)


@pytest.fixture
def suggested(done):
    """The module with a suggestion for its pair: evenness 0.3, largest stiffness 4."""
    done.ui.suggestButton.click()
    assert not done.ui.suggestButton.enabled
    assert "being chosen" in done.ui.suggestLabel.text
    assert application.process_events(20, lambda: not done.panel.session.is_choosing)
    return done


def keep_another(module, **values):
    """Let the worker have suggested something else."""
    kept = json.loads(module.panel.parameters.suggestion) | values
    module.panel.parameters.suggestion = json.dumps(kept)
    application.process_events(0.05)


def test_a_part_of_the_body_sets_stiffness_sliders_and_start(chosen):
    ui, parameters = chosen.ui, chosen.panel.parameters
    ui.liveCheckBox.click()
    choose(ui.priorSelector, parameters.prior.UNIFORM.label())
    choose(ui.anatomySelector, "Liver")
    assert (parameters.prior.value, parameters.start.value) == ("beta", "search")
    assert (parameters.alpha, parameters.lambdaMax) == (0.02, 20.0)
    assert ui.lambdaMaxSlider.value == ui.lambdaMaxSlider.maximum == 20.0
    assert ui.startSelector.currentText == parameters.start.label()
    drag(ui.lambdaMaxSlider, (8.0,))
    ui.lambdaMaxTunedButton.click()
    assert parameters.lambdaMax == pytest.approx(20.0), "what is recommended is that of the part of the body"
    choose(ui.anatomySelector, "Brain")
    assert (parameters.alpha, parameters.lambdaMax, parameters.start.value) == (0.03, 1.0, "rest")
    assert ui.lambdaMaxSlider.maximum == 5.0
    choose(ui.anatomySelector, "None")
    assert (parameters.alpha, parameters.lambdaMax) == (0.1, 1.0)


def test_what_was_changed_after_the_choice_stays_when_the_registration_is_looked_at_again(chosen):
    ui, parameters = chosen.ui, chosen.panel.parameters
    ui.liveCheckBox.click()
    choose(ui.anatomySelector, "Heart")
    drag(ui.lambdaMaxSlider, (3.0,))
    ui.registrationSelector.addNode()
    assert chosen.panel.parameters.anatomy.value == "none"
    pick(ui.registrationSelector, "SPRRegistration")
    assert ui.anatomySelector.currentText == "Heart"
    assert parameters.lambdaMax == pytest.approx(3.0, abs=0.02)
    assert chosen.panel.session is None, "nothing was computed"


def test_another_start_opens_the_pair_anew(done):
    first = done.panel.session
    choose(done.ui.startSelector, done.panel.parameters.start.SEARCH.label())
    done.ui.applyButton.click()
    wait_for(done.panel, "DONE")
    assert done.panel.session is not first
    assert json.loads(done.panel.parameters.report)["start"] == "search"


def test_a_suggestion_is_marked_said_and_taken_over(suggested):
    ui, parameters = suggested.ui, suggested.panel.parameters
    assert parameters.alpha == 0.1, "it stays in force"
    expected = {"alpha": part_of(ui.alphaSlider, 0.3), "lambdaMax": part_of(ui.lambdaMaxSlider, 4.0)}
    assert marks(suggested) == pytest.approx(expected, abs=0.02)
    assert "Suggested for this pair (◆): evenness (alpha) 0.3, largest stiffness (lambda) 4." in ui.suggestLabel.text
    ui.takeButton.click()
    assert (parameters.alpha, parameters.lambdaMax) == (0.3, 4.0)
    assert ui.alphaSlider.value == pytest.approx(0.3)
    assert "already set" in ui.suggestLabel.text
    assert not ui.takeButton.visible
    assert marks(suggested).keys() == {"alpha", "lambdaMax"}


def test_the_mark_is_on_the_settings_map(suggested):
    suggested.ui.mapSection.collapsed = False
    suggested.ui.sweepCheckBox.click()
    assert application.process_events(20, lambda: len(suggested.panel.session.points) == 4)
    table = suggested.ui.mapTable
    texts = [[table.item(row, column).text() for column in range(2)] for row in range(2)]
    assert [["◆" in text for text in row] for row in texts] == [[False, True], [False, False]]
    assert "◆ is the nearest to the suggested setting" in suggested.ui.mapLabel.text


@pytest.mark.parametrize("change", ["another image", "swap", "start", "paint", "task model"])
def test_a_suggestion_belongs_to_its_pair(suggested, change):
    ui, parameters = suggested.ui, suggested.panel.parameters
    ui.liveCheckBox.click()
    if change == "another image":
        pick(ui.movingSelector, "third")
    elif change == "swap":
        ui.swapButton.click()
    elif change == "start":
        choose(ui.startSelector, parameters.start.SEARCH.label())
    elif change == "paint":
        parameters.stiffnessFactors = '{"bone": 10.0}'
    else:
        parameters.method = "general-hyper-spr"
        assert not ui.suggestButton.visible
        assert not ui.anatomySelector.visible
    assert marks(suggested) == {}
    assert not ui.suggestLabel.visible
    assert not ui.takeButton.visible


def test_another_prior_of_the_same_pair_keeps_its_suggestion_in_words(suggested):
    ui, parameters = suggested.ui, suggested.panel.parameters
    ui.liveCheckBox.click()
    choose(ui.priorSelector, parameters.prior.UNIFORM.label())
    assert marks(suggested) == {}
    assert "another kind of stiffness: Varies, mostly stiff (Beta prior), evenness (alpha) 0.3" in ui.suggestLabel.text
    ui.takeButton.click()
    assert (parameters.prior.value, parameters.alpha, parameters.lambdaMax) == ("beta", 0.3, 4.0)
    assert marks(suggested).keys() == {"alpha", "lambdaMax"}


def test_a_suggested_uniform_stiffness_is_said_and_taken_over(suggested):
    suggested.ui.liveCheckBox.click()
    keep_another(suggested, prior="uniform", setting={"lambda": 2.0})
    assert "another kind of stiffness: The same everywhere (uniform), stiffness (lambda) 2." in (
        suggested.ui.suggestLabel.text
    )
    suggested.ui.takeButton.click()
    assert (suggested.panel.parameters.prior.value, suggested.panel.parameters.strength) == ("uniform", 2.0)
    assert marks(suggested).keys() == {"strength"}


def test_a_suggestion_beyond_the_usual_range_has_its_place(suggested):
    keep_another(suggested, setting={"alpha": 0.1, "lambda_max": 8.0})
    assert suggested.ui.lambdaMaxSlider.maximum == 8.0
    suggested.ui.takeButton.click()
    assert suggested.panel.parameters.lambdaMax == 8.0


def test_where_nothing_could_be_compared_there_is_no_mark(suggested):
    keep_another(suggested, compared=False, warnings=["No setting was chosen for this pair."])
    assert marks(suggested) == {}
    assert "No setting can be suggested" in suggested.ui.suggestLabel.text
    assert not suggested.ui.takeButton.visible


@pytest.mark.parametrize("text", ["{", "[]", '{"of": 3}', '{"prior": "magic", "setting": {}, "compared": 1}'])
def test_a_scene_that_somebody_else_has_written_has_no_suggestion(done, text):
    done.panel.parameters.suggestion = text
    assert marks(done) == {}
    assert not done.ui.suggestLabel.visible


def test_cancel_gives_a_choice_up(done):
    done.ui.suggestButton.click()
    assert done.ui.cancelButton.enabled
    done.ui.cancelButton.click()
    application.process_events(1.0)
    assert done.panel.parameters.suggestion == ""
    assert done.ui.suggestButton.enabled
    assert not done.ui.cancelButton.enabled
    assert done.panel.session.stage.name == "DONE"


def test_a_suggestion_needs_no_other_result(chosen):
    chosen.ui.liveCheckBox.click()
    chosen.ui.suggestButton.click()
    assert application.process_events(30, lambda: chosen.panel.parameters.suggestion)
    assert marks(chosen).keys() == {"alpha", "lambdaMax"}


def test_each_anatomy_has_a_setting():
    from SPRRegistrationLib.parameters import AnatomyChoice

    from SPRCore.regularization.hyperparameters import ANATOMY_SETTINGS

    assert {each.value for each in AnatomyChoice} == {AnatomyChoice.NONE.value, *ANATOMY_SETTINGS}
