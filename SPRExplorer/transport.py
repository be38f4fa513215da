"""The worker as a process of the server's event loop: asyncio moves the bytes and tells the time; nothing waits."""

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
    """Return how many threads worker and views get each, so that a slider that moves both does not make them wait."""
    return max(1, (os.cpu_count() or 2) // 2)


class AsyncTransport:
    """Starts and ends one worker after the other, and moves bytes; to be used within an event loop.

    Whoever uses it sets the callbacks; they are called from the event loop, never from within `start` or `write`.

    Attributes:
        on_output: Takes bytes of the worker's standard output.
        on_log: Takes bytes of its standard error.
        on_ended: Takes its exit code once it has ended: minus the signal after a crash, None if it did not start.
        on_tick: Takes the seconds of a clock, while there is a worker.
    """

    def __init__(self) -> None:
        self.on_output: Callable[[bytes], object] = _nothing
        self.on_log: Callable[[bytes], object] = _nothing
        self.on_ended: Callable[[int | None], object] = _nothing
        self.on_tick: Callable[[float], object] = _nothing
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task | None = None
        self._count = 0  # of processes: one that was given up may go on talking, and is not listened to
        self._unsent = bytearray()  # what is written before the process is there
        self._is_doomed = False

    @property
    def pid(self) -> int | None:
        """Number of the process that runs; None if there is none."""
        return None if self._process is None else self._process.pid

    def start(self, command: Sequence[str]) -> None:
        """Start a worker.

        Args:
            command: Program and arguments.
        """
        self._is_doomed = False
        self._unsent.clear()
        self._process = None
        self._count += 1
        self._life = asyncio.get_running_loop().create_task(self._live(list(command), self._count))

    def write(self, data: bytes) -> None:
        """Give bytes to the worker; they are kept until it reads them."""
        if self._process is None:
            self._unsent += data
        elif data:
            with contextlib.suppress(OSError, RuntimeError):  # it has ended; `on_ended` tells so
                self._process.stdin.write(data)

    def kill(self) -> None:
        """End the worker by force; `on_ended` follows."""
        self._is_doomed = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """End the worker and wait for it; nothing is told any more."""
        self.on_output = self.on_log = self.on_ended = self.on_tick = _nothing
        self.kill()
        if self._life is not None:
            await asyncio.wait([self._life], timeout=5)

    async def _live(self, command: list[str], number: int) -> None:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        try:
            threads = {"OMP_NUM_THREADS": str(half_of_the_cores())}
            process = await asyncio.create_subprocess_exec(*command, **pipes, env=threads | os.environ)
        except OSError as error:
            self._tell(number, "on_log", f"{command[0]}: {error.strerror}\n".encode())
            self._tell(number, "on_ended", None)
            return
        self._take_over(number, process)
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
        self._tell(number, "on_ended", code)

    def _take_over(self, number: int, process: asyncio.subprocess.Process) -> None:
        if number != self._count:  # given up before it was there
            process.kill()
            return
        self._process = process
        if self._is_doomed:
            self.kill()
        self.write(bytes(self._unsent))
        self._unsent.clear()

    def _tell(self, number: int, callback: str, argument: bytes | int | float | None) -> None:
        if number == self._count:
            try:
                getattr(self, callback)(argument)
            except Exception:  # a fault of one answer must not cut the worker off
                logger.exception("an answer of the worker could not be taken in")

    async def _read(self, number: int, stream: asyncio.StreamReader, callback: str) -> None:
        while data := await stream.read(PIECE):
            self._tell(number, callback, data)

    async def _tick(self, number: int) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._tell(number, "on_tick", time.monotonic())


def _nothing(*arguments: Any) -> None:
    """Take note of nothing."""
