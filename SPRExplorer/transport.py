"""The worker as a process in the server's event loop; nothing here blocks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

logger = logging.getLogger("SPRRegistration")

TICK_SECONDS = 0.25
PIECE = 1 << 16


def worker_command() -> list[str]:
    """Return the command of the worker, with the Python that runs the server."""
    return [sys.executable, "-m", "SPRCore.live.worker"]


def half_of_the_cores() -> int:
    """Return the number of threads for each of worker and views, which are busy at the same time."""
    return max(1, (os.cpu_count() or 2) // 2)


class AsyncTransport:
    """Starts and ends one worker after the other, and moves bytes; to be used within an event loop.

    The callbacks are called from the event loop, never from within `start` or `write`.

    Attributes:
        on_output: Called with bytes of the worker's standard output.
        on_log: Called with bytes of its standard error.
        on_ended: Called with its exit code: minus the signal after a crash, None if it did not start.
        on_tick: Called with the seconds of a clock, while a worker runs.
    """

    def __init__(self) -> None:
        self.on_output: Callable[[bytes], object] = _nothing
        self.on_log: Callable[[bytes], object] = _nothing
        self.on_ended: Callable[[int | None], object] = _nothing
        self.on_tick: Callable[[float], object] = _nothing
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task | None = None
        self._count = 0  # of processes: the output of a replaced one is ignored
        self._unsent = bytearray()  # written before the process has started
        self._kill_at_start = False

    @property
    def pid(self) -> int | None:
        """Identifier of the process; None if none runs."""
        return None if self._process is None else self._process.pid

    def start(self, command: Sequence[str]) -> None:
        """Start a worker.

        Args:
            command: Program and arguments.
        """
        self._kill_at_start = False
        self._unsent.clear()
        self._process = None
        self._count += 1
        self._task = asyncio.get_running_loop().create_task(self._run(list(command), self._count))

    def write(self, data: bytes) -> None:
        """Write bytes to the worker; they are buffered."""
        if self._process is None:
            self._unsent += data
        elif data:
            with contextlib.suppress(OSError, RuntimeError):  # it has ended; `on_ended` follows
                self._process.stdin.write(data)

    def kill(self) -> None:
        """End the worker by force; `on_ended` follows."""
        self._kill_at_start = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """End the worker and wait for it; no callbacks are called any more."""
        self.on_output = self.on_log = self.on_ended = self.on_tick = _nothing
        self.kill()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=5)

    async def _run(self, command: list[str], number: int) -> None:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        try:
            threads = {"OMP_NUM_THREADS": str(half_of_the_cores())}
            process = await asyncio.create_subprocess_exec(*command, **pipes, env=threads | os.environ)
        except OSError as error:
            self._call(number, "on_log", f"{command[0]}: {error.strerror}\n".encode())
            self._call(number, "on_ended", None)
            return
        self._attach(number, process)
        clock = asyncio.create_task(self._tick(number))
        try:
            pipes = ((process.stdout, "on_output"), (process.stderr, "on_log"))
            await asyncio.gather(*(self._read(number, *pipe) for pipe in pipes))
            code = await process.wait()
        finally:
            clock.cancel()
            process.stdin.close()
            if self._process is process:
                self._process = None
        self._call(number, "on_ended", code)

    def _attach(self, number: int, process: asyncio.subprocess.Process) -> None:
        if number != self._count:  # replaced before it had started
            process.kill()
            return
        self._process = process
        if self._kill_at_start:
            self.kill()
        self.write(bytes(self._unsent))
        self._unsent.clear()

    def _call(self, number: int, callback: str, argument: bytes | int | float | None) -> None:
        if number == self._count:
            try:
                getattr(self, callback)(argument)
            except Exception:  # one failing callback must not stop the reading
                logger.exception("a callback failed for an answer of the worker")

    async def _read(self, number: int, stream: asyncio.StreamReader, callback: str) -> None:
        while data := await stream.read(PIECE):
            self._call(number, callback, data)

    async def _tick(self, number: int) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._call(number, "on_tick", time.monotonic())


def _nothing(*arguments: Any) -> None:
    """No-op callback."""
