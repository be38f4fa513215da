"""Real faults of a live worker and its client: reported, then continued or ended without leftovers.

Most workers here are the one of `fake_worker.py`, which starts at once and misbehaves on request.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from SPRCore.errors import InputError
from SPRCore.live import client as client_module
from SPRCore.live import protocol
from SPRCore.live.arrays import PREFIX, SessionFolder
from SPRCore.live.client import SubprocessClient, WorkerError
from SPRCore.live.conversation import MAX_LOSSES
from SPRCore.live.events import Arrived, Deadlines, WorkerState, WorkerStatus
from SPRCore.live.wire import read_answer, to_line

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
SHM = Path("/dev/shm")
AFFINE = np.diag([2.0, 2.5, 3.0, 1.0])
PAIR = {name: (np.arange(60, dtype=np.float32).reshape(3, 4, 5), AFFINE) for name in ("fixed", "moving")}
LIMIT = 20.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def left_over():
    """Segments and folders of sessions, and child processes."""
    shared = SHM.glob(f"{PREFIX}*") if SHM.is_dir() else ()
    files = {str(path) for path in (*shared, *Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))}
    return files | {f"process {child.pid}" for child in psutil.Process().children(recursive=True)}


def wait_until(is_true, seconds=LIMIT):
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    """A temporary folder for each test; no files and processes remain."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = left_over()
    yield
    end = time.monotonic() + LIMIT
    while (left := left_over() - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left


@pytest.fixture
def live():
    """Start a client with a pair open."""
    started = []

    def start(command=FAKE, pair=PAIR, **deadlines):
        client = SubprocessClient(command, Deadlines(**deadlines))
        started.append(client)
        if pair is not None:
            client.do("open", pair, timeout=LIMIT)
        return client

    yield start
    for client in started:
        client.close()


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


# Killed, hanging and out of memory


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
    assert time.monotonic() - start < 6.0
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
    assert longest < 0.5
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
    assert time.monotonic() - start < 5.0
    assert client.process is None


# Garbage and partial lines


def test_prints_of_libraries_go_to_standard_error(live):
    client = live()
    client.ask("update", alpha=2.0, print=1.0)
    found = {}
    for event in client.events(LIMIT):
        found[getattr(event.message, "text", event.message.kind)] = event.arrays
        if {"result", "what a library prints", "and what its C part prints"} <= set(found):
            break
    assert found["result"]["displacement"][0].mean() == 2.0


class Raw:
    """A worker that the test writes bytes to."""

    def __init__(self, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(FAKE, bufsize=0, **pipes | options)
        self.session = SessionFolder()

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


@pytest.fixture
def raw():
    workers = []

    def start(**options):
        workers.append(Raw(**options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.kill()
        worker.end()


def test_each_invalid_line_of_the_client_is_answered_by_an_error(raw):
    worker = raw()
    for line in (b"garbage\n", b"\xff\xfe\x00\n", b"{}\n", b'{"verb":"dance","id":7}\n', b"[" * 10**5 + b"\n"):
        worker.write(line)
        answer = worker.read()
        assert isinstance(answer, protocol.Error)
        assert answer.code == "protocol"
        assert answer.id == (7 if b"dance" in line else None)
    worker.hello()
    worker.write(b"x" * 3 * 2**20 + b"\n")  # beyond the maximum length
    assert "does not end" in worker.read().words()
    worker.write(to_line(protocol.Cancel(id=2)))
    assert worker.read() == protocol.Done(id=2)


def test_another_version_is_answered_before_anything_is_loaded(raw):
    worker = raw()
    worker.write(b'{"verb":"hello","id":1,"protocol":99,"news":[1]}\n')
    answer = worker.read()
    assert "version 99 of the client" in answer.words()
    assert answer.id == 1


def test_a_partial_line_is_completed_later(raw):
    worker = raw()
    worker.hello()
    line = to_line(protocol.Cancel(id=2))
    worker.write(line[:10])
    time.sleep(0.3)
    worker.write(line[10:] + line[:5])
    assert worker.read() == protocol.Done(id=2)
    assert worker.end() == 0  # in spite of a partial line


WORKERS_THAT_TALK_NONSENSE = {
    "garbage": "import sys\nwhile True: sys.stdout.write('garbage\\n'); sys.stdout.flush()",
    "half a line": 'import sys, time; sys.stdout.write(\'{"kind":"rea\'); sys.stdout.flush(); time.sleep(1000)',
    "no end of the line": "import sys\nwhile True: sys.stdout.write('x' * 65536)",
    "half a line and gone": 'import sys; sys.stdout.write(\'{"kind":"rea\')',
    "another version": 'print(\'{"kind":"ready","id":1,"protocol":99}\', flush=True); input(); input()',
}


@pytest.mark.parametrize("nonsense", WORKERS_THAT_TALK_NONSENSE)
def test_garbage_from_the_worker_ends_with_a_reason(live, nonsense):
    client = live((sys.executable, "-c", WORKERS_THAT_TALK_NONSENSE[nonsense]), pair=None, hello=1.0)
    request = client.ask("open", PAIR)
    with pytest.raises(WorkerError, match="the worker was lost"):
        client.wait(request, LIMIT)
    said = words_until(client, WorkerState.FAILED)
    expected = {"half a line": "no sign of life", "garbage": "only unreadable lines"}
    expected |= {"half a line and gone": "ended with code 0", "another version": "version 99 of the worker"}
    assert expected.get(nonsense, "no sign of life") in said


# The client disconnects

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

LAUNCHED = (sys.executable, str(Path(__file__).with_name("launcher.py")), *FAKE[1:])


def behind(client):
    """The worker behind the launcher."""
    (worker,) = psutil.Process(client.process.pid).children()
    return worker


def has_ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


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


# Two clients, full memory, suspension


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
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(worker, number)
            os.kill(client.pid, number)
            time.sleep(6.0 if number == signal.SIGSTOP else 0.0)
        assert client.stdout.read().split() == ["True", "2.0"]
    assert client.wait(LIMIT) == 0


# The real worker


def textured(shape=(24, 20, 16)):
    from scipy.ndimage import gaussian_filter

    fixed = gaussian_filter(np.random.default_rng(0).standard_normal(shape), 1.5).astype(np.float32)
    return {"fixed": (fixed, AFFINE), "moving": (np.roll(fixed, 1, axis=0), AFFINE)}


@pytest.fixture(scope="module")
def answers():
    """Answers of a real worker to valid and invalid requests."""
    pair = textured()
    flat = pair | {"moving": (np.zeros_like(pair["moving"][0]), AFFINE)}
    with SubprocessClient() as client:
        yield {
            "pair": pair,
            "opened": client.do("open", pair, prior="beta", setting={"alpha": 0.1}, init="none", device="cpu").message,
            "update": client.do("update", lambda_max=2.0),
            "idle": next(e for e in client.events() if isinstance(e, Arrived) and e.message.kind == "idle"),
            "commit": client.do("commit"),
            "bad setting": error_of(client, "update", alpha=-1.0),
            "bad prior": error_of(client, "open", pair, setting={"alpha": 0.1}),
            "bad pair": error_of(client, "open", flat),
            "no moving": error_of(client, "open", {"fixed": pair["fixed"]}),
            "no affine": error_of(client, "open", pair | {"fixed": (pair["fixed"][0], None)}),
            "state": client.conversation.status.state,
        }


def error_of(client, verb, *arguments, **options):
    with pytest.raises(WorkerError) as caught:
        client.do(verb, *arguments, **options)
    return caught.value.error


def test_a_real_worker_opens_previews_and_commits(answers):
    assert answers["opened"].prior == "beta"
    assert answers["opened"].setting == {"alpha": 0.1, "lambda_max": 1.0}
    assert set(answers["opened"].ranges) == {"alpha", "lambda_max"}
    preview, exact = answers["update"], answers["commit"]
    assert preview.message.setting == {"alpha": 0.1, "lambda_max": 2.0}
    assert preview.message.quality.folding_percent == 0.0
    assert preview.arrays["displacement"][0].shape == (*preview.arrays["weight"][0].shape, 3)
    assert exact.message.exact
    assert exact.arrays["displacement"][0].shape == (24, 20, 16, 3)
    assert exact.arrays["warped"][0].shape == (24, 20, 16)
    assert exact.message.metrics["after"]["lncc"] > exact.message.metrics["before"]["lncc"]


def test_a_real_worker_equals_a_session_in_process(answers):
    from SPRCore.geometry import Volume
    from SPRCore.live import LiveSession
    from SPRCore.regularization import BetaPrior

    fixed, moving = (Volume(*answers["pair"][name]) for name in ("fixed", "moving"))
    prior = BetaPrior(alpha=0.1)
    with LiveSession.open(fixed, moving, prior=prior, device="cpu") as session:
        session.update(lambda_max=2.0)
        while session.improve() is not None:
            pass
        reply = session.commit()
    got = answers["commit"].arrays
    for name in ("displacement", "weight", "inverse", "warped"):
        np.testing.assert_allclose(got[name][0], getattr(reply, name).array, atol=1e-4)
        np.testing.assert_array_equal(got[name][1], getattr(reply, name).affine)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("bad setting", "alpha"),
        ("bad prior", "prior"),
        ("bad pair", "moving image"),
        ("no moving", "fixed and moving"),
        ("no affine", "no affine"),
    ],
)
def test_a_real_worker_refuses_invalid_requests(answers, case, words):
    assert answers[case].code == "input"
    assert words in answers[case].words()
    assert answers["state"] is WorkerState.READY


def points_of(client, seconds=LIMIT):
    """Points of the sweep until the worker is idle."""
    for event in client.events(seconds):
        if isinstance(event, Arrived) and event.message.kind == "idle":
            return
        if isinstance(event, Arrived) and event.message.kind == "point":
            yield event.message


@pytest.fixture(scope="module")
def small_model(tiny_network, card_for, tmp_path_factory):
    """The path of a bundle of a tiny hyper network."""
    from SPRCore.io import Bundle, write_bundle

    network = tiny_network("hyper-vxm-spr-small")
    path = tmp_path_factory.mktemp("models") / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card_for(network), tensors=network.state_dict()), path)
    return path


