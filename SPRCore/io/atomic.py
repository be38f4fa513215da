"""Atomic writing of files and folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SPRCore.errors import OutputError

_REMEDY = "choose a writable location with free space"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that replaces the file `path` when the block succeeds; missing folders are made.

    The temporary file has the same name in a hidden folder beside `path`, since writers depend on the suffix or
    write a second file (`.mhd` with `.raw`). An error or interrupt leaves no temporary file and an older
    file unchanged. A symbolic link is kept, and its target replaced.

    Raises:
        OutputError: `path` is a folder or a device, or the block raised an OSError (permission, full disk).
    """
    path = Path(path)
    with _staged(path.parent, str(path)) as folder:
        if path.is_dir():
            raise OutputError(str(path), got="a folder", expected="the name of a file")
        _link_target(path)
        yield folder / path.name


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder whose files are moved into the folder `path` when the block succeeds.

    The folder is created with its parents if missing; existing files are kept unless replaced.

    Raises:
        OutputError: `path` is a file, or the block raised an OSError (permission, full disk).
    """
    with _staged(Path(path), str(path)) as folder:
        yield folder


@contextmanager
def _staged(folder: Path, what: str) -> Iterator[Path]:
    partial = ""
    try:
        # As deep as folders exist already: on the same disk as the target, and no parent to take away on failure.
        anchor = next(existing for existing in (folder, *folder.parents) if existing.exists())
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


def _move_files(source: Path, folder: Path) -> None:
    moves = [(file, folder / file.relative_to(source)) for file in sorted(source.rglob("*")) if file.is_file()]
    targets = [_link_target(goal) for _, goal in moves]
    for goal in targets:
        if goal.is_dir():
            raise OutputError(str(goal), got="a folder", expected="a file or nothing at this path")
    for (file, goal), target in zip(moves, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target is goal:
            file.replace(target)
        else:
            _replace_across_disks(file, target)


def _link_target(goal: Path) -> Path:
    """Return the target of a symbolic link, or the path itself."""
    target = Path(os.path.realpath(goal)) if goal.is_symlink() else goal
    got = "a dangling symbolic link" if target.is_symlink() else "a device or pipe"
    if target.is_symlink() or (target.exists() and not target.is_file() and not target.is_dir()):
        raise OutputError(str(goal), got=got, expected="the name of a file")
    if target is not goal and goal.suffix.lower() == ".mhd":
        remedy = "give the path of its target"
        raise OutputError(str(goal), got="a symbolic link to a header", expected="a file of its own", remedy=remedy)
    return target


def _replace_across_disks(file: Path, target: Path) -> None:
    """Replace a file atomically that may be on another disk."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent, ignore_cleanup_errors=True) as beside:
        near = Path(beside) / target.name
        shutil.copyfile(file, near)
        near.replace(target)
