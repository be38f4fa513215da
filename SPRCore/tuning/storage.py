"""Where the trials of a study are kept, for any number of processes on any number of machines."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SPRCore.errors import InputError

if TYPE_CHECKING:
    import optuna

_PAUSES_SECONDS = (0.1, 0.3, 0.6, 1.0)
_WAIT_SECONDS = 120  # for a database that another process is writing to
_FILES = {".db": "sqlite", ".sqlite": "sqlite", ".log": "journal", ".journal": "journal"}


def import_optuna() -> Any:
    """Return the module, quieted: progress is told by us.

    Raises:
        InputError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("Optuna", got="not installed", remedy="pip install 'SPRCore[train]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def storage_place(text: str | None, folder: Path) -> str:
    """Return the place of a storage in full, so that every process finds the same.

    Args:
        text: What the user wrote: a database URL, a file *.db (SQLite) or *.log (journal, also for network drives),
            or None for study.db in the folder.
        folder: Folder of the study.

    Returns:
        A URL, or "journal:" and a path.

    Raises:
        InputError: It is none of these, or a file of that name holds something else.
    """
    if text is not None and "://" in text:
        return text
    path = folder / "study.db" if text is None else Path(text).expanduser()
    if path.suffix not in _FILES:
        expected = "a database URL, a file *.db (SQLite) or *.log (journal)"
        raise InputError("--storage", got=repr(text), expected=expected)
    path = path.absolute()
    _check_file(path)
    return f"sqlite:///{path}" if _FILES[path.suffix] == "sqlite" else f"journal:{path}"


def _check_file(path: Path) -> None:
    """Refuse to add trials to a file that is no storage of trials."""
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return
    try:
        is_storage = _is_database(path) if _FILES[path.suffix] == "sqlite" else _is_journal(path)
    except (OSError, ValueError, sqlite3.Error):
        is_storage = False
    if not is_storage:
        got, expected = "a file that holds something else", "a new file, or trials of spr tune"
        raise InputError(f"storage {path}", got=got, expected=expected, remedy="choose another --storage")


def _is_database(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return not tables or "studies" in tables


def _is_journal(path: Path) -> bool:
    with path.open(encoding="utf-8") as stream:
        return "op_code" in json.loads(stream.readline())


def open_storage(place: str) -> optuna.storages.BaseStorage:
    """Open a storage.

    Args:
        place: From `storage_place`.

    Returns:
        The storage.

    Raises:
        InputError: It cannot be opened.
    """
    optuna = import_optuna()
    file = place.removeprefix("journal:").removeprefix("sqlite:///")
    if "://" not in file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        if place.startswith("journal:"):
            from optuna.storages.journal import JournalFileBackend

            return optuna.storages.JournalStorage(JournalFileBackend(place.removeprefix("journal:")))
        return optuna.storages.get_storage(_database(place))


def _database(place: str) -> optuna.storages.RDBStorage:
    """Open a database, or make its tables; processes that do so at once get in each other's way."""
    optuna = import_optuna()
    options = {"connect_args": {"timeout": _WAIT_SECONDS}} if place.startswith("sqlite:") else {}
    for pause in _PAUSES_SECONDS:
        try:
            return optuna.storages.RDBStorage(place, engine_kwargs=options)
        except Exception as error:  # SQLAlchemy, and the driver of whatever database it is
            last = error
            time.sleep(pause)
    reason = str(last).splitlines()[0] if str(last) else type(last).__name__
    raise InputError(f"storage {without_password(place)}", got=without_password(reason)) from last


def without_password(text: str) -> str:
    """Return a text with the user and password of URLs taken out."""
    return re.sub(r"(\w://)[^/@\s]*@", r"\1", text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from warning about parts of it that it calls experimental."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*experimental.*")
        yield
