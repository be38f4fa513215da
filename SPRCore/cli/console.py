"""Console output of `spr`: progress as a bar on a terminal and as lines elsewhere, log lines and tables."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from SPRCore.cli.streams import drop_output

if TYPE_CHECKING:
    from SPRCore.api import ProgressCallback


class _PipeSafeConsole(Console):
    """A console that stops printing when its output pipe is closed; the work continues."""

    def on_broken_pipe(self) -> None:
        """Discard all further output."""
        self.quiet = True
        drop_output()


def console() -> Console:
    """Return a console on the current standard output."""
    return _PipeSafeConsole(highlight=False, soft_wrap=True)


def print_line(line: str) -> None:
    """Print one line."""
    console().print(line, markup=False)


@contextmanager
def progress_display() -> Iterator[ProgressCallback]:
    """Show progress and the log lines of the package.

    Yields:
        Progress callback: a bar on a terminal, one line for each stage elsewhere.
    """
    screen = console()
    with logging_to(screen):
        if not screen.is_terminal:
            yield _Lines(screen)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=screen, transient=True) as progress:
            yield _Bar(progress)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: first column left-aligned, the others right-aligned."""
    result = Table(title=title, title_justify="left")
    for column, name in enumerate(header):
        result.add_column(name, justify="right" if column else "left", no_wrap=column > 0)
    for row in rows:
        result.add_row(*(Text(cell) for cell in row))  # plain text: [mm] is not markup
    _PipeSafeConsole(highlight=False, width=None if console().is_terminal else 110).print(result)


def has_screen() -> bool:
    """Whether a window can be opened here."""
    return sys.platform in ("win32", "darwin") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ


class _Lines:
    """Prints a line for each new stage."""

    def __init__(self, screen: Console) -> None:
        self._screen, self._last = screen, ""

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        if stage != self._last:
            self._screen.print(stage, markup=False)
            self._last = stage


class _Bar:
    """Shows the stage and a progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        total = None if fraction is None else 1.0
        self._progress.update(self._task, description=stage, total=total, completed=fraction or 0.0)


@contextmanager
def logging_to(screen: Console) -> Iterator[None]:
    """Print log lines of the package on a console while a block runs."""
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
    """Prints each message as one line, so that paths are not broken."""

    def __init__(self, screen: Console) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
        self._screen.print(Text(record.getMessage(), style=style), soft_wrap=True)
