"""Problems of the files of a cohort, one line each."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from SPRCore.errors import InputError

logger = logging.getLogger("SPRCore")


@dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes:
        source: The file, folder or subject.
        text: The problem, on one line.
    """

    source: str
    text: str

    @classmethod
    def of(cls, source: object, error: InputError) -> Problem:
        """Return the problem for an error about a file, without the name of the file in the text."""
        text = str(error)
        return cls(str(source), text.removeprefix(str(source)).removeprefix(":").strip())

    def __str__(self) -> str:
        return f"{self.source}: {self.text}"


class Problems:
    """Collects problems, and logs each on its own line."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems, and log the new ones."""
        for problem in problems:
            if problem not in self._found:
                self._found[problem] = None
                logger.error("%s", problem)

    def refuse(self, what: str) -> None:
        """Raise an `InputError` with the first problem and their number, if there are problems."""
        if self._found:
            first, count = next(iter(self._found)), len(self._found)
            more = f" (and {count - 1} more, listed above)" if count > 1 else ""
            raise InputError(what, got=f"{first}{more}", remedy="fix or remove the listed files; nothing was trained")
