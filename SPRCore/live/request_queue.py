"""Queue between the thread of a live worker that reads requests and the thread that computes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from SPRCore.live.protocol import (
    Annotate,
    Cancel,
    Choose,
    Close,
    Commit,
    Error,
    Open,
    Release,
    Stiffness,
    Superseded,
    ToggleSweep,
    Update,
)
from SPRCore.live.schema import Checked

MAX_RESULTS = 3
"""Maximum number of results that the client has not released; the worker then waits."""

MAX_WAITING = 64
"""Maximum number of waiting requests."""

_OF_PAIR = (Update, Commit, Stiffness, Annotate, ToggleSweep, Choose, Open)
_SUPERSEDES_WAITING: dict[type, tuple[type, ...]] = {
    Update: (Update, Commit),
    Commit: (Commit,),
    Choose: (Choose,),
    Cancel: (Update, Commit, Choose),
    Open: _OF_PAIR,
    Close: _OF_PAIR,
}
"""Waiting requests that each kind of request supersedes."""

_SUPERSEDED_WHILE_RUNNING: dict[type, tuple[type, ...]] = {
    Update: (Cancel, Open, Close),  # not by an update: a slider that keeps moving would show nothing
    Commit: (Cancel, Open, Close, Update, Commit),
}
"""Requests that supersede a running one."""

_NEEDS_SLOT = (Update, Commit)


@dataclass(frozen=True)
class QueuedRequest:
    """A request and its arrival time by `time.perf_counter`."""

    request: Any
    arrived: float


class RequestQueue:
    """Requests in order; newer ones supersede older ones.

    Args:
        send: Sends a message to the client, from any thread.
    """

    def __init__(self, send: Callable[[Checked], None]) -> None:
        self._send = send
        self._changed = threading.Condition()
        self._waiting: deque[QueuedRequest] = deque()
        self._free = set(range(MAX_RESULTS))
        self._disconnected: float | None = None

    def put(self, request: Any) -> None:
        """Add a request, and answer those that it supersedes."""
        with self._changed:
            answers = self._put(request)
            self._changed.notify_all()
        for answer in answers:  # without the lock, since the client may read slowly
            self._send(answer)

    def _put(self, request: Any) -> list[Checked]:
        if isinstance(request, Release):
            self._free |= {int(request.slot[1])} & set(range(MAX_RESULTS))
            return []
        if len(self._waiting) >= MAX_WAITING:
            got, expected = f"more than {MAX_WAITING} waiting", "a client that waits for answers"
            return [Error(id=request.id, code="protocol", what="requests", got=got, expected=expected)]
        kinds = _SUPERSEDES_WAITING.get(type(request), ())
        superseded = [item for item in self._waiting if isinstance(item.request, kinds)]
        for item in superseded:
            self._waiting.remove(item)
        self._waiting.append(QueuedRequest(request, time.perf_counter()))
        return [Superseded(id=item.request.id, by=request.id) for item in superseded]

    def disconnect(self) -> None:
        """Record that the client disconnected."""
        with self._changed:
            self._disconnected = self._disconnected or time.monotonic()
            self._changed.notify_all()

    def seconds_disconnected(self) -> float:
        """Return the seconds since the client disconnected; 0 while it is connected."""
        return 0.0 if self._disconnected is None else time.monotonic() - self._disconnected

    def take(self, *, has_background: bool, rest_s: float = 0.0) -> QueuedRequest | None:
        """Remove and return the next request; None for background work, or if the client disconnected.

        Args:
            has_background: Whether there is background work; otherwise wait for a request.
            rest_s: Seconds to wait for a request before background work.
        """
        end = time.monotonic() + rest_s
        with self._changed:
            while self._disconnected is None:
                if self._waiting and (self._free or not isinstance(self._waiting[0].request, _NEEDS_SLOT)):
                    return self._waiting.popleft()
                if has_background and self._free and not self._waiting:
                    left = end - time.monotonic()
                    if left <= 0:
                        return None
                    self._changed.wait(left)
                else:
                    self._changed.wait()
        return None

    def acquire_slot(self) -> int | None:
        """Return the number of a free segment, waiting for one; None if the client disconnected."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._disconnected is not None)
            return self._free.pop() if self._free else None

    def return_slot(self, slot: int) -> None:
        """Return a segment that was not sent."""
        with self._changed:
            self._free.add(slot)

    @property
    def has_free_slot(self) -> bool:
        """Whether a segment is free."""
        return bool(self._free)

    @property
    def has_requests(self) -> bool:
        """Whether requests are waiting."""
        return bool(self._waiting)

    @property
    def is_disconnected(self) -> bool:
        """Whether the client disconnected."""
        return self._disconnected is not None

    def superseded_by(self, request: Any) -> int | None:
        """Return the number of the request that stops a computation; 0 if the client disconnected, None to continue.

        `request` is that of the computation, None for improvements and the sweep. Those and a choice are stopped by
        every request.
        """
        with self._changed:
            if self._disconnected is not None:
                return 0
            in_background = request is None or isinstance(request, Choose)
            kinds = (object,) if in_background else _SUPERSEDED_WHILE_RUNNING.get(type(request), ())
            return next((item.request.id for item in self._waiting if isinstance(item.request, kinds)), None)
