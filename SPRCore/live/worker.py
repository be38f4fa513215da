"""The worker process of a live client: `python -m SPRCore.live.worker`, see docs/reference/live-protocol.md.

One thread computes, one reads requests, and one ends the process after its client.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time

from SPRCore.live.protocol import Error, Log
from SPRCore.live.request_queue import RequestQueue
from SPRCore.live.schema import Checked
from SPRCore.live.service import Backend, Service
from SPRCore.live.wire import LineReader, Unreadable, read_request, to_line

_GRACE = 5.0
"""Seconds that a computation may continue after the client disconnected before the process is ended."""

_PIECE = 65536


def main(backend: Backend | None = None) -> int:
    """Serve one client over standard input and output; return 0 after it closed or disconnected.

    `backend` opens sessions; None for `SPRCore.live.backend.TorchBackend`.
    """
    # PyTorch reads this when it is loaded. By default its idle threads spin and take the cores from the client's views.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    incoming, outgoing = _private_pipes()
    writer = _MessageWriter(outgoing)
    queue = writer.queue = RequestQueue(writer.send)
    service = Service(queue, writer.send, _LazyBackend(backend), os.getpid())
    _log_to(writer)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the client
    signal.signal(signal.SIGTERM, lambda number, frame: queue.disconnect())
    for target, arguments in ((_read, (incoming, queue, writer)), (_watch, (os.getppid(), queue, service))):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    try:
        service.run()
    finally:
        _clean_up(service, queue)
    return 0


class _LazyBackend:
    """Loads the backend on first use, so that a wrong protocol version is reported at once."""

    def __init__(self, backend: Backend | None) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        if self._backend is None:
            from SPRCore.live.backend import TorchBackend

            self._backend = TorchBackend()
        return getattr(self._backend, name)


class _MessageWriter:
    """Writes whole lines from any thread; a closed pipe means that the client disconnected."""

    def __init__(self, descriptor: int) -> None:
        self.queue: RequestQueue | None = None
        self._descriptor, self._lock = descriptor, threading.Lock()

    def send(self, message: Checked) -> None:
        """Write a message."""
        data = memoryview(to_line(message))
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.queue.disconnect()


def _private_pipes() -> tuple[int, int]:
    """Reserve standard input and output for messages: libraries print to standard error and read nothing."""
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


def _read(incoming: int, queue: RequestQueue, writer: _MessageWriter) -> None:
    reader = LineReader()
    with contextlib.suppress(OSError):
        while data := os.read(incoming, _PIECE):
            for line in reader.feed(data):
                try:
                    queue.put(read_request(line))
                except Unreadable as error:
                    parts = {name: getattr(error, name)[:4096] for name in ("what", "got", "expected", "remedy")}
                    writer.send(Error(id=error.id, code="protocol", **parts))
    queue.disconnect()


def _watch(parent: int, queue: RequestQueue, service: Service) -> None:
    """End the process after its client, even if the other threads do not respond."""
    has_parent = True
    while has_parent and queue.seconds_disconnected() < _GRACE:
        time.sleep(0.5)
        # False after the end of the client, or of a launcher in between, which is all that Slicer can kill.
        has_parent = os.getppid() == parent
        # The lock is checked too, since another child of the client may hold the pipe open.
        if not has_parent or (service.store is not None and service.store.is_dead):
            queue.disconnect()
    try:
        _clean_up(service, queue)
    finally:
        os._exit(1)


def _clean_up(service: Service, queue: RequestQueue) -> None:
    """Remove the segments of this worker; after the end of the client also those of the client and the folder."""
    if service.store is not None:
        service.store.sweep("w")
        if queue.is_disconnected:
            service.store.remove_if_dead()


def _log_to(writer: _MessageWriter) -> None:
    logger = logging.getLogger("SPRCore")
    logger.setLevel(logging.INFO)
    logger.addHandler(_LogHandler(writer))
    errors = logging.StreamHandler(sys.stderr)  # with tracebacks; the client shows the last lines if the worker ends
    errors.setLevel(logging.ERROR)
    logger.addHandler(errors)


class _LogHandler(logging.Handler):
    """Sends log lines to the client."""

    def __init__(self, writer: _MessageWriter) -> None:
        super().__init__(logging.INFO)
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        self._writer.send(
            Log(level=level if level in ("info", "warning") else "error", text=record.getMessage()[:4096])
        )


if __name__ == "__main__":
    sys.exit(main())
