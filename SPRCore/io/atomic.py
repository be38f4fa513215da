"""Writing that happens as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SPRCore.errors import OutputError

_REMEDY = "choose a place that can be written and has space left"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, which takes the name `path` once the block is through.

    The temporary file has the same name in a hidden folder beside `path`, so that writers which look at the suffix, or
    which write a second file next to the first (`.mhd` with `.raw`), do as they would. Whatever ends the block early,
    Ctrl-C included, leaves nothing behind and an older file of that name untouched. A symbolic link stays, and the file
    to which it leads is replaced.

    Args:
        path: The file to write; missing parent folders are made.

    Yields:
        The path to write to.

    Raises:
        OutputError: `path` is a folder or a device, or the system refused to write (permission, full disk); every
            OSError of the block counts as such.
    """
    path = Path(path)
    with _staged(path.parent, str(path)) as folder:
        if path.is_dir():
            raise OutputError(str(path), got="a folder", expected="the name of a file")
        _place_of(path)
        yield folder / path.name


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder whose files are moved into the folder `path` once the block is through.

    Args:
        path: The folder to fill; made with its parents if missing. Files it already holds stay, unless one of the same
            name was written.

    Yields:
        The folder to write to, empty.

    Raises:
        OutputError: `path` is a file, or the system refused to write (permission, full disk); every OSError of the
            block counts as such.
    """
    with _staged(Path(path), str(path)) as folder:
        yield folder


@contextmanager
def _staged(folder: Path, what: str) -> Iterator[Path]:
    partial = ""
    try:
        # As deep as folders exist already: on the same disk as the target, and no parent to take away on failure.
        anchor = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=anchor, ignore_cleanup_errors=True) as partial:
            yield Path(partial)
            _move_files(Path(partial), folder)
    except OutputError as error:
        if not partial or partial not in str(error):
            raise
        words = {name: text.replace(partial, str(folder)) for name, text in vars(error).items()}
        raise OutputError(words.pop("what"), **words) from error
    except OSError as error:
        raise OutputError(what, got=error.strerror or str(error), expected="to write it", remedy=_REMEDY) from error


def _move_files(source: Path, target: Path) -> None:
    moves = [(file, target / file.relative_to(source)) for file in sorted(source.rglob("*")) if file.is_file()]
    places = [_place_of(goal) for _, goal in moves]
    for goal in places:
        if goal.is_dir():
            raise OutputError(str(goal), got="a folder", expected="a file or nothing at this place")
    for (file, goal), place in zip(moves, places, strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        if place is goal:
            file.replace(place)
        else:
            _replace_from_afar(file, place)


def _place_of(goal: Path) -> Path:
    """Return where a file is written: where a symbolic link leads, otherwise at its own name."""
    place = Path(os.path.realpath(goal)) if goal.is_symlink() else goal
    got = "a symbolic link that leads nowhere" if place.is_symlink() else "a device or pipe"
    if place.is_symlink() or (place.exists() and not place.is_file() and not place.is_dir()):
        raise OutputError(str(goal), got=got, expected="the name of a file")
    if place is not goal and goal.suffix.lower() == ".mhd":
        remedy = "give the name of the file to which it leads"
        raise OutputError(str(goal), got="a symbolic link to a header", expected="a file of its own", remedy=remedy)
    return place


def _replace_from_afar(file: Path, place: Path) -> None:
    """Replace a file that may lie on another disk, as a whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=place.parent, ignore_cleanup_errors=True) as beside:
        near = Path(beside) / place.name
        shutil.copyfile(file, near)
        near.replace(place)
