"""The requests of a client that have no answer, and those that a restarted worker gets again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from SPRCore.errors import InputError
from SPRCore.live.arrays import SegmentStore
from SPRCore.live.events import Arrays
from SPRCore.live.protocol import SLOTS, Annotate, Close, Open, Segment, Stiffness, Superseded, Update
from SPRCore.live.schema import Checked
from SPRCore.live.wire import make, to_line

MAX_UPDATES = 4
"""Maximum number of updates sent without an answer; of later ones only the newest is kept, so the pipe never fills."""

MAX_PENDING = 32
"""Maximum number of requests without an answer."""


class PendingRequests:
    """Requests in order, and the segments with their arrays in a store."""

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self._pending: dict[int, tuple[Any, float]] = {}
        self._outgoing: list[bytes] = []
        self._held: tuple[Update, bytes] | None = None
        self._restored: dict[type, Any] = {}
        self._slots: set[int] = set()
        self._last_id = self.last_update = 0

    def send(self, kind: type, now: float, **fields: Any) -> Any:
        """Validate the next request and queue its line, after an update that was held.

        Raises:
            InputError: A field is invalid, or too many requests have no answer.
        """
        request, line = self._made(kind, fields)
        self.send_held(now)
        self._queue(request, line, now)
        return request

    def send_update(self, now: float, **fields: Any) -> tuple[Update, Superseded | None]:
        """Send an update, or hold it while `MAX_UPDATES` have no answer.

        Returns:
            The update, and the answer to an older held update that it replaces.
        """
        update, line = self._made(Update, fields)
        self.last_update = self._last_id = update.id
        if sum(isinstance(request, Update) for request, _ in self._pending.values()) < MAX_UPDATES:
            self.send_held(now)
            self._queue(update, line, now)
            return update, None
        replaced, self._held = self._held, (update, line)
        return update, None if replaced is None else Superseded(id=replaced[0].id, by=update.id)

    def send_first(self, kind: type, now: float, **fields: Any) -> None:
        """Send the first request of a conversation, ahead of those that wait for a worker."""
        request, line = make(kind, {"id": self._last_id + 1} | fields)
        self._pending = {request.id: (request, now), **self._pending}
        self._outgoing.insert(0, line)
        self._last_id = request.id

    def send_held(self, now: float) -> None:
        """Send the update that was held, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self._queue(*held, now)

    def send_unanswered(self, message: Checked) -> None:
        """Queue a message without an answer."""
        self._outgoing.append(to_line(message))

    def extend(self, lines: list[bytes]) -> None:
        """Queue lines that `take` returned."""
        self._outgoing += lines

    def take(self) -> list[bytes]:
        """Return the queued lines and clear the queue."""
        lines, self._outgoing = self._outgoing, []
        return lines

    def pop(self, id_: int) -> Any:
        """Remove an answered request and return it; None if it is not pending."""
        return self._pending.pop(id_, (None, 0.0))[0]

    def clear(self) -> list[int]:
        """Remove all requests; return their numbers."""
        numbers = [*self._pending] + ([] if self._held is None else [self._held[0].id])
        self._pending, self._outgoing, self._held = {}, [], None
        return numbers

    def oldest(self) -> tuple[Any, float] | None:
        """Return the oldest pending request and its time."""
        return next(iter(self._pending.values()), None)

    def newest(self) -> tuple[Any, float] | None:
        """Return the newest pending request and its time."""
        return next(reversed(self._pending.values()), None)

    def keep(self, request: Any) -> None:
        """Keep a request for a restarted worker; a new pair drops the requests of the old one."""
        if isinstance(request, Open):
            self._restored.clear()
        self._restored[type(request)] = request

    @property
    def pair(self) -> Open | None:
        """The request that opened, or will open, the pair."""
        return self._restored.get(Open)

    def forget(self, request: Any) -> None:
        """Drop a kept request that was refused."""
        if self._restored.get(type(request)) is request:
            del self._restored[type(request)]

    def restore(self, now: float) -> None:
        """Send a new worker the pair and the last answered stiffness, annotations and setting.

        Unanswered requests and improvements are not repeated, since they may have ended the last worker.
        """
        for kind in (Open, Stiffness, Annotate, Update):
            request = self._restored.get(kind)
            if request is not None and request.id not in self._pending:
                fields = {"improve": False} if kind is Update else {}
                self._restored[kind] = replace(request, id=self._last_id + 1, **fields)
                self._queue(self._restored[kind], to_line(self._restored[kind]), now)

    def put(self, arrays: Arrays) -> Segment:
        """Write arrays into an unused segment (`InputError` if all are in use, `OutputError` without memory)."""
        free = sorted(set(range(SLOTS)) - self._used_slots())
        if not free:
            raise InputError("arrays", got=f"{SLOTS} that the worker has not read", remedy="wait or cancel")
        self._slots.add(free[0])
        return self._store.put(free[0], arrays)

    def release_slots(self) -> None:
        """Remove the segments that no request uses."""
        for slot in self._slots - self._used_slots():
            self._store.drop(slot)
            self._slots.discard(slot)

    def _made(self, kind: type, fields: dict[str, Any]) -> tuple[Any, bytes]:
        if len(self._pending) >= MAX_PENDING and kind is not Close:
            got = f"{len(self._pending)} without an answer"
            raise InputError("requests", got=got, expected=f"fewer than {MAX_PENDING}", remedy="wait or cancel")
        return make(kind, {"id": self._last_id + 1} | fields)

    def _queue(self, request: Any, line: bytes, now: float) -> None:
        self._last_id = max(self._last_id, request.id)
        self._pending[request.id] = (request, now)
        self._outgoing.append(line)

    def _used_slots(self) -> set[int]:
        requests = [*self._restored.values(), *(request for request, _ in self._pending.values())]
        segments = [getattr(request, "segment", None) for request in requests]
        return {int(segment.slot[1:]) for segment in segments if segment is not None}
