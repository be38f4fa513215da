"""What `spr` says while it works: stage words with a bar on a terminal, plain lines elsewhere, and tables."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from SPRCore.cli.streams import drop_output


@runtime_checkable
class ReportStage(Protocol):
    """Called with a stage in words and how much of it is done, 0 to 1 (None where nobody can tell)."""

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        """Tell the user."""
        ...


class _Lasting(Console):
    """A console that goes on when nobody reads it any more: results are in files, and the work is not given up."""

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True
        drop_output()


def console() -> Console:
    """Return a console on the standard output of this moment."""
    return _Lasting(highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Write one line."""
    console().print(line, markup=False)


@contextmanager
def stages() -> Iterator[ReportStage]:
    """Show stages of work: a bar on a terminal, one line for each stage elsewhere.

    Yields:
        What to call as the work goes on. Log lines of the package appear between the stages.
    """
    screen = console()
    with logging_to(screen):
        if not screen.is_terminal:
            yield _Lines(screen)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=screen, transient=True) as progress:
            yield _Bar(progress)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, numbers to the right."""
    result = Table(title=title, title_justify="left")
    for place, name in enumerate(header):
        result.add_column(name, justify="right" if place else "left", no_wrap=place > 0)
    for row in rows:
        result.add_row(*(Text(cell) for cell in row))  # plain text: [mm] is no markup
    _Lasting(highlight=False, width=None if console().is_terminal else 110).print(result)


def has_screen() -> bool:
    """Whether a window can be opened here."""
    return sys.platform in ("win32", "darwin") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ


class _Lines:
    def __init__(self, screen: Console) -> None:
        self._screen, self._last = screen, ""

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        if stage != self._last:
            self._screen.print(stage, markup=False)
            self._last = stage


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        total = None if fraction is None else 1.0
        self._progress.update(self._task, description=stage, total=total, completed=fraction or 0.0)


@contextmanager
def logging_to(screen: Console) -> Iterator[None]:
    """Show log lines of the package while a block runs.

    Args:
        screen: Where to show them.
    """
    logger = logging.getLogger("SPRCore")
    handler = _LogLines(screen)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _LogLines(logging.Handler):
    """One line for each message, however long: a path that is broken over lines can be neither found nor clicked."""

    def __init__(self, screen: Console) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
        self._screen.print(Text(record.getMessage(), style=style), soft_wrap=True)