def test_a_real_worker_with_a_network(live, small_model):
    from SPRCore import Volume, register
    from SPRCore.regularization import BetaPrior

    pair = textured()
    labels = (pair["fixed"][0] > 0).astype(np.uint8)
    client = live(client_module.WORKER, pair=None)
    client.do("open", pair | {"fixed_labels": (labels, AFFINE), "moving_labels": (labels, AFFINE)},
              method=str(small_model), device="cpu")  # fmt: skip
    preview = client.do("update", improve=False, alpha=0.3, lambda_max=2.0)
    assert not preview.message.exact
    final = client.do("commit")
    cold = register(*(Volume(*pair[name]) for name in ("fixed", "moving")), method=small_model,
                    prior=BetaPrior(alpha=0.3, lambda_max=2.0), init="none", device="cpu")  # fmt: skip
    for name in ("displacement", "inverse", "weight", "warped"):
        np.testing.assert_allclose(final.arrays[name][0], getattr(cold, name).array, atol=1e-5)
    error = error_of(client, "paint", np.full((24, 20, 16), 2.0), AFFINE)
    assert error.code == "input"
    assert "refine" in error.words()
    client.do("sweep")
    points = list(points_of(client))
    assert len(points) == 25
    assert all(0 < point.dice_mean <= 1 for point in points)


