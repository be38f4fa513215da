"""A live worker in a process of its own, driven through pipes; for programs without an event loop, and for tests.

Slicer moves the same `Conversation` with `QProcess`. Neither torch nor Qt is loaded.
"""

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
from SPRCore.live.arrays import Session
from SPRCore.live.conversation import Conversation
from SPRCore.live.events import Arrived, Deadlines, Event, Kill, Start, State
from SPRCore.live.protocol import Error

WORKER = (sys.executable, "-m", "SPRCore.live.worker")
"""Command of the worker, with the Python that runs this program."""

_PIECE = 65536


class WorkerError(SPRError):
    """A request was answered by an error, or could not be answered.

    Args:
        error: The answer.
    """

    def __init__(self, error: Error) -> None:
        self.error = error
        super().__init__(error.what, got=error.got, expected=error.expected, remedy=error.remedy)


class SubprocessClient:
    """A worker process with the conversation with it; `with` closes both.

    Args:
        command: Command of the worker.
        deadlines: When a worker counts as hung.
        options: Further options of `subprocess.Popen`, such as `env`.
    """

    def __init__(self, command: Sequence[str] = WORKER, deadlines: Deadlines | None = None, **options: Any) -> None:
        self._command, self._options = list(command), options
        self._deadlines = deadlines or Deadlines()
        self._session = Session()
        self.conversation = Conversation(self._session, self._deadlines, client=f"SPRCore, Python {sys.version[:6]}")
        self.process: subprocess.Popen | None = None
        self._arrived: queue.Queue = queue.Queue(maxsize=64)
        self._carry([Start()])

    def __enter__(self) -> SubprocessClient:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def ask(self, verb: str, *arguments: Any, **options: Any) -> int:
        """Ask for something without waiting.

        Args:
            verb: A request of `Conversation`: "open", "update", "commit", "sweep", "choose", "paint" or "cancel".
            arguments: Its arguments.
            options: Its options.

        Returns:
            The number of the request.
        """
        request = getattr(self.conversation, verb)(*arguments, **options)
        self._write()
        return request

    def do(self, verb: str, *arguments: Any, timeout: float | None = None, **options: Any) -> Arrived:
        """Ask for something and wait for the answer; what else arrives meanwhile is passed over.

        Args:
            verb: As for `ask`.
            arguments: Its arguments.
            timeout: Most seconds to wait; None to rely on the deadlines, by which every request is answered in the end.
            options: Its options.

        Returns:
            The answer.

        Raises:
            WorkerError: The answer is an error.
            TimeoutError: There was none in time.
        """
        return self.wait(self.ask(verb, *arguments, **options), timeout)

    def wait(self, request: int, timeout: float | None = None) -> Arrived:
        """Wait for the answer to a request, as `do`."""
        for event in self.events(timeout):
            if isinstance(event, Arrived) and getattr(event.message, "id", None) == request:
                if isinstance(event.message, Error):
                    raise WorkerError(event.message)
                if event.message.kind != "progress":
                    return event
        raise TimeoutError(f"no answer to request {request}")

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield what arrives.

        Args:
            timeout: Seconds after which to stop; None for never.

        Yields:
            What there is to tell; starting and killing are seen to.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while end is None or time.monotonic() < end:
            yield from self.poll(0.5 if end is None else min(0.5, max(0.0, end - time.monotonic())))
            if self.conversation.status.state in (State.FAILED, State.CLOSED) and self.process is None:
                return

    def poll(self, timeout: float = 0.0) -> list[Event]:
        """Return what has arrived.

        Args:
            timeout: Most seconds to wait for the first thing.

        Returns:
            What there is to tell; starting and killing have been seen to.
        """
        told = self._carry(self.conversation.tick(time.monotonic()))
        try:
            while True:
                process, method, data = self._arrived.get(timeout=0.0 if told else timeout)
                if process is self.process:
                    told += self._take_in(method, data)
                timeout = 0.0
        except queue.Empty:
            return told

    def restart(self) -> list[Event]:
        """Start the worker again, with the same pair: after a failure, or to get rid of one that is at work."""
        return self._carry(self.conversation.restart())

    def close(self) -> None:
        """End the worker, in a few seconds by force, and remove everything it shared with this process."""
        if self.process is not None:
            self.conversation.close()
            self._write()
            for _ in self.events(2 * self._deadlines.close):  # by then it has been killed
                pass
        self._session.close()

    def _take_in(self, method: str, data: bytes | int) -> list[Event]:
        if method == "ended":
            self.process = None
        return self._carry(getattr(self.conversation, method)(data))

    def _carry(self, events: list[Event]) -> list[Event]:
        told = []
        for event in events:
            if isinstance(event, Start):
                told += self._start()
            elif isinstance(event, Kill):
                self._kill()
            else:
                told.append(event)
        self._write()
        return told

    def _start(self) -> list[Event]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            self.process = subprocess.Popen(self._command, bufsize=0, creationflags=flags, **pipes, **self._options)
        except OSError as error:
            self.conversation.feed_log(f"{self._command[0]}: {error.strerror}\n".encode())
            return self._carry(self.conversation.ended(None))
        threading.Thread(target=_read, args=(self.process, self._arrived.put), daemon=True).start()
        return self._carry(self.conversation.started())

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def _write(self) -> None:
        data = memoryview(self.conversation.take())
        with contextlib.suppress(OSError, ValueError):  # it has ended; the reader says so
            while data and self.process is not None:
                data = data[self.process.stdin.write(data) :]


def _read(process: subprocess.Popen, put: Callable[[tuple], None]) -> None:
    """Pass on what a worker writes, and its end, from a thread of its own."""
    log = threading.Thread(target=_pass_on, args=(process, process.stderr, "feed_log", put), daemon=True)
    log.start()
    _pass_on(process, process.stdout, "feed", put)
    code = process.wait()
    log.join(timeout=1.0)  # a process that the worker has left behind may hold the pipe open
    for pipe in (process.stdin, process.stdout):
        pipe.close()
    put((process, "ended", code))


def _pass_on(process: subprocess.Popen, pipe: BinaryIO, method: str, put: Callable[[tuple], None]) -> None:
    with pipe:
        while data := pipe.read(_PIECE):
            put((process, method, data))
