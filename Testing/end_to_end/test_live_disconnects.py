"""Clients and launchers that end before their worker: it ends too, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from live_workers import FAKE, LAUNCHED, LIMIT, has_ended, left_over, note_sessions, shown, wait_until, words_until

from SPRCore.live import protocol
from SPRCore.live.arrays import SessionFolder
from SPRCore.live.events import WorkerState
from SPRCore.live.wire import read_answer, to_line

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.usefixtures("nothing_stays"),
]


CLIENT = """
import os, signal, sys, time
import numpy as np
from SPRCore.live.client import SubprocessClient
image = (np.zeros((3, 4, 5), np.float32), np.eye(4))
client = SubprocessClient(sys.argv[2:])
client.do("open", {"fixed": image, "moving": image})
client.do("update", alpha=1.0)
if sys.argv[1] != "at rest":
    client.ask("update", **{"at work": {"seconds": 1000.0}, "stuck": {"stick": 1000.0}}[sys.argv[1]])
    client.poll(0.3)
print(client.process.pid, flush=True)
client.poll(1000.0)
time.sleep(1000.0)
"""


@pytest.mark.parametrize("when", ["at rest", "at work", pytest.param("stuck", marks=pytest.mark.slow)])
def test_a_client_that_is_killed(when):
    """The worker ends and removes all shared files, even during a computation that checks nothing."""
    client = subprocess.Popen([sys.executable, "-c", CLIENT, when, *FAKE], stdout=subprocess.PIPE, text=True)
    with client.stdout:
        worker = psutil.Process(int(client.stdout.readline()))
    assert len(left_over()) >= 3
    client.kill()
    client.wait()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 15.0)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGSTOP])
def test_client_and_worker_killed_together_are_cleaned_up_by_the_next_session(live, stop):
    client = subprocess.Popen([sys.executable, "-c", CLIENT, "at rest", *FAKE], stdout=subprocess.PIPE, text=True)
    with client.stdout:
        worker = int(client.stdout.readline())
    before = left_over()
    os.kill(worker, stop)  # a stopped worker cannot clean up
    client.kill()
    client.wait()
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    files = {name for name in before if not name.startswith("process")}
    assert files
    other = live()
    assert not files & left_over()
    assert shown(other, alpha=1.0) == 1.0


def test_the_end_of_standard_input_ends_the_worker(raw):
    worker = raw()
    worker.hello()
    worker.process.stdin.close()
    assert worker.process.wait(LIMIT) == 0
    assert worker.session.folder.is_dir()  # its client lives


def test_a_closed_output_pipe_ends_the_worker(raw):
    worker = raw()
    worker.hello()
    worker.process.stdout.close()
    for number in range(2, 50):
        try:
            worker.write(to_line(protocol.Cancel(id=number)))
        except BrokenPipeError:
            break
        time.sleep(0.05)
    assert worker.process.wait(LIMIT) == 0


def test_a_client_that_dies_while_another_process_holds_its_pipe():
    """Standard input stays open, so the worker has to detect the end of its parent."""
    (into_worker, ours), (theirs, out_of_worker) = os.pipe(), os.pipe()
    code = (
        "import subprocess, sys, time; print(subprocess.Popen(sys.argv[2:], stdout=int(sys.argv[1])).pid, flush=True)"
    )
    command = [sys.executable, "-c", f"{code}; time.sleep(1000)", str(out_of_worker), *FAKE]
    pipes = {"stdin": into_worker, "stdout": subprocess.PIPE, "pass_fds": (out_of_worker,)}
    parent = subprocess.Popen(command, text=True, **pipes)
    os.close(into_worker)
    os.close(out_of_worker)
    with parent.stdout:
        worker = psutil.Process(int(parent.stdout.readline()))
    session = SessionFolder()
    note_sessions()
    with os.fdopen(theirs, "rb") as answers, os.fdopen(ours, "wb") as requests:
        hello = protocol.Hello(id=1, protocol=protocol.PROTOCOL, folder=str(session.folder))
        requests.write(to_line(hello))
        requests.flush()
        while read_answer(answers.readline()).kind != "ready":
            pass
        parent.kill()
        parent.wait()
        wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 15.0)
    session.close()


# Behind a launcher, as in Slicer


def behind(client):
    """The worker behind the launcher."""
    (worker,) = psutil.Process(client.process.pid).children()
    return worker


def test_a_crash_behind_a_launcher_has_a_reason(live):
    client = live(LAUNCHED)
    assert shown(client, alpha=2.0) == 2.0
    behind(client).send_signal(signal.SIGKILL)
    words = words_until(client, WorkerState.OPEN)
    assert "code 1; it may have crashed, or the system may have run out of memory" in words
    assert shown(client, alpha=3.0) == 3.0


@pytest.mark.parametrize("busy", ["at rest", "stuck"])
def test_a_worker_without_its_launcher_ends_at_once_and_leaves_the_next_one_alone(live, busy):
    client = live(LAUNCHED)
    assert shown(client, alpha=2.0) == 2.0
    late = behind(client)
    if busy == "stuck":
        client.ask("update", stick=1000.0)
        client.poll(0.3)
    client.process.kill()  # the client cannot kill the worker
    words_until(client, WorkerState.OPEN)
    assert shown(client, alpha=3.0) == 3.0
    wait_until(lambda: has_ended(late), 3.0)
    for value in (4.0, 5.0):
        assert shown(client, alpha=value) == value


@pytest.mark.parametrize("busy", ["at rest", "stuck"])
def test_no_files_remain_after_the_launcher_is_killed(live, busy):
    client = live(LAUNCHED)
    assert shown(client, alpha=2.0) == 2.0
    late = behind(client)
    if busy == "stuck":
        client.ask("update", stick=1000.0)
        client.poll(0.3)
    client.process.kill()
    client.session.close()
    wait_until(lambda: has_ended(late), 3.0)
    assert not [name for name in left_over() if client.session.folder.name in name]
