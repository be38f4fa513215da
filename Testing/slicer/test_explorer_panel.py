"""The Explorer's panel without a page, against a worker that the test plays: what is asked of the worker, and when."""

from __future__ import annotations

import asyncio
import importlib.util

import numpy as np
import pytest

from SPRCore.live import protocol

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("trame_slicer") is None, reason="trame-slicer is not installed"),
]


@pytest.fixture
def opened(scene):
    """A panel with a pair that is open, and its worker."""
    from harness import pairs
    from SPRRegistrationLib.explorer.panel import Panel

    worker, panel = pairs.PlayedWorker(), Panel(scene, ["worker"], lambda: None, lambda: None)
    panel.transport = worker
    array = np.random.default_rng(0).uniform(0, 100, pairs.SHAPE).astype(np.float32)
    panel.add("fixedVolume", "fixed", (array, pairs.AFFINE))
    panel.add("movingVolume", "moving", (array + 1, pairs.AFFINE))
    worker.session = panel.session
    worker.greet()
    worker.answer_open()
    worker.result(worker.last(protocol.Update).id, 1.0)
    worker.stop = lambda: asyncio.sleep(0)
    yield panel, worker
    asyncio.run(panel.close())
    worker.close()


def verbs(worker, since=0):
    worker.read()
    return [request.verb for request in worker.requests[since:] if request.verb != "release"]


def points(count=3):
    return (np.arange(3.0 * count).reshape(count, 3) + 5,)


def test_the_pair_is_aligned_by_itself_where_that_helps(opened):
    _panel, worker = opened
    assert worker.last(protocol.Open).init == "auto"


def test_apply_never_cancels_and_cancel_never_applies(opened):
    panel, worker = opened
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


def test_landmarks_and_labels_open_nothing_and_clear_nothing(opened):
    from harness import pairs

    panel, worker = opened
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


def test_another_image_opens_anew_and_forgets_the_report(opened):
    from harness import pairs

    panel, worker = opened
    panel.apply()
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    array = np.random.default_rng(1).uniform(0, 100, pairs.SHAPE).astype(np.float32)
    panel.add("movingVolume", "another", (array, pairs.AFFINE))
    assert verbs(worker).count("open") == 2
    assert panel.parameters.report == ""
    assert panel.session.shown is None


def test_the_page_says_what_is_known(opened):
    from SPRRegistrationLib.explorer import state

    panel, worker = opened
    assert state.state_of(panel)["map_known"]
    panel.go_to({"alpha": 0.5, "lambda_max": 1.0})
    worker.result(worker.last(protocol.Update).id, 1.0, known=False)
    shown = state.state_of(panel)
    assert (shown["map_known"], shown["badge"]["level"], shown["is_exact"]) == (False, "preview", False)
    assert state.histogram_of(panel) == []
    panel.apply()
    assert not state.state_of(panel)["can_apply"]
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True, warnings=("The images hardly overlap.",))
    shown = state.state_of(panel)
    assert (shown["map_known"], shown["badge"]["level"]) == (True, "check")
    assert shown["badge"]["line"] == "The images hardly overlap."
    assert ["Overlap of the segments (Dice)", "0.700 → 0.800 (1 is complete)"] in shown["measures"]
    assert ["Similarity of the images", "0.30 → 0.45 (1 is alike)"] in shown["measures"]


def test_the_next_pair_does_not_keep_the_setting_of_the_sample(scene):
    from harness import pairs
    from SPRRegistrationLib.explorer.panel import SAMPLE_SETTING, Panel
    from SPRRegistrationLib.parameters import setting_of
    from SPRRegistrationLib.sliders import RECOMMENDED

    panel = Panel(scene, ["worker"], lambda: None, lambda: None)
    panel.is_held = True
    panel.load_sample()
    panel.load_sample()
    panel.swap()
    assert setting_of(panel.parameters) == SAMPLE_SETTING
    array = np.random.default_rng(0).uniform(0, 100, pairs.SHAPE).astype(np.float32)
    panel.add("fixedVolume", "heart", (array, pairs.AFFINE))
    assert panel.parameters.movingVolume is None, "a heart is not registered to the chest of the sample"
    panel.add("movingVolume", "heart", (array, pairs.AFFINE))
    assert setting_of(panel.parameters) == {"alpha": RECOMMENDED["alpha"], "lambda_max": RECOMMENDED["lambdaMax"]}
    panel.go_to({"alpha": 0.3, "lambda_max": 1.0})
    panel.add("movingVolume", "another heart", (array, pairs.AFFINE))
    assert setting_of(panel.parameters)["alpha"] == 0.3, "what the user chose stays"


def test_the_total_variation_prior_has_sliders_of_its_own(opened):
    """Both it and the beta prior have a `lambda_max`, whose values and ranges are kept apart."""
    from SPRRegistrationLib.explorer import state

    panel, worker = opened
    panel.parameters.lambdaMax = 2.0
    panel.go_to({"tv": 0.3, "lambda_max": 30.0})
    request = worker.last(protocol.Open)
    assert (request.prior, request.setting) == ("tv", {"tv": 0.3, "lambda_max": 30.0})
    worker.answer_open()
    shown = state.state_of(panel)
    assert shown["sliders"] == ["tv", "tvLambdaMax"]
    assert shown["limits"] == {"tv": [0.02, 2.0], "tvLambdaMax": [1.0, 100.0]}
    assert shown["tuned"] == {"tv": 0.3, "tvLambdaMax": 30.0}
    panel.go_to({"tv": 0.1, "lambda_max": 12.0})
    parameters = panel.parameters
    assert (parameters.tv, parameters.tvLambdaMax, parameters.lambdaMax) == (0.1, 12.0, 2.0)
    panel.go_to({"alpha": 0.2, "lambda_max": 3.0})
    assert (parameters.prior.value, parameters.tvLambdaMax, parameters.lambdaMax) == ("beta", 12.0, 3.0)
