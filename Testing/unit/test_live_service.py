"""Requests of a live worker: order, superseding, background work and errors."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from SPRCore.errors import ConvergenceError, InputError, OutputError
from SPRCore.live import protocol
from SPRCore.live.arrays import SessionFolder
from SPRCore.live.protocol import (
    PROTOCOL,
    Cancel,
    Choose,
    Close,
    Commit,
    Done,
    Error,
    Open,
    Superseded,
    ToggleSweep,
    Update,
)
from SPRCore.live.request_queue import MAX_RESULTS, MAX_WAITING, RequestQueue
from SPRCore.live.service import Service
from SPRCore.live.wire import read_answer, to_line

IMAGE = (np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4))


@pytest.fixture(scope="module")
def fake():
    """The worker without computation of the end-to-end tests."""
    path = Path(__file__).resolve().parents[1] / "end_to_end" / "fake_worker.py"
    spec = importlib.util.spec_from_file_location("fake_worker", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


class Running:
    """A service in a thread; the test collects its messages and releases segments unless `releases` is False."""

    def __init__(self, backend):
        self.session, self.sent, self.releases = SessionFolder(), [], True
        self.changed = threading.Condition()
        self.queue = RequestQueue(self.hear)
        self.service = Service(self.queue, self.hear, backend, 1)
        self.thread = threading.Thread(target=self.service.run)
        self.thread.start()
        self.ids = 0

    def hear(self, message):
        message = read_answer(to_line(message))
        if isinstance(message, protocol.ReplyMessage) and self.releases:
            self.queue.put(protocol.Release(slot=message.segment.slot))
        with self.changed:
            self.sent.append((time.monotonic(), message))
            self.changed.notify_all()

    def ask(self, kind, **fields):
        self.ids += 1
        self.queue.put(kind(id=self.ids, **fields))
        return self.ids

    def open(self):
        self.ask(protocol.Hello, protocol=PROTOCOL, folder=str(self.session.folder))
        segment = self.session.store.put(0, {"fixed": IMAGE, "moving": IMAGE})
        return self.wait(self.ask(Open, segment=segment))

    def update(self, **setting):
        return self.ask(Update, setting=setting)

    def until(self, is_it, seconds=5.0):
        """The first message that satisfies `is_it`."""
        with self.changed:
            found = self.changed.wait_for(lambda: [m for _, m in self.sent if is_it(m)], seconds)
        assert found, [message for _, message in self.sent]
        return found[0]

    def wait(self, number, seconds=5.0):
        return self.until(
            lambda m: getattr(m, "id", None) == number and not isinstance(m, protocol.ProgressReport), seconds
        )

    def kinds(self):
        return [message.kind for _, message in self.sent]

    def stop(self):
        self.queue.disconnect()
        self.thread.join(5.0)
        assert not self.thread.is_alive()
        if self.service.store is not None:
            self.service.store.sweep("w")
        self.session.close()


@pytest.fixture
def run(fake):
    running = []

    def make(backend=None):
        running.append(Running(backend or fake.FakeBackend()))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def worker(run):
    one = run()
    one.open()
    return one


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
    assert (point.dice_mean, point.tre_mm, point.quality.lncc) == (None, 2.0, 0.5)


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
    waited = session._wait

    def wait(seconds, should_stop):
        session.on_progress(0.4)
        waited(seconds, should_stop)

    monkeypatch.setattr(session, "_wait", wait)
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


def test_too_many_requests_are_refused(worker):
    worker.update(seconds=4.0)  # long enough on a busy machine
    numbers = [worker.ask(ToggleSweep, on=False) for _ in range(MAX_WAITING + 1)]
    assert worker.wait(numbers[-1]).code == "protocol"
    assert worker.wait(numbers[0], seconds=20.0).kind == "done"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("alpha", got="-1", expected="more than 0"), "input", "alpha: got -1"),
        (OutputError("shared memory", got="full"), "memory", "shared memory"),
        (MemoryError(), "memory", "smaller images"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "memory", "smaller images"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory", "smaller images"),
        (OSError(12, "Cannot allocate memory"), "memory", "smaller images"),
        (ConvergenceError("registration", got="an energy that is not a number"), "computation", "not a number"),
        (ZeroDivisionError("a bug"), "fault", "ZeroDivisionError: a bug"),
        (RuntimeError("shapes do not fit"), "fault", "shapes do not fit"),
    ],
)
def test_every_error_is_answered_and_the_session_continues(run, fake, monkeypatch, error, code, words):
    def fail(self, **_):
        raise error

    worker = run()
    worker.open()
    for method, ask in (("update", worker.update), ("commit", lambda: worker.ask(Commit, setting={}))):
        with monkeypatch.context() as patch:
            patch.setattr(fake.FakeSession, method, fail)
            answer = worker.wait(ask())
        assert isinstance(answer, Error)
        assert answer.code == code
        assert words in answer.words()
    for method, start in (
        ("improve", lambda: worker.update(improvements=1)),
        ("sweep_step", lambda: worker.ask(ToggleSweep)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(fake.FakeSession, method, fail)
            start()
            background = worker.until(lambda m: m.kind == "error" and m.id is None)
        assert background.code == code
        worker.sent.clear()
    assert worker.wait(worker.update(alpha=1.0)).kind == "result"


def test_a_bad_setting_is_refused_before_it_reaches_the_session(worker):
    answer = worker.wait(worker.update(alhpa=1.0))
    assert answer.code == "input"
    assert "did you mean 'alpha'" in answer.words()
    assert worker.wait(worker.ask(Commit, setting={"should_stop": 1.0})).code == "input"


def test_requests_at_the_wrong_time(run):
    worker = run()
    assert worker.wait(worker.ask(ToggleSweep)).code == "protocol"
    worker.open()
    again = worker.ask(protocol.Hello, protocol=PROTOCOL, folder=str(worker.session.folder))
    assert worker.wait(again).code == "protocol"


def test_requests_without_a_pair(run):
    worker = run()
    worker.ask(protocol.Hello, protocol=PROTOCOL, folder=str(worker.session.folder))
    for number in (worker.update(alpha=1.0), worker.ask(Commit, setting={})):
        assert "no pair" in worker.wait(number).words()
    assert worker.wait(worker.ask(Cancel)).kind == "done"


def test_a_folder_that_is_no_session(run, tmp_path):
    worker = run()
    answer = worker.wait(worker.ask(protocol.Hello, protocol=PROTOCOL, folder=str(tmp_path)))
    assert answer.code == "input"
    assert "folder" in answer.words()


def test_close_ends_it(worker):
    number = worker.ask(Close)
    assert worker.wait(number) == Done(id=number)
    worker.thread.join(2.0)
    assert not worker.thread.is_alive()


def test_a_disconnected_client_ends_a_computation(worker):
    worker.update(seconds=30.0)
    time.sleep(0.05)
    worker.queue.disconnect()
    worker.thread.join(2.0)
    assert not worker.thread.is_alive()


def test_labels_and_landmarks_change_in_an_open_session(worker):
    session = worker.service.session
    segment = worker.session.store.put(1, {"fixed_labels": IMAGE, "moving_labels": IMAGE})
    assert worker.wait(worker.ask(protocol.Annotate, segment=segment)).kind == "done"
    assert worker.service.session is session
    assert session.annotations == ["fixed_labels", "moving_labels"]
    assert worker.wait(worker.ask(protocol.Annotate, segment=None)).kind == "done"
    assert session.annotations == []


def test_the_answer_to_open_has_the_alignment_and_its_reason(run):
    opened = run().open()
    assert (opened.init, opened.covered) == ("none", 1.0)
    assert "centers of mass" in opened.init_reason


def test_warnings_and_weight_known_are_sent(worker, monkeypatch):
    reply = worker.service.session._reply("exact", True)
    reply.warnings, reply.weight_known = ["The images hardly overlap."], False
    monkeypatch.setattr(worker.service.session, "_reply", lambda stage, exact: reply)
    assert worker.wait(worker.update(alpha=1.0)).warnings == ()
    result = worker.wait(worker.ask(Commit, setting={}))
    assert result.warnings == ("The images hardly overlap.",)
    assert not result.weight_known
