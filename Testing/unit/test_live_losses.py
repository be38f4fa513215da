"""A conversation with a simulated worker that is lost, silent or sends garbage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from simulated_worker import IMAGE, PAIR, QUALITY, states

from SPRCore.errors import InputError
from SPRCore.live import protocol
from SPRCore.live.conversation import MAX_GARBAGE, MAX_LOSSES
from SPRCore.live.events import (
    ActivityClock,
    Arrived,
    ErrorOutput,
    KillWorker,
    StartWorker,
    WorkerState,
    WorkerStatus,
)
from SPRCore.live.pending_requests import MAX_UPDATES
from SPRCore.live.wire import to_line


def test_a_lost_worker_is_restarted_with_the_same_pair_and_setting(play):
    worker = play()
    worker.open()
    painted = worker.client.paint(np.full((2, 3, 4), 2.0), np.eye(4))
    worker.send(protocol.Done(id=painted))
    worker.result(worker.client.update(alpha=0.4))
    update = worker.client.update(alpha=0.5)
    commit = worker.client.commit()
    worker.requests()
    worker.client.feed_log(b"Traceback ...\nMemoryError")
    worker.client.feed_log(b": no more\n")
    worker.take_events()
    worker.store.put(1, {"a": IMAGE})
    worker.events += worker.client.ended(-9)
    events = worker.take_events()
    lost = [event.message for event in events if isinstance(event, Arrived)]
    assert {message.id for message in lost} >= {update, commit}
    assert all(isinstance(message, protocol.Error) and message.code == "worker" for message in lost)
    assert "SIGKILL" in worker.client.status.words
    assert "MemoryError: no more" in worker.client.status.words
    assert states(events) == [WorkerState.RESTARTING]
    assert events[-1] == StartWorker()
    assert not [*worker.session.folder.glob("w*")]
    worker.client.started()
    hello, opened, stiffness, again = worker.requests()
    assert [hello.verb, opened.verb, stiffness.verb, again.verb] == ["hello", "open", "stiffness", "update"]
    assert worker.store.get(opened.segment)["fixed"][0].max() == 23
    assert again.setting["alpha"] == 0.4  # the last answered setting
    assert not again.improve  # an improvement may have ended the worker
    assert hello.id > commit
    worker.answer_open()
    assert worker.client.status.state is WorkerState.OPEN


def test_after_several_losses_the_worker_is_not_restarted(play):
    worker = play()
    worker.open()
    for loss in range(MAX_LOSSES + 1):
        number = worker.client.update(alpha=0.4)
        worker.requests()
        worker.events += worker.client.ended(-11)
        assert number in [message.id for message in worker.messages(protocol.Error)]
        if loss < MAX_LOSSES:
            worker.client.started()
            worker.answer_open()
    assert worker.client.status.state is WorkerState.FAILED
    assert "SIGSEGV" in worker.client.status.words
    with pytest.raises(InputError, match=r"SIGSEGV.*start it again"):
        worker.client.update(alpha=0.4)
    assert worker.client.restart()[-1] == StartWorker()
    worker.client.started()
    assert [request.verb for request in worker.requests()][:2] == ["hello", "open"]


def test_an_error_line_that_ends_with_a_full_stop_ends_the_sentence(play):
    worker = play()
    worker.open()
    for _loss in range(4):
        worker.client.feed_log(b"The disk is full.\n")
        worker.die(3)
        worker.client.started()
    said = [event.words for event in worker.take_events() if isinstance(event, WorkerStatus)]
    assert any("The disk is full. It is started again" in words for words in said)
    assert said[-1] == "The worker cannot be kept running: it ended with code 3: The disk is full."
    assert not [words for words in said if ".." in words]


def test_a_result_resets_the_number_of_losses(play):
    worker = play()
    worker.open()
    for _ in range(3 * MAX_LOSSES):
        worker.result(worker.client.update(alpha=0.4))
        worker.die()
        worker.client.started()
        worker.answer_open()
    assert worker.client.status.state is WorkerState.OPEN


def test_requests_without_a_worker_wait_for_the_next_one(play):
    worker = play()
    first = worker.client.open(PAIR)
    early = worker.client.update(alpha=0.2)
    assert worker.client.take() == b""
    worker.client.started()
    assert [request.id for request in worker.requests()][1:] == [first, early]
    worker.answer_open()
    worker.client.ended(0)
    numbers = [worker.client.update(alpha=0.01 * place) for place in range(MAX_UPDATES + 2)]
    worker.client.started()
    sent = worker.requests()
    assert [request.verb for request in sent[:2]] == ["hello", "open"]
    assert [request.id for request in sent[2:]] == numbers[:MAX_UPDATES]


def test_another_protocol_version_fails_without_a_restart(play):
    worker = play()
    worker.client.started()
    events = worker.client.feed(b'{"kind":"ready","id":1,"protocol":9,"news":true}\n')
    assert KillWorker() in events
    assert worker.client.status.state is WorkerState.FAILED
    assert "version 9 of the worker" in worker.client.status.words
    assert StartWorker() not in worker.client.ended(0)
    assert worker.client.status.state is WorkerState.FAILED


def test_a_worker_that_refuses_the_version_fails_without_a_restart(play):
    worker = play()
    worker.client.started()
    (hello,) = worker.requests()
    refusal = protocol.Error(id=hello.id, code="protocol", what="protocol", got="version 1 of the client")
    worker.send(refusal)
    assert worker.client.status.state is WorkerState.FAILED
    assert KillWorker() in worker.take_events()
    assert StartWorker() not in worker.client.ended(0)


def test_a_choice_is_answered_once_and_not_repeated_after_a_loss(play):
    worker = play(other=10.0)
    worker.start()
    worker.client.open(PAIR, start="search")
    worker.answer_open()
    worker.take_events()
    number = worker.client.choose()
    worker.pass_time(9)
    worker.send(protocol.ProgressReport(id=number, stage="waiting"))
    worker.pass_time(9)
    assert KillWorker() not in worker.take_events()
    chosen = protocol.Chosen(id=number, prior="beta", setting={"alpha": 0.3}, compared=True, blocks=9)
    worker.send(chosen, chosen)
    assert worker.messages(protocol.Chosen) == [chosen]
    assert worker.client.setting["alpha"] == 0.1, "the setting is kept"
    lost = worker.client.choose()
    worker.requests()
    worker.die()
    assert [error.id for error in worker.messages(protocol.Error)] == [lost]
    worker.client.started()
    again = worker.requests()
    assert [request.verb for request in again] == ["hello", "open"]
    assert again[1].start == "search"


def test_a_worker_without_a_sign_of_life_is_killed_and_replaced(play):
    worker = play(update=10.0)
    worker.open()
    worker.client.update(alpha=0.2)
    worker.pass_time(9)
    assert KillWorker() not in worker.take_events()
    worker.pass_time(3)
    assert KillWorker() in worker.take_events()
    worker.pass_time(20)
    assert KillWorker() not in worker.take_events()  # only once
    assert StartWorker() in worker.client.ended(-9)
    assert "no sign of life" in worker.client.status.words


def test_only_signs_of_life_extend_the_deadline(play):
    worker = play(commit=10.0)
    worker.open()
    number = worker.client.commit()
    for _ in range(10):
        worker.pass_time(9)
        worker.send(protocol.ProgressReport(id=number, stage="computing"))
    assert KillWorker() not in worker.take_events()
    for _ in range(3):
        worker.pass_time(5)
        worker.send(protocol.Log(level="info", text="still here"), protocol.Superseded(id=77, by=78))
    assert KillWorker() in worker.take_events()  # messages of a thread that does not compute


def test_requests_after_a_kill_are_for_the_next_worker(play):
    worker = play(update=10.0)
    worker.open()
    lost = worker.client.update(alpha=0.2)
    worker.requests()
    worker.pass_time(12)
    assert [message.id for message in worker.messages(protocol.Error)] == [lost]
    number = worker.client.update(alpha=0.3)
    assert worker.client.take() == b""
    assert worker.client.feed(to_line(protocol.Done(id=number))) == []  # after the kill
    worker.die()
    worker.client.started()
    assert [request.id for request in worker.requests() if request.verb == "update"] == [number]


def test_requests_are_answered_if_no_worker_starts(play):
    worker = play()
    worker.client.started()
    worker.client.feed(b'{"kind":"ready","id":1,"protocol":9}\n')
    worker.client.restart()
    worker.take_events()
    number = worker.client.open(PAIR)
    for _ in range(MAX_LOSSES + 1):
        worker.die(1)
    assert worker.client.status.state is WorkerState.FAILED
    assert number in [message.id for message in worker.messages(protocol.Error)]


def test_without_requests_there_is_no_deadline(play):
    worker = play(update=10.0, other=10.0, open=10.0)
    worker.open()
    worker.pass_time(1000)
    worker.client.update(alpha=0.2)
    worker.pass_time(8)
    assert KillWorker() not in worker.take_events()


@pytest.mark.parametrize("jump", [8 * 3600.0, -8 * 3600.0], ids=["asleep for a night", "clock set back"])
def test_suspension_and_jumps_of_the_clock_do_not_count(play, jump):
    worker = play(update=10.0)
    worker.open()
    worker.client.update(alpha=0.2)
    worker.pass_time(5)
    worker.now += jump
    worker.pass_time(3)
    (note,) = worker.messages(protocol.Log)
    assert "jump of the clock" in note.text
    assert worker.client.status.state is WorkerState.OPEN
    worker.pass_time(10)
    assert KillWorker() in worker.take_events()  # time without a sign of life counts


def test_the_clock_counts_limited_steps():
    watch = ActivityClock()
    for now in (5.0, 6.0, 1e9, 1e9 + 1, -1e9, -1e9 + 1):
        watch.tick(now)
    assert watch.time == 1.0 + 2.0 + 1.0 + 0.0 + 1.0


def test_unreadable_lines_are_logged(play):
    worker = play()
    worker.open()
    number = worker.client.sweep()
    events = worker.client.feed(b'garbage\n\xff\xfe\n{"kind":"done","id":' + b'"x"}\n{"kind":"do')
    assert [event.message.level for event in events] == ["warning"] * 3
    worker.events += worker.client.feed(f'ne","id":{number}}}\n'.encode())
    assert len(worker.messages(protocol.Done)) == 1


def test_a_worker_that_sends_only_garbage_is_killed(play):
    worker = play()
    worker.open()
    events = worker.client.feed(b"yes\n" * (MAX_GARBAGE + 1))
    assert KillWorker() in events
    worker.client.ended(-9)
    assert "only unreadable lines" in worker.client.status.words


def test_a_partial_line_of_a_lost_worker_is_discarded(play):
    worker = play()
    worker.open()
    worker.client.feed(b'{"kind":"idle"')
    worker.client.ended(-9)
    worker.client.started()
    worker.take_events()
    worker.answer_open()
    assert not [note for note in worker.messages(protocol.Log) if note.level == "warning"]


def test_a_result_without_its_segment_is_an_error(play):
    worker = play()
    worker.open()
    number = worker.client.update(alpha=0.2)
    worker.requests()
    line = json.loads(to_line(protocol.Release(slot="w0")))
    segment = worker.store.put(0, {"displacement": IMAGE})
    worker.store.sweep("w")
    worker.send(
        protocol.ReplyMessage(
            **{"id": number, "improvement": False, "exact": False, "stage": "preview", "milliseconds": 1.0},
            **{"age_ms": 1.0, "setting": {}, "quality": QUALITY, "segment": segment, "weight_known": True},
        )
    )
    (error,) = worker.messages(protocol.Error)
    assert (error.id, error.code) == (number, "worker")
    assert json.loads(worker.client.take()) == line


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "SIGKILL; the system may have run out of memory"),
        (-11, "SIGSEGV"),
        (-999, "signal 999"),
        (3, "code 3"),
        (1, "code 1; it may have crashed"),
    ],
)
def test_reasons_of_an_end(code, words):
    assert words in ErrorOutput().reason(code)
    log = ErrorOutput()
    assert log.feed(b"one\ntwo\r\n\nthr") == ["one", "two"]
    assert log.reason(code).endswith(": two")
    assert ErrorOutput().reason(None) == "it ended"
