"""What is wrong with the files of a cohort: all of it, one line for each."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from SPRCore.errors import InputError

logger = logging.getLogger("SPRCore")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: The file, folder or subject.
        text: What is wrong with it, on one line.
    """

    place: str
    text: str

    @classmethod
    def of(cls, place: object, error: InputError) -> Problem:
        """Make a problem of an error about a file.

        Args:
            place: The file.
            error: What reading it raised.

        Returns:
            The problem; the file is named once even if the error names it too.
        """
        text = str(error)
        return cls(str(place), text.removeprefix(str(place)).removeprefix(":").strip())

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class Problems:
    """Collects what is wrong; each problem is logged on a line of its own as soon as it is known."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, problems: Iterable[Problem]) -> None:
        """Take note of problems.

        Args:
            problems: What was found; what is known already is not logged again.
        """
        for problem in problems:
            if problem not in self._found:
                self._found[problem] = None
                logger.error("%s", problem)

    def refuse(self, what: str) -> None:
        """Stop if there is a problem.

        Args:
            what: What was checked, for the message.

        Raises:
            InputError: There are problems; it tells the first and their number.
        """
        if self._found:
            first, count = next(iter(self._found)), len(self._found)
            more = f" (and {count - 1} more, listed above)" if count > 1 else ""
            raise InputError(what, got=f"{first}{more}", remedy="mend or remove what is listed; nothing was trained")
