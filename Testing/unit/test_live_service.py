"""Requests of a live worker: order, superseding and background work."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from running_service import IMAGE

from SPRCore.errors import ConvergenceError
from SPRCore.live import protocol
from SPRCore.live.protocol import (
    Cancel,
    Choose,
    Close,
    Commit,
    Done,
    Open,
    Superseded,
    ToggleSweep,
    Update,
)
from SPRCore.live.request_queue import MAX_RESULTS


def test_improvements_follow_the_preview_and_then_it_is_idle(worker):
    number = worker.update(alpha=0.5, improvements=2)
    worker.until(lambda m: m.kind == "idle")
    results = [message for _, message in worker.sent if message.kind == "result"]
    assert [(r.id, r.improvement, r.exact) for r in results] == [
        (number, False, False),
        (number, True, False),
        (number, True, True),
    ]
    assert worker.kinds().count("idle") == 1


def test_improvements_can_be_turned_off(worker):
    number = worker.ask(Update, setting={"improvements": 2.0}, improve=False)
    worker.until(lambda m: m.kind == "idle")
    assert [m.id for _, m in worker.sent if m.kind == "result"] == [number]


def test_the_latest_update_wins_and_a_running_one_is_completed(worker):
    first = worker.update(seconds=0.1)
    time.sleep(0.03)
    others = [worker.update(alpha=0.1 * place) for place in range(20)]
    assert worker.wait(others[-1]).setting["alpha"] == pytest.approx(1.9)
    assert worker.wait(first).kind == "result"
    for number, following in itertools.pairwise(others):
        assert worker.wait(number) == Superseded(id=number, by=following)


def test_a_commit_follows_an_earlier_update_and_is_superseded_by_a_later_one(worker):
    before = worker.update(seconds=0.1)
    commit = worker.ask(Commit, setting={})
    assert [worker.wait(number).kind for number in (before, commit)] == ["result", "result"]
    second = worker.ask(Commit, setting={"seconds": 5.0})
    time.sleep(0.05)
    after = worker.update(seconds=0.0)
    assert worker.wait(second) == Superseded(id=second, by=after)
    assert worker.wait(after).setting["seconds"] == 0.0


def test_a_commit_computes_the_setting_that_it_names(worker):
    worker.wait(worker.update(alpha=0.2))
    result = worker.wait(worker.ask(Commit, setting={"alpha": 0.7}))
    assert result.setting["alpha"] == 0.7
    assert set(result.segment.arrays) == {"displacement", "weight", "inverse", "warped"}
    assert result.metrics == {"after": {"dice": {"1": 0.5}, "lncc": None}}
    assert result.quality.min_jacobian is None


def test_improvements_continue_during_a_commit(worker):
    update = worker.ask(Update, setting={"improvements": 3.0, "seconds": 0.05})
    commit = worker.ask(Commit, setting={"improvements": 3.0})
    worker.wait(commit)
    results = [(m.id, m.improvement, m.exact) for _, m in worker.sent if m.kind == "result"]
    better = [(update, True, False), (update, True, False), (update, True, True)]
    assert results == [(update, False, False), *better, (commit, False, True)]
    quiet = worker.ask(Update, setting={}, improve=False)
    worker.wait(worker.ask(Commit, setting={}))
    assert len([m for _, m in worker.sent if m.kind == "result"]) == len(results) + 2
    assert worker.wait(quiet).kind == "result"


def test_a_commit_waits_for_a_free_segment(worker):
    worker.releases = False
    worker.update(improvements=5)
    commit = worker.ask(Commit, setting={})
    time.sleep(0.2)
    assert worker.kinds().count("result") == MAX_RESULTS
    worker.releases = True
    worker.queue.put(protocol.Release(slot="w0"))
    assert set(worker.wait(commit).segment.arrays) == {"displacement", "weight", "inverse", "warped"}


@pytest.mark.parametrize("kind", [Cancel, Close, Open])
def test_a_running_update_is_stopped_by(worker, kind):
    running, waiting = worker.update(seconds=20.0), worker.ask(Commit, setting={})
    time.sleep(0.05)
    fields = {}
    if kind is Open:
        fields["segment"] = worker.session.store.put(1, {"fixed": IMAGE, "moving": IMAGE})
    stop = worker.ask(kind, **fields)
    assert worker.wait(running) == Superseded(id=running, by=stop)
    assert worker.wait(waiting) == Superseded(id=waiting, by=stop)
    assert worker.wait(stop).kind in ("done", "opened")


def test_a_request_interrupts_an_improvement(worker):
    worker.wait(worker.update(improvements=1, seconds=0.05))
    worker.service.session.setting["seconds"] = 60.0  # from now on an improvement takes very long
    time.sleep(0.1)
    assert worker.wait(worker.update(seconds=0.0)).kind == "result"


def test_the_sweep_runs_in_the_background(worker):
    sweep = worker.ask(ToggleSweep)
    assert worker.wait(sweep) == Done(id=sweep)
    update = worker.update(alpha=1.0)
    worker.until(lambda m: m.kind == "idle")
    kinds = [(m.kind, getattr(m, "id", None)) for _, m in worker.sent]
    assert kinds.count(("point", None)) == 5
    assert kinds.index(("result", update)) < kinds.index(("point", None)) + 3
    point = worker.until(lambda m: m.kind == "point")
    assert (point.dice_mean, point.tre_mm, point.quality.similarity) == (None, 2.0, 0.5)


def test_the_sweep_can_be_turned_off(worker):
    worker.wait(worker.ask(ToggleSweep))
    worker.until(lambda m: m.kind == "point")
    worker.wait(worker.ask(ToggleSweep, on=False))
    points = worker.kinds().count("point")
    time.sleep(0.1)
    assert worker.kinds().count("point") == points < 5


def test_a_choice_is_interrupted_by_every_request_and_resumed(worker):
    session = worker.service.session
    choose = worker.ask(Choose)
    for place in range(3):
        time.sleep(0.05)
        assert worker.wait(worker.update(alpha=0.1 * place, improvements=1, seconds=0.01)).kind == "result"
    assert 0 < session.choosing_s < 0.3
    answer = worker.wait(choose)
    assert (answer.prior, answer.setting, answer.compared) == ("beta", {"alpha": 0.3, "lambda_max": 4.0}, True)
    assert session.setting["alpha"] == pytest.approx(0.2), "the setting is kept"
    last = [m for _, m in worker.sent if m.kind == "result"][-1]
    assert last.improvement, "what is shown is made exact first"
    worker.until(lambda m: m.kind == "idle")
    assert worker.kinds().count("chosen") == 1


@pytest.mark.parametrize("kind", [Cancel, Close, Open, Choose])
def test_a_choice_is_superseded_by(worker, kind):
    worker.service.session.choosing_s = 1.0
    choose = worker.ask(Choose)
    time.sleep(0.05)
    fields = {"segment": worker.session.store.put(1, {"fixed": IMAGE, "moving": IMAGE})} if kind is Open else {}
    stop = worker.ask(kind, **fields)
    assert worker.wait(choose) == Superseded(id=choose, by=stop)
    assert worker.wait(stop).kind in ("done", "opened", "chosen")
    assert worker.kinds().count("chosen") == (1 if kind is Choose else 0)


def test_after_a_failed_choice_the_sweep_continues(worker, monkeypatch):
    def failing(should_stop):
        raise ConvergenceError("registration", got="an energy that is not a number")

    monkeypatch.setattr(worker.service.session, "choose", failing)
    worker.wait(worker.ask(ToggleSweep))
    error = worker.wait(worker.ask(Choose))
    assert (error.kind, error.code) == ("error", "computation")
    worker.until(lambda m: m.kind == "idle")
    assert worker.kinds().count("point") == 5


def test_a_choice_gives_signs_of_life_while_it_is_computed_and_while_it_waits(worker, monkeypatch):
    monkeypatch.setattr("SPRCore.live.service.BEAT", 0.03)
    worker.wait(worker.update(improvements=2, seconds=0.2))
    choose = worker.ask(Choose)
    worker.wait(choose)
    stages = [m.stage for _, m in worker.sent if m.kind == "progress" and m.id == choose]
    assert list(dict.fromkeys(stages)) == ["waiting", "computing"]


def test_without_released_segments_nothing_is_computed(worker):
    """The worker waits for a client that releases no segment."""
    worker.releases = False
    worker.update(improvements=10)
    time.sleep(0.2)
    assert worker.kinds().count("result") == MAX_RESULTS
    numbers = [worker.update(alpha=0.1 * place) for place in range(5)]
    assert all(worker.wait(number).kind == "superseded" for number in numbers[:-1])
    worker.releases = True
    worker.queue.put(protocol.Release(slot="w0"))
    assert worker.wait(numbers[-1]).kind == "result"


def test_a_long_computation_gives_signs_of_life(worker, monkeypatch):
    monkeypatch.setattr("SPRCore.live.service.BEAT", 0.05)
    number = worker.update(seconds=0.5)
    worker.wait(number)
    assert 2 <= worker.kinds().count("progress") <= 10
    assert {m.id for _, m in worker.sent if m.kind == "progress"} == {number}
    assert {m.fraction for _, m in worker.sent if m.kind == "progress"} == {None}


def test_a_sign_of_life_has_the_fraction_done(worker, monkeypatch):
    monkeypatch.setattr("SPRCore.live.service.BEAT", 0.02)
    session = worker.service.session

    def reporting(compute):
        def call(should_stop, **changes):
            session.on_progress(0.4)
            return compute(should_stop, **changes)

        return call

    for name in ("update", "commit"):
        monkeypatch.setattr(session, name, reporting(getattr(session, name)))
    worker.wait(worker.update(seconds=0.2))
    worker.wait(worker.ask(Commit, setting={}))
    assert 0.4 in {m.fraction for _, m in worker.sent if m.kind == "progress"}


def test_stiffness_reaches_the_session(worker):
    worker.wait(worker.update(alpha=1.0))
    segment = worker.session.store.put(2, {"stiffness": (np.full((2, 3, 4), 3.0), np.eye(4))})
    worker.wait(worker.ask(protocol.Stiffness, segment=segment))
    result = worker.wait(worker.update(alpha=1.0))
    assert worker.session.store.get(result.segment)["displacement"][0].max() == 3.0
    worker.wait(worker.ask(protocol.Stiffness, segment=None))


def test_labels_and_landmarks_change_in_an_open_session(worker):
    session = worker.service.session
    segment = worker.session.store.put(1, {"fixed_labels": IMAGE, "moving_labels": IMAGE})
    assert worker.wait(worker.ask(protocol.Annotate, segment=segment)).kind == "done"
    assert worker.service.session is session
    assert session.annotations == ["fixed_labels", "moving_labels"]
    assert worker.wait(worker.ask(protocol.Annotate, segment=None)).kind == "done"
    assert session.annotations == []


def test_the_answer_to_open_has_the_alignment_and_its_reason(run_service):
    opened = run_service().open()
    assert (opened.init, opened.covered) == ("none", 1.0)
    assert "centers of mass" in opened.init_reason
