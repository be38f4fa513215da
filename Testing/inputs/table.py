"""The table of bad and odd inputs: what a row is, and what its check may use.

A module `rows_*.py` beside this file holds `ROWS`, a list of `Row`; nothing else is to be registered.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from SPRCore.errors import SPRError

HERE = Path(__file__).resolve().parent
TRACES = ("\n", "0x", "ERROR", ".cxx", ".hxx", "Traceback", "<class", "object at", "/tmp/.", ".partial-")
"""What no message holds: more than one line, and what only a programmer can read."""


@dataclass(frozen=True)
class Row:
    """One input and what becomes of it.

    Args:
        kind: The section of the page.
        what: The input, in the user's words.
        happens: What the product does, in Markdown: one phrase, such as "refused: the file is cut short".
        check: Makes the input in the empty folder that it is given and asserts exactly that outcome.
    """

    kind: str
    what: str
    happens: str
    check: Callable[[Path], None]


def all_rows() -> list[Row]:
    """Rows of all modules `rows_*.py`, in the order of their names."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    names = sorted(path.stem for path in HERE.glob("rows_*.py"))
    return [row for name in names for row in importlib.import_module(name).ROWS]


def refused(call: Callable[[], object], *said: str, error: type[SPRError] = SPRError) -> str:
    """Assert that a call raises one of the product's errors in one plain line that holds each of `said`."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert not [part for part in TRACES if part in message], message
    missing = [part for part in said if part not in message]
    assert not missing, f"{missing} not in: {message}"
    return message


@contextmanager
def warned(*said: str) -> Iterator[list[str]]:
    """Assert that the block logs one warning for each of `said`, in this order, and no other; yields the lines."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("SPRCore")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
    assert len(lines) == len(said), lines
    for line, part in zip(lines, said, strict=True):
        assert part in line, f"{part!r} not in: {line}"
        assert not [trace for trace in TRACES if trace in line], line
