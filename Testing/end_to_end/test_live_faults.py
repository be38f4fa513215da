"""Workers that are killed, hang or run out of memory: reported, then restarted or ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from live_workers import AFFINE, LIMIT, PAIR, shown, wait_until, words_until

from SPRCore.errors import InputError
from SPRCore.live.client import WorkerError
from SPRCore.live.conversation import MAX_LOSSES
from SPRCore.live.events import Arrived, WorkerState

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.usefixtures("nothing_stays"),
]


@pytest.mark.parametrize("when", ["at rest", "at work", "while opening"])
def test_a_worker_that_is_killed(live, when):
    client = live(pair=None if when == "while opening" else PAIR)
    if when == "while opening":
        request = client.ask("open", PAIR)
    else:
        assert shown(client, alpha=2.0) == 2.0
        request = client.ask("update", alpha=3.0, seconds=30.0) if when == "at work" else None
        client.poll(0.2)
    os.kill(client.process.pid, signal.SIGKILL)
    if request is not None:
        with pytest.raises(WorkerError, match="SIGKILL; the system may have run out of memory"):
            client.wait(request, LIMIT)
    said = words_until(client, WorkerState.OPEN)
    assert "same pair" in said or when == "while opening"
    assert shown(client, alpha=4.0, seconds=0.0) == 4.0


def test_after_a_fatal_setting_the_previous_one_is_restored(live):
    client = live()
    assert shown(client, alpha=2.0) == 2.0
    with pytest.raises(WorkerError, match="SIGSEGV"):
        client.do("update", die=signal.SIGSEGV, alpha=3.0)
    words_until(client, WorkerState.OPEN)
    assert client.conversation.setting["alpha"] == 2.0
    assert shown(client) == 2.0


def test_a_worker_that_dies_each_time_is_not_restarted(live):
    client = live()
    for _ in range(MAX_LOSSES + 1):
        with pytest.raises(WorkerError, match="SIGSEGV"):
            client.do("update", die=signal.SIGSEGV)
    assert "cannot be kept running" in words_until(client, WorkerState.FAILED)
    with pytest.raises(InputError, match="start it again"):
        client.ask("update", alpha=1.0)
    assert client.process is None


@pytest.mark.parametrize("way", ["stopped", "stuck"])
def test_a_worker_that_hangs(live, way):
    client = live(update=1.0)
    if way == "stopped":
        os.kill(client.process.pid, signal.SIGSTOP)
        request = client.ask("update", alpha=1.0)
    else:
        request = client.ask("update", stick=1000.0, alpha=1.0)
    start = time.monotonic()
    with pytest.raises(WorkerError, match="no sign of life"):
        client.wait(request, LIMIT)
    assert time.monotonic() - start < 10.0
    assert client.conversation.status.state is WorkerState.RESTARTING
    words_until(client, WorkerState.OPEN)
    assert shown(client, alpha=2.0, stick=0.0) == 2.0


def test_a_drag_over_a_stopped_worker_does_not_block_the_client(live):
    client = live(update=2.0)
    os.kill(client.process.pid, signal.SIGSTOP)
    longest = 0.0
    for place in range(600):
        start = time.monotonic()
        client.ask("update", alpha=place / 100)
        longest = max(longest, time.monotonic() - start)
    assert longest < 1.5  # a full pipe would block for as long as the worker is stopped
    words_until(client, WorkerState.OPEN)
    assert shown(client, alpha=6.0) == 6.0


def test_a_worker_that_runs_out_of_memory(live):
    client = live()
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit the memory of another process")
    limit = psutil.Process(client.process.pid).memory_info().vms + 2**28
    resource.prlimit(client.process.pid, resource.RLIMIT_AS, (limit, limit))
    pid = client.process.pid
    with pytest.raises(WorkerError, match=r"not enough memory.*smaller images") as caught:
        client.do("update", fill=4096.0, timeout=LIMIT)
    assert caught.value.error.code == "memory"
    assert shown(client, alpha=2.0, fill=1.0) == 2.0
    assert client.process.pid == pid


def test_a_worker_that_fails_at_start(live):
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28)); bytearray(2**29)"
    client = live((sys.executable, "-c", code), pair=None)
    request = client.ask("open", PAIR)
    with pytest.raises(WorkerError, match="the worker was lost"):
        client.wait(request, LIMIT)
    assert "cannot be kept running" in words_until(client, WorkerState.FAILED)
    assert "MemoryError" in client.conversation.status.words


def test_a_missing_worker_command(live):
    client = live(("no-such-program-anywhere",), pair=None)
    assert client.conversation.status.state is WorkerState.FAILED
    assert "no-such-program-anywhere" in client.conversation.status.words


def test_a_terminated_worker_removes_its_segments(live):
    client = live()
    shown(client, alpha=1.0)
    folder = str(client.session.folder)
    os.kill(client.process.pid, signal.SIGTERM)
    words_until(client, WorkerState.OPEN)
    assert Path(folder).is_dir()
    assert shown(client, alpha=2.0) == 2.0


def test_a_worker_that_ignores_close_is_killed(live):
    client = live(close=0.5)
    client.ask("update", stick=1000.0)
    client.poll(0.3)
    start = time.monotonic()
    client.close()
    assert time.monotonic() - start < 10.0
    assert client.process is None


# Random requests and faults


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_request_is_answered_once(live, seed):
    """Random requests and faults; at the end the session works."""
    rng = np.random.default_rng(seed)
    client = live(update=1.0, commit=1.0, other=1.0, open=2.0, hello=10.0)
    asked, answered = set(), []

    def hit(number):
        if client.process is not None:
            os.kill(client.process.pid, number)

    def listen(seconds):
        for event in client.events(seconds):
            if isinstance(event, Arrived) and event.message.kind not in ("progress", "log", "idle", "point"):
                if not getattr(event.message, "improvement", False) and event.message.id is not None:
                    answered.append(event.message.id)

    actions = [
        *[lambda: client.ask("update", alpha=float(rng.random()), seconds=0.02, improvements=2.0)] * 12,
        *[lambda: client.ask("commit"), lambda: client.ask("sweep"), lambda: client.ask("cancel")] * 2,
        lambda: client.ask("paint", np.full((3, 4, 5), 1.0 + rng.random()), AFFINE),
        lambda: client.ask("open", PAIR),
        lambda: hit(signal.SIGKILL),
        lambda: hit(signal.SIGSTOP),
        lambda: hit(signal.SIGTERM),
    ]
    for _ in range(150):
        if client.conversation.status.state is WorkerState.FAILED:
            client.restart()
        with contextlib.suppress(InputError):  # too many pending requests
            request = rng.choice(actions)()
            asked |= {request} if request else set()
        listen(float(rng.exponential(0.03)))
    wait_until(lambda: (listen(0.2), asked <= set(answered))[1])
    assert len(set(answered)) == len(answered)
    client.restart()
    client.do("open", PAIR, timeout=LIMIT)
    assert shown(client, alpha=3.0) == 3.0
