"""Where the requests of a live worker wait: the thread that reads puts them down, the one that computes takes them."""

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
    Sweep,
    Update,
)
from SPRCore.live.schema import Checked

RESULTS = 3
"""Most results that the client has not given back: nothing is computed that nobody looks at."""

MOST_WAITING = 64

_REPLACES: dict[type, tuple[type, ...]] = {
    Update: (Update, Commit),
    Commit: (Commit,),
    Choose: (Choose,),
    Cancel: (Update, Commit, Choose),
    Open: (Update, Commit, Stiffness, Annotate, Sweep, Choose, Open),
    Close: (Update, Commit, Stiffness, Annotate, Sweep, Choose, Open),
}
"""What each kind of request makes void while it waits."""

_STOPS: dict[type, tuple[type, ...]] = {
    Update: (Cancel, Open, Close),  # not a newer one: while a slider moves nothing would ever be shown
    Commit: (Cancel, Open, Close, Update, Commit),
}
"""What makes a computation void for which somebody waits."""

_GIVES_RESULT = (Update, Commit)


@dataclass(frozen=True)
class Job:
    """A request and when it arrived, in seconds of `time.perf_counter`."""

    request: Any
    arrived: float


class Desk:
    """Requests in order; the latest one wins.

    Args:
        say: Sends a message to the client; from any thread.
    """

    def __init__(self, say: Callable[[Checked], None]) -> None:
        self._say = say
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._free = set(range(RESULTS))
        self._over: float | None = None

    def put(self, request: Any) -> None:
        """Put a request down, and answer those that it makes void."""
        with self._changed:
            answers = self._put(request)
            self._changed.notify_all()
        for answer in answers:  # the lock is not held while the client is slow to read
            self._say(answer)

    def _put(self, request: Any) -> list[Checked]:
        if isinstance(request, Release):
            self._free |= {int(request.slot[1])} & set(range(RESULTS))
            return []
        if len(self._waiting) >= MOST_WAITING:
            got, expected = f"more than {MOST_WAITING} waiting", "a client that waits for answers"
            return [Error(id=request.id, code="protocol", what="requests", got=got, expected=expected)]
        void = [job for job in self._waiting if isinstance(job.request, _REPLACES.get(type(request), ()))]
        for job in void:
            self._waiting.remove(job)
        self._waiting.append(Job(request, time.perf_counter()))
        return [Superseded(id=job.request.id, by=request.id) for job in void]

    def hang_up(self) -> None:
        """Take note that nobody is there any more."""
        with self._changed:
            self._over = self._over or time.monotonic()
            self._changed.notify_all()

    def over_for(self) -> float:
        """Return for how many seconds nobody has been there, 0 while somebody is."""
        return 0.0 if self._over is None else time.monotonic() - self._over

    def take(self, *, has_background: bool, rest_s: float = 0.0) -> Job | None:
        """Take the next request, waiting for one if there is nothing else to do.

        Args:
            has_background: Whether there is something to do without a request.
            rest_s: How long to wait for a request before work in the background goes on.

        Returns:
            The request; None if there is none and background work may go on, or if nobody is there any more.
        """
        end = time.monotonic() + rest_s
        with self._changed:
            while self._over is None:
                if self._waiting and (self._free or not isinstance(self._waiting[0].request, _GIVES_RESULT)):
                    return self._waiting.popleft()
                if has_background and self._free and not self._waiting:
                    left = end - time.monotonic()
                    if left <= 0:
                        return None
                    self._changed.wait(left)
                else:
                    self._changed.wait()
        return None

    def place(self) -> int | None:
        """Return the number of a segment that is free, waiting for one; None if nobody is there any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._over is not None)
            return self._free.pop() if self._free else None

    @property
    def has_place(self) -> bool:
        """Whether a segment is free."""
        return bool(self._free)

    def give_back(self, place: int) -> None:
        """Take a segment back that was not sent after all."""
        with self._changed:
            self._free.add(place)

    @property
    def has_requests(self) -> bool:
        """Whether requests wait."""
        return bool(self._waiting)

    @property
    def is_over(self) -> bool:
        """Whether nobody is there any more."""
        return self._over is not None

    def stops(self, request: Any) -> int | None:
        """Tell whether a computation is void, or has to wait.

        Args:
            request: The request that it is for; None for improvements and the map, which everything stops, as it does
                a choice.

        Returns:
            The number of the request that makes it void; 0 if nobody is there any more; None if it is to go on.
        """
        with self._changed:
            if self._over is not None:
                return 0
            in_background = request is None or isinstance(request, Choose)
            kinds = (object,) if in_background else _STOPS.get(type(request), ())
            return next((job.request.id for job in self._waiting if isinstance(job.request, kinds)), None)
