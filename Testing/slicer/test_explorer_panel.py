"""The Explorer's panel without a page, against a worker that the test plays: what is asked of the worker, and when."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from SPRCore.live import protocol

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("trame_slicer") is None, reason="trame-slicer is not installed"),
]


def verbs(worker, since=0):
    worker.read()
    return [request.verb for request in worker.requests[since:] if request.verb != "release"]


def points(count=3):
    return (np.arange(3.0 * count).reshape(count, 3) + 5,)


def test_the_pair_is_aligned_by_itself_where_that_helps(explorer):
    _panel, worker = explorer
    assert worker.last(protocol.Open).init == "auto"


def test_apply_never_cancels_and_cancel_never_applies(explorer):
    panel, worker = explorer
    panel.apply()
    since = len(worker.requests)
    panel.apply()
    assert verbs(worker, since) in ([], ["commit"])
    assert panel.is_committing
    panel.cancel()
    assert verbs(worker)[-1] == "cancel"
    since = len(worker.requests)
    panel.cancel()
    assert verbs(worker, since) == []


def test_landmarks_and_labels_open_nothing_and_clear_nothing(explorer):
    from harness import pairs

    panel, worker = explorer
    panel.apply()
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    report, shown = panel.parameters.report, panel.session.shown
    for side in ("fixed", "moving"):
        panel.add(f"{side}Landmarks", f"{side} points", points())
    labels = np.ones(pairs.SHAPE, dtype=np.uint8)
    for side in ("fixed", "moving"):
        panel.add(f"{side}Labels", f"{side} organs", (labels, pairs.AFFINE))
    assert verbs(worker).count("open") == 1
    assert panel.parameters.report == report != ""
    assert panel.session.shown is shown
    assert sorted(worker.last(protocol.Annotate).segment.arrays) == [
        *("fixed_labels", "fixed_points", "moving_labels", "moving_points")
    ]
    assert verbs(worker)[-1] == "commit", "what is shown is measured with them"
    panel.choose({"fixedLandmarks": None})
    assert sorted(worker.last(protocol.Annotate).segment.arrays) == ["fixed_labels", "moving_labels"]


def test_another_image_opens_anew_and_forgets_the_report(explorer):
    from harness import pairs

    panel, worker = explorer
    panel.apply()
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    array = np.random.default_rng(1).uniform(0, 100, pairs.SHAPE).astype(np.float32)
    panel.add("movingVolume", "another", (array, pairs.AFFINE))
    assert verbs(worker).count("open") == 2
    assert panel.parameters.report == ""
    assert panel.session.shown is None


def test_second_channels_open_anew_once_both_are_there_and_can_be_removed(explorer):
    from harness import pairs

    from SPRExplorer import state
    from SPRExplorer.actions import Actions

    panel, worker = explorer
    explorer = SimpleNamespace(controller=panel, views=SimpleNamespace(fit=None), load_sample=None)
    pet = np.random.default_rng(3).uniform(0, 10, pairs.SHAPE).astype(np.float32)
    panel.add("fixedChannel", "PET", (pet, pairs.AFFINE))
    page = state.PageState()
    state.update_check(page, panel)
    assert page.check == ["Choose the second channel of the moving image, too, or none."]
    assert not state.state_of(panel).can_apply
    assert verbs(worker).count("open") == 1
    panel.add("movingChannel", "later PET", (pet + 1, pairs.AFFINE))
    worker.session = panel.session
    worker.greet()
    assert verbs(worker).count("open") == 2
    assert {"fixed_channel", "moving_channel"} <= set(worker.last(protocol.Open).segment.arrays)
    shown = state.state_of(panel)
    assert shown.can_apply
    assert (shown.names["fixedChannel"], shown.names["movingChannel"]) == ("PET", "later PET")
    Actions(explorer).forget("fixedChannel")
    assert panel.parameters.fixedChannel is None
    Actions(explorer).forget("fixedVolume")
    assert panel.parameters.fixedVolume is not None, "images are replaced, never removed"
    panel.add("movingVolume", "another", (pet, pairs.AFFINE))
    assert panel.parameters.movingChannel is None, "it came with the image that is replaced"


def test_the_end_of_a_gesture_renders_nothing(explorer, monkeypatch):
    panel, _worker = explorer
    shown = []
    monkeypatch.setattr(panel, "show", lambda: shown.append(1))
    panel.change("alpha", 0.2)
    panel.end_gesture()
    assert not shown
    panel.undo()
    assert shown


def test_the_page_says_what_is_known(explorer):
    from SPRExplorer import state

    panel, worker = explorer
    assert state.state_of(panel).map_known
    panel.go_to({"alpha": 0.5, "lambda_max": 1.0})
    worker.result(worker.last(protocol.Update).id, 1.0, known=False)
    shown = state.state_of(panel)
    assert (shown.map_known, shown.badge["level"], shown.is_exact) == (False, "preview", False)
    assert state.histogram_of(panel) == []
    panel.apply()
    assert not state.state_of(panel).can_apply
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True, warnings=("The images hardly overlap.",))
    shown = state.state_of(panel)
    assert (shown.map_known, shown.badge["level"]) == (True, "check")
    assert shown.badge["line"] == "The images hardly overlap."
    assert ["Overlap of the segments (Dice)", "0.700 → 0.800 (1 is complete)"] in shown.measures
    assert ["Local correlation of the images", "0.30 → 0.45 (1 is alike)"] in shown.measures


def test_the_next_pair_does_not_keep_the_setting_of_the_sample(scene):
    from harness import pairs
    from SPRRegistrationLib.parameters import setting_of
    from SPRRegistrationLib.sliders import RECOMMENDED
    from SPRRegistrationLib.worker_control import WorkerOptions

    from SPRExplorer.controller import ExplorerController

    panel = ExplorerController(scene, WorkerOptions(["worker"]))
    panel.load_sample()
    panel.load_sample()
    panel.swap()
    assert setting_of(panel.parameters) == {"alpha": 0.01, "lambda_max": 1.0}
    array = np.random.default_rng(0).uniform(0, 100, pairs.SHAPE).astype(np.float32)
    panel.add("fixedVolume", "heart", (array, pairs.AFFINE))
    assert panel.parameters.movingVolume is None, "a heart is not registered to the chest of the sample"
    panel.add("movingVolume", "heart", (array, pairs.AFFINE))
    assert setting_of(panel.parameters) == {"alpha": RECOMMENDED["alpha"], "lambda_max": RECOMMENDED["lambdaMax"]}
    panel.go_to({"alpha": 0.3, "lambda_max": 1.0})
    panel.add("movingVolume", "another heart", (array, pairs.AFFINE))
    assert setting_of(panel.parameters)["alpha"] == 0.3, "what the user chose stays"


def test_the_total_variation_prior_has_sliders_of_its_own(explorer):
    """Both it and the beta prior have a `lambda_max`, whose values and ranges are kept apart."""
    from SPRExplorer import state

    panel, worker = explorer
    panel.parameters.lambdaMax = 2.0
    panel.go_to({"tv": 0.3, "lambda_max": 30.0})
    request = worker.last(protocol.Open)
    assert (request.prior, request.setting) == ("tv", {"tv": 0.3, "lambda_max": 30.0})
    worker.answer_open()
    shown = state.state_of(panel)
    assert shown.sliders == ["tv", "tvLambdaMax"]
    assert shown.limits == {"tv": [0.02, 2.0], "tvLambdaMax": [1.0, 100.0]}
    assert shown.recommended == {"tv": 0.3, "tvLambdaMax": 30.0}
    panel.go_to({"tv": 0.1, "lambda_max": 12.0})
    parameters = panel.parameters
    assert (parameters.tv, parameters.tvLambdaMax, parameters.lambdaMax) == (0.1, 12.0, 2.0)
    panel.go_to({"alpha": 0.2, "lambda_max": 3.0})
    assert (parameters.prior.value, parameters.tvLambdaMax, parameters.lambdaMax) == ("beta", 12.0, 3.0)


def test_a_part_of_the_body_sets_stiffness_sliders_and_start(explorer):
    from SPRExplorer import links, state

    panel, worker = explorer
    panel.change("anatomy", "liver")
    request = worker.last(protocol.Open)
    assert (request.start, request.prior, request.setting) == ("search", "beta", {"alpha": 0.02, "lambda_max": 20.0})
    shown, fields = state.state_of(panel), state.fields_of(panel)
    assert shown.limits["lambdaMax"] == [0.5, 20.0]
    assert shown.recommended == {"alpha": 0.02, "lambdaMax": 20.0}
    assert (fields["anatomy"], fields["start"]) == ("liver", "search")
    defaults = {name: "" for name in links.LINKED} | fields
    assert links.link_of(fields, defaults | {"anatomy": "none"} | state.set_by_anatomy(panel)) == "anatomy=liver"
    panel.change("lambdaMax", 1.0)
    link = links.link_of(state.fields_of(panel), defaults | {"anatomy": "none"} | state.set_by_anatomy(panel))
    assert link == "anatomy=liver&lambdaMax=1"
    panel.change("anatomy", "none")
    assert worker.last(protocol.Open).start == "rest"
    assert state.state_of(panel).recommended == {"alpha": 0.1, "lambdaMax": 1.0}


def test_a_suggestion_is_asked_for_once_marked_and_belongs_to_its_pair(explorer):
    from SPRExplorer import state

    panel, worker = explorer
    panel.suggest()
    panel.suggest()
    assert verbs(worker).count("choose") == 1
    shown = state.state_of(panel)
    assert (shown.is_choosing, shown.can_suggest, shown.suggested, shown.busy) == (True, False, {}, True)
    worker.chosen()
    shown = state.state_of(panel)
    assert shown.suggested == {"alpha": 0.3, "lambdaMax": 4.0}
    assert (shown.can_take, shown.can_suggest, shown.is_choosing, shown.busy) == (True, True, False, False)
    panel.choose({"fixedLandmarks": None})
    assert state.state_of(panel).suggested, "what the pair is measured with changes nothing"
    panel.swap()
    shown = state.state_of(panel)
    assert (shown.suggested, shown.suggestion, shown.can_take) == ({}, "", False)


def test_the_suggestion_is_the_nearest_cell_of_the_map(explorer):
    from SPRExplorer import state

    panel, worker = explorer
    panel.suggest()
    worker.chosen()
    quality = protocol.DeformationQuality(
        folding_percent=0.0, min_jacobian=0.5, max_displacement_mm=1.0, similarity=0.5, weight_gap=0.0
    )
    settings = [{"alpha": alpha, "lambda_max": value} for alpha in (0.077, 0.216) for value in (2.81, 5.0)]
    worker.say(*(protocol.SweepPoint(setting=setting, quality=quality) for setting in settings))
    cells = [cell for row in state.map_of(panel)["rows"] for cell in row]
    assert [cell["setting"] for cell in cells if "◆" in cell["signs"]] == [{"alpha": 0.216, "lambda_max": 5.0}]


@pytest.mark.parametrize(("compared", "prior", "setting"), [(False, "beta", {}), (True, "uniform", {"lambda": 2.0})])
def test_what_cannot_be_marked_is_said(explorer, compared, prior, setting):
    from SPRExplorer import state

    panel, worker = explorer
    before = dict(panel.session.setting)
    panel.suggest()
    worker.chosen(compared, prior, **setting)
    shown = state.state_of(panel)
    assert shown.suggested == {}
    assert shown.can_take == compared
    words = "The same everywhere (uniform), stiffness (lambda) 2" if compared else "No setting can be suggested"
    assert words in shown.suggestion
    panel.take_suggestion()
    assert panel.parameters.prior.value == ("uniform" if compared else "beta")
    assert compared or panel.session.setting == before


@pytest.mark.parametrize("how", ["cancel", "error", "lost"])
def test_a_choice_that_does_not_come_to_an_end_leaves_the_registration_as_it_was(explorer, how):
    from SPRExplorer import state

    panel, worker = explorer
    panel.suggest()
    asked = worker.last(protocol.Choose).id
    if how == "cancel":
        panel.cancel()
        assert verbs(worker)[-1] == "cancel"
        worker.say(protocol.Superseded(id=asked, by=worker.last(protocol.Cancel).id))
    elif how == "error":
        worker.say(protocol.Error(id=asked, code="memory", what="not enough memory"))
        assert "not enough memory" in state.state_of(panel).status.lower()
    else:
        panel.session.ended(-9)
    shown = state.state_of(panel)
    assert (shown.is_choosing, shown.suggested, shown.failed) == (False, {}, False)
    assert panel.parameters.suggestion == ""


def test_a_task_model_starts_nowhere_and_has_no_suggestion(explorer):
    from SPRExplorer import state

    panel, worker = explorer
    panel.change("anatomy", "liver")
    panel.change("method", "general-hyper-spr")
    assert (worker.last(protocol.Open).start, worker.last(protocol.Open).method) == ("rest", "general-hyper-spr")
    since = len(worker.requests)
    panel.suggest()
    assert "choose" not in verbs(worker, since)
    assert not state.state_of(panel).can_suggest
    assert state.set_by_anatomy(panel) == {}
