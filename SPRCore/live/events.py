"""Events of a conversation with a live worker, and the clocks and limits behind them."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from SPRCore.config import require

Arrays: TypeAlias = Mapping[str, tuple[np.ndarray, np.ndarray | None]]
"""Arrays by name, each with its affine (voxel index to RAS mm) or None."""

MAX_TICK = 2.0
"""Maximum seconds counted between two ticks; the rest was a pause of the client (suspended or busy)."""


class WorkerState(Enum):
    """State of a conversation; the value is shown to the user."""

    OFF = "not started"
    STARTING = "starting"
    READY = "ready for a pair"
    OPENING = "opening the pair"
    OPEN = "ready for settings"
    RESTARTING = "starting again"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrived:
    """A message of the worker, or one that the conversation answers in its place.

    Attributes:
        message: One of `protocol.ANSWERS`. Every request has one answer: `Ready`, `Opened`, `ReplyMessage` (then
            improvements), `Chosen`, `Done`, `Superseded` or `Error`.
        arrays: Copies of the arrays of a `ReplyMessage` or an `UncertaintyMessage`.
    """

    message: Any
    arrays: Arrays


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """Change of state; `words` give the reason, one sentence for the user."""

    state: WorkerState
    words: str


@dataclass(frozen=True)
class StartWorker:
    """Instruction to the transport: start a worker, then call `Conversation.started`."""


@dataclass(frozen=True)
class KillWorker:
    """Instruction to the transport: kill the worker; call `Conversation.ended` after its end."""


Event: TypeAlias = Arrived | WorkerStatus | StartWorker | KillWorker


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds without a sign of life after which a worker counts as hung, by verb.

    The defaults leave room for slow machines: a busy worker gives signs of life in between.
    """

    hello: float = 120.0
    open: float = 180.0
    update: float = 60.0
    commit: float = 120.0
    other: float = 60.0
    close: float = 5.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(value > 0, name, value, "a time above 0")

    def of(self, verb: str) -> float:
        """Return the deadline of a verb."""
        return getattr(self, verb, self.other)


class ActivityClock:
    """Clock that counts only time in which the client was awake, and the last sign of life of the worker on it."""

    def __init__(self) -> None:
        self.time, self._last, self._active = 0.0, None, 0.0

    def tick(self, now: float) -> float:
        """Advance to `now`, seconds of any clock, by at most `MAX_TICK`; return the seconds since the last tick."""
        step = 0.0 if self._last is None else now - self._last
        self._last = now
        self.time += min(max(step, 0.0), MAX_TICK)
        return step

    def mark_active(self) -> None:
        """Record a sign of life."""
        self._active = self.time

    def silence(self, since: float) -> float:
        """Return the seconds without a sign of life since a time of this clock."""
        return self.time - max(since, self._active)


class ErrorOutput:
    """The last lines of a worker's standard error."""

    def __init__(self) -> None:
        self._lines, self._part = deque(maxlen=20), b""

    def feed(self, data: bytes) -> list[str]:
        """Add bytes; return the lines that they complete."""
        *lines, self._part = (self._part[-4096:] + data).split(b"\n")
        texts = [line.decode("utf-8", "replace").rstrip()[:4096] for line in lines]
        self._lines.extend(text for text in texts if text)
        return [text for text in texts if text]

    def reason(self, code: int | None) -> str:
        """Describe how a worker ended, as a clause; the exit code is negative for a signal, None if unknown."""
        last = f": {self._lines[-1][:200]}" if self._lines and code != 0 else ""
        if code is None:
            return f"it ended{last}"
        if code >= 0:
            # Slicer's launcher reports a crash of the worker as exit code 1.
            hint = "; it may have crashed, or the system may have run out of memory" if code == 1 else ""
            return f"it ended with code {code}{hint}{last}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
        return f"it was killed by signal {name}{hint}{last}"
