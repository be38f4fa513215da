"""A live worker in a subprocess, for programs without an event loop and for tests; neither torch nor Qt is loaded."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO

from SPRCore.errors import SPRError
from SPRCore.live.arrays import SessionFolder
from SPRCore.live.conversation import Conversation
from SPRCore.live.events import Arrived, Deadlines, Event, KillWorker, StartWorker, WorkerState
from SPRCore.live.protocol import Error

WORKER = (sys.executable, "-m", "SPRCore.live.worker")
"""Command of the worker, with the running Python."""

_PIECE = 65536


class WorkerError(SPRError):
    """A request was answered by `error`."""

    def __init__(self, error: Error) -> None:
        self.error = error
        super().__init__(error.what, got=error.got, expected=error.expected, remedy=error.remedy)


class SubprocessClient:
    """A worker process and the conversation with it; a context manager that closes both.

    Args:
        command: Command of the worker.
        deadlines: Limits after which a worker counts as hung.
        options: Further options of `subprocess.Popen`, such as `env`.

    Attributes:
        session: Session folder.
        conversation: Conversation with the worker.
        process: The worker; None if it does not run.
    """

    def __init__(self, command: Sequence[str] = WORKER, deadlines: Deadlines | None = None, **options: Any) -> None:
        self._command, self._options = list(command), options
        self._deadlines = deadlines or Deadlines()
        self.session = SessionFolder()
        self.conversation = Conversation(self.session, self._deadlines, client=f"SPRCore, Python {sys.version[:6]}")
        self.process: subprocess.Popen | None = None
        self._arrived: queue.Queue = queue.Queue(maxsize=64)
        self._handle([StartWorker()])

    def __enter__(self) -> SubprocessClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, verb: str, *arguments: Any, **options: Any) -> int:
        """Send a request without waiting, and return its number.

        Args:
            verb: A request of `Conversation`: "open", "update", "commit", "sweep", "uncertainty", "choose", "paint",
                "annotate" or "cancel".
            arguments: Its arguments.
            options: Its options.
        """
        request = getattr(self.conversation, verb)(*arguments, **options)
        self._write()
        return request

    def do(self, verb: str, *arguments: Any, timeout: float | None = None, **options: Any) -> Arrived:
        """Send a request as `ask` and wait for its answer, at most `timeout` seconds; other messages are discarded.

        Raises:
            WorkerError: The answer is an error.
            TimeoutError: There was no answer in time, or before the deadlines of the conversation.
        """
        return self.wait(self.ask(verb, *arguments, **options), timeout)

    def wait(self, request: int, timeout: float | None = None) -> Arrived:
        """Wait for the answer to a request, as `do`."""
        for event in self.events(timeout):
            if isinstance(event, Arrived) and getattr(event.message, "id", None) == request:
                if isinstance(event.message, Error):
                    raise WorkerError(event.message)
                if event.message.kind not in ("progress", "uncertainty"):
                    return event
        raise TimeoutError(f"no answer to request {request}")

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield events as they arrive, for `timeout` seconds (None: without limit) or until the worker has closed."""
        end = None if timeout is None else time.monotonic() + timeout
        while end is None or time.monotonic() < end:
            yield from self.poll(0.5 if end is None else min(0.5, max(0.0, end - time.monotonic())))
            if self.conversation.status.state in (WorkerState.FAILED, WorkerState.CLOSED) and self.process is None:
                return

    def poll(self, timeout: float = 0.0) -> list[Event]:
        """Return the events that have arrived, waiting at most `timeout` seconds for the first."""
        events = self._handle(self.conversation.tick(time.monotonic()))
        try:
            while True:
                process, method, data = self._arrived.get(timeout=0.0 if events else timeout)
                if process is self.process:
                    events += self._take_in(method, data)
                timeout = 0.0
        except queue.Empty:
            return events

    def restart(self) -> list[Event]:
        """Restart the worker with the same pair."""
        return self._handle(self.conversation.restart())

    def close(self) -> None:
        """End the worker, by force after a few seconds, and remove all shared files."""
        if self.process is not None:
            self.conversation.close()
            self._write()
            for _ in self.events(2 * self._deadlines.close):  # the deadline kills it
                pass
        self.session.close()

    def _take_in(self, method: str, data: bytes | int) -> list[Event]:
        if method == "ended":
            self.process = None
        return self._handle(getattr(self.conversation, method)(data))

    def _handle(self, events: list[Event]) -> list[Event]:
        """Start and kill workers as instructed, write, and return the other events."""
        others = []
        for event in events:
            if isinstance(event, StartWorker):
                others += self._start()
            elif isinstance(event, KillWorker):
                self._kill()
            else:
                others.append(event)
        self._write()
        return others

    def _start(self) -> list[Event]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            self.process = subprocess.Popen(self._command, bufsize=0, creationflags=flags, **pipes, **self._options)
        except OSError as error:
            self.conversation.feed_log(f"{self._command[0]}: {error.strerror}\n".encode())
            return self._handle(self.conversation.ended(None))
        threading.Thread(target=_read, args=(self.process, self._arrived.put), daemon=True).start()
        return self._handle(self.conversation.started())

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def _write(self) -> None:
        data = memoryview(self.conversation.take())
        with contextlib.suppress(OSError, ValueError):  # after its end, which the reader reports
            while data and self.process is not None:
                data = data[self.process.stdin.write(data) :]


def _read(process: subprocess.Popen, put: Callable[[tuple], None]) -> None:
    """Queue the output of a worker, and its end, in a thread."""
    log = threading.Thread(target=_forward, args=(process, process.stderr, "feed_log", put), daemon=True)
    log.start()
    _forward(process, process.stdout, "feed", put)
    code = process.wait()
    log.join(timeout=1.0)  # a child of the worker may hold the pipe open
    for pipe in (process.stdin, process.stdout):
        pipe.close()
    put((process, "ended", code))


def _forward(process: subprocess.Popen, pipe: BinaryIO, method: str, put: Callable[[tuple], None]) -> None:
    with pipe:
        while data := pipe.read(_PIECE):
            put((process, method, data))
