"""How long a computation still takes, from the part that is done."""

from __future__ import annotations

FIRST_PART, FIRST_SECONDS = 0.05, 2.0
"""Before this part, or this time, an estimate would be wrong by a multiple."""


class TimeLeft:
    """Estimates the time left at the mean speed since the start of a computation."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None
        self._last = 0.0

    def update(self, part: float | None, now: float) -> float | None:
        """Return the seconds left.

        Args:
            part: Part done, 0 to 1; None if unknown or nothing is being computed, which ends the estimate.
            now: Seconds of any clock.

        Returns:
            Seconds; None while too little is known.
        """
        if part is None:
            self._start = None
            return None
        if self._start is None or part < self._last:  # another computation
            self._start = (part, now)
        self._last = part
        first, began = self._start
        done, seconds = part - first, now - began
        if done < FIRST_PART or seconds < FIRST_SECONDS:
            return None
        return (1.0 - part) * seconds / done
