"""What a registration needs of the process of its worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Transport(Protocol):
    """Owner of the process; calls `feed`, `feed_log`, `ended` and `tick` of the session."""

    def start(self, command: Sequence[str]) -> None:
        """Start the worker; `RegistrationSession.ended` is called with None if that fails."""
        ...

    def write(self, data: bytes) -> None:
        """Write to its standard input; of no effect once it has ended."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...
