"""The worker as a `QProcess` in Slicer's event loop; nothing here blocks."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import qt

TICK_MS = 250
"""Interval of `on_tick`."""

SCRIPT = Path(__file__).parents[1] / "worker_main.py"


def worker_command() -> list[str]:
    """Return the command of the worker, with the Python of Slicer."""
    return [shutil.which("PythonSlicer") or sys.executable, str(SCRIPT)]


class QProcessTransport:
    """Starts and ends one worker after the other, and moves bytes.

    The callbacks are called from the event loop, never from within `start` or `write`.

    Attributes:
        on_output: Called with bytes of the worker's standard output.
        on_log: Called with bytes of its standard error.
        on_ended: Called with its exit code: minus the signal after a crash, None if it did not start.
        on_tick: Called with the seconds of a clock, every `TICK_MS` while a worker runs.
    """

    def __init__(self) -> None:
        self.on_output: Callable[[bytes], object] = _nothing
        self.on_log: Callable[[bytes], object] = _nothing
        self.on_ended: Callable[[int | None], object] = _nothing
        self.on_tick: Callable[[float], object] = _nothing
        self._process = self._timer = None

    def start(self, command: Sequence[str]) -> None:
        """Start a worker.

        Args:
            command: Program and arguments.
        """
        process = self._process = qt.QProcess()
        # The methods ignore a process that was replaced.
        process.connect("readyReadStandardOutput()", lambda: self._read(process))
        process.connect("readyReadStandardError()", lambda: self._read_log(process))
        process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: self._finished(process))
        process.connect("errorOccurred(QProcess::ProcessError)", lambda error: self._failed(process, error))
        process.start(command[0], list(command[1:]))
        if self._timer is None:
            self._timer = qt.QTimer()
            self._timer.setInterval(TICK_MS)
            self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def write(self, data: bytes) -> None:
        """Write bytes to the worker; Qt buffers them."""
        if data and self._process is not None:
            self._process.write(data)

    def kill(self) -> None:
        """End the worker by force; `on_ended` follows."""
        if self._process is not None:
            self._process.closeWriteChannel()  # ends the worker behind a launcher, which alone is killed
            self._process.kill()

    def stop(self) -> None:
        """End the worker, and call no callbacks any more."""
        process, self._process = self._process, None
        timer, self._timer = self._timer, None
        self.on_output = self.on_log = self.on_ended = self.on_tick = _nothing
        if timer is not None:
            timer.stop()
            timer.deleteLater()  # its connection holds this object
        if process is not None:
            process.closeWriteChannel()
            process.kill()
            process.waitForFinished(1000)

    def _tick(self) -> None:
        self.on_tick(time.monotonic())

    def _read(self, process: qt.QProcess) -> None:
        if process is self._process:
            self.on_output(process.readAllStandardOutput().data())

    def _read_log(self, process: qt.QProcess) -> None:
        if process is self._process:
            self.on_log(process.readAllStandardError().data())

    def _finished(self, process: qt.QProcess) -> None:
        if process is self._process:
            self._read_log(process)
            self._read(process)
        if process is self._process:  # reading may have started another
            crashed = process.exitStatus() == qt.QProcess.CrashExit
            self._end(-process.exitCode() if crashed else process.exitCode())
        process.deleteLater()  # its connections hold it

    def _failed(self, process: qt.QProcess, error: qt.QProcess.ProcessError) -> None:
        if process is self._process and error == qt.QProcess.FailedToStart:
            self.on_log(f"{process.errorString()}\n".encode())
            self._end(None)
            process.deleteLater()

    def _end(self, code: int | None) -> None:
        self._process = None
        self._timer.stop()
        self.on_ended(code)


def _nothing(*arguments: object) -> None:
    """No-op callback."""
