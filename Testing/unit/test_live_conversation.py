"""A conversation with a simulated worker: requests and their answers, labels, and the end."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_worker import IMAGE, PAIR, states

from SPRCore.errors import InputError
from SPRCore.live import protocol, wire
from SPRCore.live.events import (
    Arrived,
    Deadlines,
    KillWorker,
    StartWorker,
    WorkerState,
    WorkerStatus,
)
from SPRCore.live.pending_requests import MAX_PENDING, MAX_UPDATES
from SPRCore.live.wire import read_request


def test_hello_open_update_and_release(play):
    worker = play()
    worker.start()
    opened = worker.client.open(PAIR, init="rigid", prior="beta", setting={"alpha": 0.3})
    request = worker.last(protocol.Open)
    assert (request.id, request.init, request.prior, request.setting) == (opened, "rigid", "beta", {"alpha": 0.3})
    assert worker.store.get(request.segment)["moving"][0].max() == 23
    worker.answer_open()
    assert worker.client.setting == {"alpha": 0.3, "lambda_max": 1.0}
    number = worker.client.update(alpha=0.5)
    assert worker.last(protocol.Update).setting == {"alpha": 0.5, "lambda_max": 1.0}
    worker.result(number, 0.5)
    events = worker.take_events()
    (shown,) = [event for event in events if isinstance(event, Arrived) and event.message.kind == "result"]
    assert shown.arrays["displacement"][0].mean() == 0.5
    assert states(events) == [WorkerState.STARTING, WorkerState.READY, WorkerState.OPENING, WorkerState.OPEN]
    assert worker.requests() == [protocol.Release(slot="w0")]


def test_each_request_has_one_answer(play):
    worker = play()
    worker.open()
    number = worker.client.sweep()
    worker.send(protocol.Done(id=number), protocol.Done(id=number), protocol.Done(id=999), protocol.Idle())
    assert len(worker.messages(protocol.Done)) == 1


def test_improvements_of_an_older_setting_are_released_and_not_reported(play):
    worker = play()
    worker.open()
    first, second = worker.client.update(alpha=0.1), worker.client.update(alpha=0.2)
    worker.requests()
    worker.result(first, 0.1)
    worker.result(second, 0.2)
    worker.result(first, 0.15, improvement=True, place=1)
    worker.result(second, 0.25, improvement=True, place=2)
    shown = [event.arrays["displacement"][0].max() for event in worker.take_events() if isinstance(event, Arrived)]
    np.testing.assert_allclose(shown, [0.1, 0.2, 0.25], rtol=1e-6)
    assert [request.slot for request in worker.requests()] == ["w0", "w0", "w1", "w2"]


def test_beyond_a_limit_only_the_newest_update_is_held(play):
    worker = play()
    worker.open()
    numbers = [worker.client.update(alpha=0.01 * place) for place in range(20)]
    sent = [request.id for request in worker.requests()]
    assert sent == numbers[:MAX_UPDATES]
    assert [message.id for message in worker.messages(protocol.Superseded)] == numbers[MAX_UPDATES:-1]
    worker.send(protocol.Superseded(id=numbers[0], by=numbers[1]))
    assert worker.last(protocol.Update).setting["alpha"] == pytest.approx(0.19)
    assert worker.client.setting["alpha"] == pytest.approx(0.19)


def test_a_held_update_is_sent_before_later_requests(play):
    worker = play()
    worker.open()
    numbers = [worker.client.update(alpha=0.1) for _ in range(MAX_UPDATES + 1)]
    commit = worker.client.commit()
    assert [request.id for request in worker.requests()] == [*numbers, commit]


def test_too_many_requests_are_refused(play):
    worker = play()
    worker.open()
    for _ in range(MAX_PENDING):
        worker.client.cancel()
    with pytest.raises(InputError, match="without an answer"):
        worker.client.cancel()
    assert len(worker.client.take()) < 4096  # capacity of the smallest pipe


def test_a_refused_value_is_not_kept(play):
    worker = play()
    worker.open()
    number = worker.client.update(alpha=-3.0)
    worker.send(protocol.Error(id=number, code="input", what="alpha", got="-3", expected="more than 0"))
    assert worker.client.setting["alpha"] == 0.1
    with pytest.raises(InputError, match="setting"):
        worker.client.update(alpha=float("nan"))
    with pytest.raises(InputError, match="method"):
        worker.client.open(PAIR, method=3)
    with pytest.raises(InputError, match="speed"):
        worker.client.open(PAIR, speed=3)


def test_after_a_refused_pair_another_can_be_opened(play):
    worker = play()
    worker.start()
    number = worker.client.open(PAIR)
    worker.send(protocol.Error(id=number, code="input", what="moving image", got="one value everywhere"))
    assert worker.client.status == WorkerStatus(
        state=WorkerState.READY, words="The pair was not opened: moving image: got one value everywhere."
    )
    assert not list(worker.session.folder.glob("c*"))
    worker.client.open(PAIR)
    worker.answer_open()
    assert worker.client.status.state is WorkerState.OPEN


def test_a_pair_replaced_before_it_was_open_is_superseded(play):
    pair = play()
    pair.start()
    pair.client.open(PAIR, prior="uniform")
    late = pair.last(protocol.Open)
    newest = pair.client.open(PAIR, prior="tv")
    pair.answer_open(late)
    assert pair.client.status.state is WorkerState.OPENING
    assert [(message.id, message.by) for message in pair.messages(protocol.Superseded)] == [(late.id, newest)]
    pair.answer_open()
    assert [message.id for message in pair.messages(protocol.Opened)] == [newest]
    assert pair.client.status.state is WorkerState.OPEN


def test_a_stiffness_keeps_its_segment_until_it_is_replaced(play):
    worker = play()
    worker.open()
    first = worker.client.paint(np.full((2, 3, 4), 2.0), np.eye(4))
    segment = worker.last(protocol.Stiffness).segment
    second = worker.client.paint(np.full((2, 3, 4), 5.0), np.eye(4))  # while the first one is being read
    assert worker.store.get(segment)["stiffness"][0].max() == 2.0
    worker.send(protocol.Done(id=first), protocol.Done(id=second))
    with pytest.raises(InputError, match="segment"):
        worker.store.get(segment)
    none = worker.client.paint(None)
    assert worker.last(protocol.Stiffness).segment is None
    worker.send(protocol.Done(id=none))


def test_a_request_is_validated_once(play, monkeypatch):
    worker = play()
    worker.open()
    validated, decode = [], wire.decode
    monkeypatch.setattr(wire, "decode", lambda kind, values: validated.append(kind) or decode(kind, values))
    worker.client.update(alpha=0.3)
    line = worker.client.take()
    assert validated == [protocol.Update]
    assert read_request(line).setting["alpha"] == 0.3


def test_a_restarted_worker_gets_labels_and_landmarks(play):
    worker = play()
    worker.open()
    number = worker.client.annotate({"fixed_labels": IMAGE, "moving_labels": IMAGE})
    worker.requests()
    worker.send(protocol.Done(id=number))
    worker.die()
    worker.client.started()
    worker.answer_open()
    again = worker.last(protocol.Annotate)
    assert again.id != number
    assert sorted(again.segment.arrays) == ["fixed_labels", "moving_labels"]
    worker.client.annotate({})
    assert worker.last(protocol.Annotate).segment is None


def test_a_closed_worker_is_not_restarted(play):
    worker = play()
    worker.open()
    worker.client.close()
    request = worker.last(protocol.Close)
    worker.send(protocol.Done(id=request.id))
    assert StartWorker() not in worker.client.ended(0)
    assert worker.client.status.state is WorkerState.CLOSED
    with pytest.raises(InputError, match="closed"):
        worker.client.update(alpha=1.0)


def test_a_worker_that_does_not_close_is_killed(play):
    worker = play(close=3.0, commit=1000.0)
    worker.open()
    number = worker.client.commit()
    worker.client.close()
    for _ in range(5):
        worker.pass_time(1)
        worker.send(protocol.ProgressReport(id=number, stage="computing"))
    assert KillWorker() in worker.take_events()


def test_closing_without_a_worker(play):
    worker = play()
    worker.client.open(PAIR)
    worker.client.close()
    assert worker.client.status.state is WorkerState.CLOSED
    assert len(worker.messages(protocol.Error)) == 1


def test_a_deadline_must_be_positive():
    with pytest.raises(InputError, match="commit"):
        Deadlines(commit=0.0)
