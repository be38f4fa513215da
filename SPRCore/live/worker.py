"""The process that computes for a live client: `python -m SPRCore.live.worker`, see docs/reference/live-protocol.md.

One thread computes, one reads what is asked, and one ends the process when its client is gone, so that none is ever
left behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time

from SPRCore.live.desk import Desk
from SPRCore.live.protocol import Error, Log
from SPRCore.live.schema import Checked
from SPRCore.live.service import Backend, Service
from SPRCore.live.wire import LineReader, Unreadable, read_request, to_line

GRACE = 5.0
"""Seconds that a computation may go on after the client has gone, before the process ends by force."""

_PIECE = 65536


def main(backend: Backend | None = None) -> int:
    """Serve one client over standard input and output.

    Args:
        backend: Opens sessions; None for the real ones.

    Returns:
        The exit code: 0 when the client closed or has gone.
    """
    # Read when PyTorch is loaded. Its threads spin while they wait for each other by default, and the client wants the
    # cores for its pictures.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    incoming, outgoing = _private_pipes()
    voice = _Voice(outgoing)
    desk = voice.desk = Desk(voice.say)
    service = Service(desk, voice.say, _Late(backend), os.getpid())
    _log_to(voice)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for the client
    signal.signal(signal.SIGTERM, lambda number, frame: desk.hang_up())
    for target, arguments in ((_read, (incoming, desk, voice)), (_watch, (os.getppid(), desk, service))):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    try:
        service.run()
    finally:
        _leave(service, desk)
    return 0


class _Late:
    """A backend that is loaded by the first request, so that whoever speaks another version learns it at once."""

    def __init__(self, backend: Backend | None) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        if self._backend is None:
            from SPRCore.live.backend import TorchBackend

            self._backend = TorchBackend()
        return getattr(self._backend, name)


class _Voice:
    """Writes whole lines from any thread; a pipe that is closed means that nobody is there any more."""

    def __init__(self, descriptor: int) -> None:
        self.desk: Desk | None = None
        self._descriptor, self._lock = descriptor, threading.Lock()

    def say(self, message: Checked) -> None:
        data = memoryview(to_line(message))
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.desk.hang_up()


def _private_pipes() -> tuple[int, int]:
    """Keep the pipes for us alone: what a library prints goes to standard error, and what it reads is empty."""
    incoming, outgoing = os.dup(0), os.dup(1)
    if os.name == "nt":
        import msvcrt

        for descriptor in (incoming, outgoing):
            msvcrt.setmode(descriptor, os.O_BINARY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing


def _read(incoming: int, desk: Desk, voice: _Voice) -> None:
    reader = LineReader()
    with contextlib.suppress(OSError):
        while data := os.read(incoming, _PIECE):
            for line in reader.feed(data):
                try:
                    desk.put(read_request(line))
                except Unreadable as error:
                    parts = {name: getattr(error, name)[:4096] for name in ("what", "got", "expected", "remedy")}
                    voice.say(Error(id=error.id, code="protocol", **parts))
    desk.hang_up()


def _watch(parent: int, desk: Desk, service: Service) -> None:
    """End the process when its client is gone, whatever the other threads are stuck in."""
    has_parent = True
    while has_parent and desk.over_for() < GRACE:
        time.sleep(0.5)
        # Without it, the client was killed, or the launcher in between was, which is all that a client can kill.
        has_parent = os.getppid() == parent
        # The pipe may be held open by another child of the client.
        if not has_parent or (service.store is not None and service.store.is_dead):
            desk.hang_up()
    try:
        _leave(service, desk)
    finally:
        os._exit(1)


def _leave(service: Service, desk: Desk) -> None:
    """Remove our segments; if the client has died, its own and the folder too."""
    if service.store is not None:
        service.store.sweep("w")
        if desk.is_over:
            service.store.remove_if_dead()


def _log_to(voice: _Voice) -> None:
    logger = logging.getLogger("SPRCore")
    logger.setLevel(logging.INFO)
    logger.addHandler(_LogHandler(voice))
    faults = logging.StreamHandler(sys.stderr)  # with their tracebacks; their last lines are shown if we end
    faults.setLevel(logging.ERROR)
    logger.addHandler(faults)


class _LogHandler(logging.Handler):
    """Sends lines of the log to the client."""

    def __init__(self, voice: _Voice) -> None:
        super().__init__(logging.INFO)
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        self._voice.say(Log(level=level if level in ("info", "warning") else "error", text=record.getMessage()[:4096]))


if __name__ == "__main__":
    sys.exit(main())