def test_a_real_worker_paints_the_stiffness(live):
    client = live(client_module.WORKER, pair=None)
    client.do("open", textured())
    soft = client.do("commit").arrays["weight"][0]
    painted = np.ones((24, 20, 16), dtype=np.float32)
    painted[12:] = 20.0
    client.do("paint", painted, AFFINE)
    client.do("update")
    stiff = client.do("commit").arrays["weight"][0]
    assert stiff[14:].mean() > 3 * soft[14:].mean()
    os.kill(client.process.pid, signal.SIGKILL)  # the next worker gets the stiffness
    words_until(client, WorkerState.OPEN, 60.0)
    np.testing.assert_allclose(client.do("commit").arrays["weight"][0], stiff, atol=1e-4)


def test_a_real_worker_killed_during_a_sweep(live, small_model):
    client = live(client_module.WORKER, pair=None)
    client.do("open", textured(), method=str(small_model), device="cpu")
    client.do("sweep")
    assert next(points_of(client)).quality.folding_percent == 0.0
    os.kill(client.process.pid, signal.SIGKILL)
    words_until(client, WorkerState.OPEN, 60.0)
    client.do("update", alpha=0.5)
    client.do("sweep")  # it is not resumed automatically
    assert len(list(points_of(client))) == 25


@pytest.mark.slow
def test_a_real_worker_that_runs_out_of_memory(live):
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit the memory of another process")
    client = live(client_module.WORKER, pair=textured())
    client.do("commit")
    pid = client.process.pid
    limit = psutil.Process(pid).memory_info().vms + 2**28
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    large = textured((200, 200, 160))
    try:
        client.do("open", large)
        error = error_of(client, "commit")
    except WorkerError as caught:
        error = caught.error
    assert error.code == "memory"
    assert "smaller images" in error.words()
    client.do("open", textured())
    assert client.do("commit").message.exact
    assert client.process.pid == pid


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_real_worker_lost_during_a_solution(live, number):
    client = live(client_module.WORKER, pair=textured((96, 96, 64)), commit=5.0)
    request = client.ask("commit")
    client.poll(1.0)
    os.kill(client.process.pid, number)
    with pytest.raises(WorkerError, match=r"SIGKILL|no sign of life"):
        client.wait(request, 60.0)
    words_until(client, WorkerState.OPEN, 60.0)
    assert client.do("update", alpha=0.2).message.kind == "result"


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
