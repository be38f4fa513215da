"""Two clients at once, full memory and disks, and processes that are suspended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from live_workers import FAKE, LIMIT, note_sessions, shown, words_until

from SPRCore.live import client as client_module
from SPRCore.live.client import WorkerError
from SPRCore.live.events import WorkerState

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.usefixtures("nothing_stays"),
]


def test_two_clients_do_not_disturb_each_other(live):
    first, second = live(), live()
    requests = {client: [client.ask("update", alpha=offset + place) for place in range(5)]
                for client, offset in ((first, 10.0), (second, 20.0))}  # fmt: skip
    answers = {client: client.wait(numbers[-1], LIMIT) for client, numbers in requests.items()}
    values = [answers[client].arrays["displacement"][0].mean() for client in (first, second)]
    assert values == [14.0, 24.0]
    os.kill(first.process.pid, signal.SIGKILL)
    assert shown(second, alpha=1.0) == 1.0
    words_until(first, WorkerState.OPEN)
    second.close()
    assert shown(first, alpha=3.0) == 3.0


IN_LITTLE_MEMORY = """
import json, os, subprocess, sys
import numpy as np
from pathlib import Path
from SPRCore.live.client import SubprocessClient
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/dev/shm"], check=True)
image = (np.random.default_rng(0).random((40, 40, 40), dtype=np.float32), np.eye(4))
with SubprocessClient(sys.argv[1:]) as client:
    client.do("open", {"fixed": image, "moving": image})
    answer = client.do("update", alpha=2.0)
    value = float(answer.arrays["displacement"][0].mean())
    same = bool((answer.arrays["weight"][0] == image[0]).all())
print(json.dumps({"kind": answer.message.segment.kind, "value": value, "same": same, "left": os.listdir("/dev/shm")}))
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small /dev/shm")
def test_shared_memory_that_is_really_full():
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("this system lets not even root have a /dev/shm of its own")
    command = ["unshare", "-m", sys.executable, "-c", IN_LITTLE_MEMORY, *FAKE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"kind": "file", "value": 2.0, "same": True, "left": []}


def test_no_space_for_a_result_is_an_error_and_the_session_continues(live):
    """The file size is limited, in /dev/shm and among the temporary files."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit the files of another process")
    client = live()
    pid = client.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, 2**30))
    with pytest.raises(WorkerError, match=r"shared memory.*File too large.*free some space"):
        client.do("update", alpha=1.0, timeout=LIMIT)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (2**30, 2**30))
    assert shown(client, alpha=2.0) == 2.0
    assert client.process.pid == pid


def test_a_suspended_client(live, monkeypatch):
    """The clock of the client jumps by a night during a request."""
    client = live(update=3.0)
    pid, real, asleep = client.process.pid, time.monotonic, [0.0]
    monkeypatch.setattr(client_module.time, "monotonic", lambda: real() + asleep[0])
    request = client.ask("update", alpha=2.0, seconds=1.0)
    client.poll(0.2)
    asleep[0] = 8 * 3600.0
    assert client.wait(request, None).message.kind == "result"
    assert client.process.pid == pid
    assert client.conversation.status.state is WorkerState.OPEN


SLEEPING = """
import sys
import numpy as np
from SPRCore.live.client import SubprocessClient
from SPRCore.live.events import Deadlines
image = (np.zeros((3, 4, 5), np.float32), np.eye(4))
with SubprocessClient(sys.argv[1:], Deadlines(update=2.5)) as client:
    client.do("open", {"fixed": image, "moving": image})
    pid = client.process.pid
    request = client.ask("update", alpha=2.0, seconds=2.0)
    client.poll(0.2)
    print(pid, flush=True)
    answer = client.wait(request)
    print(client.process.pid == pid, answer.arrays["displacement"][0].mean())
"""


@pytest.mark.slow
def test_both_processes_suspended_beyond_the_deadline():
    client = subprocess.Popen([sys.executable, "-c", SLEEPING, *FAKE], stdout=subprocess.PIPE, text=True)
    with client.stdout:
        worker = int(client.stdout.readline())
        note_sessions()
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(worker, number)
            os.kill(client.pid, number)
            time.sleep(6.0 if number == signal.SIGSTOP else 0.0)
        assert client.stdout.read().split() == ["True", "2.0"]
    assert client.wait(LIMIT) == 0
