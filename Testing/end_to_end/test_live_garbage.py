"""Lines that cannot be read, from a client and from a worker."""

from __future__ import annotations

import sys
import time

import pytest
from live_workers import LIMIT, PAIR, words_until

from SPRCore.live import protocol
from SPRCore.live.client import WorkerError
from SPRCore.live.events import WorkerState
from SPRCore.live.wire import to_line

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.usefixtures("nothing_stays"),
]


def test_prints_of_libraries_go_to_standard_error(live):
    client = live()
    client.ask("update", alpha=2.0, print=1.0)
    found = {}
    for event in client.events(LIMIT):
        found[getattr(event.message, "text", event.message.kind)] = event.arrays
        if {"result", "what a library prints", "and what its C part prints"} <= set(found):
            break
    assert found["result"]["displacement"][0].mean() == 2.0


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
