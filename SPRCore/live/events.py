"""What a client learns from its conversation with a live worker, and what it has to do for it."""

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

LONGEST_TICK = 2.0
"""Seconds between two ticks that count as such; the rest was a pause (a closed lid, a busy program)."""


class State(Enum):
    """Where a conversation stands; the value is a word for the user."""

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
    """Something from the worker, or said in its place after it has ended.

    Attributes:
        message: One of `protocol.ANSWERS`. Every request is answered once by `Ready`, `Opened`, `Result` (improvements
            follow), `Done`, `Superseded` or `Error`.
        arrays: Copies of the arrays of a `Result`.
    """

    message: Any
    arrays: Arrays


@dataclass(frozen=True, kw_only=True)
class Status:
    """The conversation has come to a state; `words` say why, in one sentence for the user."""

    state: State
    words: str


@dataclass(frozen=True)
class Start:
    """To whoever carries the bytes: start a worker, then call `Conversation.started`."""


@dataclass(frozen=True)
class Kill:
    """To whoever carries the bytes: kill the worker; call `Conversation.ended` once it has ended."""


Event: TypeAlias = Arrived | Status | Start | Kill


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds without a sign of life after which a worker counts as hung, by what it was asked for.

    The defaults are far beyond what a slow machine needs: a worker that is at work gives signs of life in between.
    """

    hello: float = 120.0
    open: float = 180.0
    update: float = 60.0
    commit: float = 120.0
    other: float = 60.0
    close: float = 5.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value in vars(self).items():
            require(value > 0, name, value, "a time above 0")

    def of(self, verb: str) -> float:
        """Return the deadline of a verb."""
        return getattr(self, verb, self.other)


class Watch:
    """A clock on which only the time counts that the client itself was awake, and when the worker was last heard."""

    def __init__(self) -> None:
        self.time, self._last, self._heard = 0.0, None, 0.0

    def tick(self, now: float) -> float:
        """Move on.

        Args:
            now: Seconds of any clock; jumps count for nothing, whichever way.

        Returns:
            Seconds since the last tick on that clock.
        """
        step = 0.0 if self._last is None else now - self._last
        self._last = now
        self.time += min(max(step, 0.0), LONGEST_TICK)
        return step

    def hear(self) -> None:
        """Take note of a sign of life."""
        self._heard = self.time

    def silent_since(self, asked: float) -> float:
        """Return how long nothing was heard since a moment of this clock, in seconds."""
        return self.time - max(asked, self._heard)


class LastWords:
    """The last lines that a worker wrote to its standard error."""

    def __init__(self) -> None:
        self._lines, self._part = deque(maxlen=20), b""

    def feed(self, data: bytes) -> list[str]:
        """Take bytes as they come; return the lines that are complete."""
        *lines, self._part = (self._part[-4096:] + data).split(b"\n")
        texts = [line.decode("utf-8", "replace").rstrip()[:4096] for line in lines]
        self._lines.extend(text for text in texts if text)
        return [text for text in texts if text]

    def ending(self, code: int | None) -> str:
        """Say in words how a worker ended.

        Args:
            code: Its exit code; minus the number of the signal that killed it; None if unknown.

        Returns:
            A part of a sentence.
        """
        last = f": {self._lines[-1][:200]}" if self._lines and code != 0 else ""
        if code is None:
            return f"it ended{last}"
        if code >= 0:
            # Slicer starts the worker through a launcher, which says so little of a crash.
            hint = "; it may have crashed, or the system may have run out of memory" if code == 1 else ""
            return f"it ended with code {code}{hint}{last}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
        return f"it was killed by signal {name}{hint}{last}"
