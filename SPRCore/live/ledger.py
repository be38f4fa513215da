"""The requests of a conversation: which are on their way, which wait for an answer, and what a new worker must hear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from SPRCore.errors import InputError
from SPRCore.live.arrays import Store
from SPRCore.live.events import Arrays
from SPRCore.live.protocol import SLOTS, Annotate, Open, Segment, Stiffness, Update
from SPRCore.live.schema import Checked
from SPRCore.live.wire import to_line

IN_FLIGHT = 4
"""Most updates on the way to the worker; beyond it only the newest is kept, so that a stopped worker fills no pipe."""

MOST_ASKED = 32
"""Most requests without an answer."""


class Ledger:
    """Requests in order, and the segments that their arrays lie in.

    Args:
        store: Where segments are made.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: dict[int, tuple[Checked, float]] = {}
        self._outgoing: list[Checked] = []
        self._held: Update | None = None
        self._lasting: dict[type, Checked] = {}
        self._places: set[int] = set()
        self._last_id = self.last_update = 0

    @property
    def next_id(self) -> int:
        """The number of the next request."""
        return self._last_id + 1

    def make(self, kind: type, **fields: Any) -> Any:
        """Make the next request; it is checked, and nothing else happens yet.

        Raises:
            InputError: A field is wrong, or too many requests have no answer.
        """
        if len(self._asked) >= MOST_ASKED:
            got = f"{len(self._asked)} without an answer"
            raise InputError("requests", got=got, expected=f"fewer than {MOST_ASKED}", remedy="wait or cancel")
        try:
            request = kind(id=self.next_id, **fields)
        except TypeError as error:
            raise InputError(kind.verb, got=str(error), expected=", ".join(kind.__dataclass_fields__)) from None
        to_line(request)
        return request

    def send(self, request: Any, now: float) -> int:
        """Put a request on its way, after an update that was held back; return its number."""
        self.send_held(now)
        return self._dispatch(request, now)

    def greet(self, hello: Checked, now: float) -> None:
        """Put the first request of a conversation on its way, before those that wait for a worker."""
        self._asked = {hello.id: (hello, now), **self._asked}
        self._outgoing.insert(0, hello)
        self._last_id = hello.id

    def send_update(self, request: Update, now: float) -> int | None:
        """Put an update on its way, or hold it back while too many are.

        Returns:
            The number of an update that it replaces, if there is one.
        """
        self.last_update = request.id
        if sum(isinstance(asked, Update) for asked, _ in self._asked.values()) < IN_FLIGHT:
            self.send(request, now)
            return None
        replaced, self._held, self._last_id = self._held, request, request.id
        return None if replaced is None else replaced.id

    def send_held(self, now: float) -> None:
        """Put the update on its way that was held back, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self._dispatch(held, now)

    def mention(self, message: Checked) -> None:
        """Put a message on its way that has no answer."""
        self._outgoing.append(message)

    def take(self) -> list[Checked]:
        """Return what is to be sent, once."""
        messages, self._outgoing = self._outgoing, []
        return messages

    def answer(self, id_: int) -> Any:
        """Strike out a request that has been answered; return it, None if nobody asked that."""
        return self._asked.pop(id_, (None, 0.0))[0]

    def lose(self) -> list[int]:
        """Strike out all requests; return their numbers."""
        lost = [*self._asked] + ([] if self._held is None else [self._held.id])
        self._asked, self._outgoing, self._held = {}, [], None
        return lost

    def oldest(self) -> tuple[Any, float] | None:
        """Return the request that has waited longest, and when it was asked."""
        return next(iter(self._asked.values()), None)

    def newest(self) -> tuple[Any, float] | None:
        """Return the request that was asked last, and when."""
        return next(reversed(self._asked.values()), None)

    def remember(self, request: Checked) -> None:
        """Keep a request for a worker that has to be started again; a new pair makes the earlier ones void."""
        if isinstance(request, Open):
            self._lasting.clear()
        self._lasting[type(request)] = request

    @property
    def pair(self) -> Checked | None:
        """The request that opened the pair, or is to open it; None for none."""
        return self._lasting.get(Open)

    def forget(self, request: Checked) -> None:
        """Keep a request no longer that was refused."""
        if self._lasting.get(type(request)) is request:
            del self._lasting[type(request)]

    def repeat(self, now: float) -> None:
        """Send a new worker the pair and what was answered last: stiffness, labels and landmarks, setting.

        What was not answered may be what the lost one died of, and so may improvements.
        """
        for kind in (Open, Stiffness, Annotate, Update):
            request = self._lasting.get(kind)
            if request is not None and request.id not in self._asked:
                fields = {"improve": False} if kind is Update else {}
                self._lasting[kind] = replace(request, id=self.next_id, **fields)
                self._dispatch(self._lasting[kind], now)

    def put(self, arrays: Arrays) -> Segment:
        """Write arrays into a segment that no request needs.

        Raises:
            InputError: There are too many that the worker has not read.
            OutputError: There is no memory.
        """
        free = sorted(set(range(SLOTS)) - self._used())
        if not free:
            raise InputError("arrays", got=f"{SLOTS} that the worker has not read", remedy="wait or cancel")
        self._places.add(free[0])
        return self._store.put(free[0], arrays)

    def tidy(self) -> None:
        """Give segments back that no request needs."""
        for place in self._places - self._used():
            self._store.drop(place)
            self._places.discard(place)

    def _dispatch(self, request: Any, now: float) -> int:
        self._last_id = max(self._last_id, request.id)
        self._asked[request.id] = (request, now)
        self._outgoing.append(request)
        return request.id

    def _used(self) -> set[int]:
        requests = [*self._lasting.values(), *(asked for asked, _ in self._asked.values())]
        segments = [getattr(request, "segment", None) for request in requests]
        return {int(segment.slot[1:]) for segment in segments if segment is not None}
