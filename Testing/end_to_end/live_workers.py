"""Live workers for the tests: commands, a small pair, what is left over, and a worker that gets raw bytes.

Most of them are the worker of `fake_worker.py`, which starts at once and misbehaves on request.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from SPRCore.live import protocol
from SPRCore.live.arrays import PREFIX, SessionFolder
from SPRCore.live.client import WorkerError
from SPRCore.live.events import WorkerState, WorkerStatus
from SPRCore.live.wire import read_answer, to_line

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
LAUNCHED = (sys.executable, str(Path(__file__).with_name("launcher.py")), *FAKE[1:])
"""The same behind a launcher, as in Slicer."""
SHM = Path("/dev/shm")
AFFINE = np.diag([2.0, 2.5, 3.0, 1.0])
PAIR = {name: (np.arange(60, dtype=np.float32).reshape(3, 4, 5), AFFINE) for name in ("fixed", "moving")}
LIMIT = 20.0

_sessions: set[str] = set()


def note_sessions():
    """Remember the sessions of this test, whose segments count as left over; other processes have theirs."""
    folders = list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    _sessions.update(folder.name for folder in folders)
    return folders


def left_over():
    """Segments and folders of sessions that were noted, and child processes."""
    folders = note_sessions()
    shared = [path for path in SHM.glob(f"{PREFIX}*") if "-".join(path.name.split("-")[:3]) in _sessions]
    children = {f"process {child.pid}" for child in psutil.Process().children(recursive=True)}
    return {str(path) for path in (*folders, *shared)} | children


def wait_until(is_true, seconds=LIMIT):
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def has_ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def shown(client, **setting):
    """Mean displacement of the worker's answer, in mm."""
    answer = client.do("update", timeout=LIMIT, **setting)
    return float(answer.arrays["displacement"][0].mean())


def words_until(client, state, seconds=LIMIT):
    """Status texts up to a state."""
    words = [client.conversation.status.words]
    if client.conversation.status.state is state is WorkerState.FAILED:
        return words[0]
    for event in client.events(seconds):
        if isinstance(event, WorkerStatus):
            words.append(event.words)
            if event.state is state:
                return " ".join(words)
    pytest.fail(f"{state} was not reached: {words}")


def error_of(client, verb, *arguments, **options):
    with pytest.raises(WorkerError) as caught:
        client.do(verb, *arguments, **options)
    return caught.value.error


class Raw:
    """A worker that the test writes bytes to."""

    def __init__(self, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(FAKE, bufsize=0, **pipes | options)
        self.session = SessionFolder()
        note_sessions()

    def write(self, data):
        self.process.stdin.write(data)

    def read(self):
        return read_answer(self.process.stdout.readline())

    def hello(self):
        folder = str(self.session.folder)
        self.write(to_line(protocol.Hello(id=1, protocol=protocol.PROTOCOL, folder=folder)))
        while not isinstance(answer := self.read(), protocol.Ready):
            assert isinstance(answer, protocol.Log)

    def end(self):
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        code = self.process.wait(LIMIT)
        self.session.close()
        return code
