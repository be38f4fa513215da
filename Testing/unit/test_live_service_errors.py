"""Requests of a live worker that fail, come at the wrong time or are too many, and its end."""

from __future__ import annotations

import time

import pytest

from SPRCore.errors import ConvergenceError, InputError, OutputError
from SPRCore.live import protocol
from SPRCore.live.protocol import (
    PROTOCOL,
    Cancel,
    Close,
    Commit,
    Done,
    Error,
    ToggleSweep,
)
from SPRCore.live.request_queue import MAX_WAITING


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
def test_every_error_is_answered_and_the_session_continues(run_service, fake_worker, monkeypatch, error, code, words):
    def fail(self, **_):
        raise error

    worker = run_service()
    worker.open()
    for method, ask in (("update", worker.update), ("commit", lambda: worker.ask(Commit, setting={}))):
        with monkeypatch.context() as patch:
            patch.setattr(fake_worker.FakeSession, method, fail)
            answer = worker.wait(ask())
        assert isinstance(answer, Error)
        assert answer.code == code
        assert words in answer.words()
    for method, start in (
        ("improve", lambda: worker.update(improvements=1)),
        ("sweep_step", lambda: worker.ask(ToggleSweep)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(fake_worker.FakeSession, method, fail)
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


def test_requests_at_the_wrong_time(run_service):
    worker = run_service()
    assert worker.wait(worker.ask(ToggleSweep)).code == "protocol"
    worker.open()
    again = worker.ask(protocol.Hello, protocol=PROTOCOL, folder=str(worker.session.folder))
    assert worker.wait(again).code == "protocol"


def test_requests_without_a_pair(run_service):
    worker = run_service()
    worker.ask(protocol.Hello, protocol=PROTOCOL, folder=str(worker.session.folder))
    for number in (worker.update(alpha=1.0), worker.ask(Commit, setting={})):
        assert "no pair" in worker.wait(number).words()
    assert worker.wait(worker.ask(Cancel)).kind == "done"


def test_a_folder_that_is_no_session(run_service, tmp_path):
    worker = run_service()
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


def test_warnings_and_weight_known_are_sent(worker, monkeypatch):
    session = worker.service.session
    committed = session.commit

    def commit(should_stop):
        reply = committed(should_stop)
        reply.warnings, reply.weight_known = ["The images hardly overlap."], False
        return reply

    monkeypatch.setattr(session, "commit", commit)
    assert worker.wait(worker.update(alpha=1.0)).warnings == ()
    result = worker.wait(worker.ask(Commit, setting={}))
    assert result.warnings == ("The images hardly overlap.",)
    assert not result.weight_known
