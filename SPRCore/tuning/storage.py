"""Storage of the trials of a study, shared by processes and machines."""

from __future__ import annotations

import contextlib
import json
import math
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
_MAX_RETRIES = 2
"""Repetitions of a trial whose process ended."""
_FILES = {".db": "sqlite", ".sqlite": "sqlite", ".log": "journal", ".journal": "journal"}


def import_optuna() -> Any:
    """Return the module with its log messages off (`InputError` if it is not installed)."""
    try:
        import optuna
    except ImportError:
        raise InputError("Optuna", got="not installed", remedy="pip install 'SPRCore[train]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def storage_url(text: str | None, folder: Path) -> str:
    """Return the absolute URL of a storage, or "journal:" and a path.

    Args:
        text: A database URL, a file *.db (SQLite) or *.log (journal, also for network drives), or None for study.db in
            the folder.
        folder: Folder of the study.

    Raises:
        InputError: It is none of these, or the file has other content.
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
    """Refuse to add trials to another kind of file."""
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return
    try:
        is_storage = _is_database(path) if _FILES[path.suffix] == "sqlite" else _is_journal(path)
    except (OSError, ValueError, sqlite3.Error):
        is_storage = False
    if not is_storage:
        got, expected = "a file with other content", "a new file, or trials of spr tune"
        raise InputError(f"storage {path}", got=got, expected=expected, remedy="choose another --storage")


def _is_database(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return not tables or "studies" in tables


def _is_journal(path: Path) -> bool:
    with path.open(encoding="utf-8") as stream:
        return "op_code" in json.loads(stream.readline())


def has_heartbeat(url: str) -> bool:
    """Return whether a storage records heartbeats, by which trials of processes that ended expire."""
    return not url.startswith("journal:")


def open_storage(url: str, patience_seconds: float) -> optuna.storages.BaseStorage:
    """Open the storage of a `storage_url` (`InputError` if impossible).

    A trial expires and is repeated after `patience_seconds` without a heartbeat.
    """
    optuna = import_optuna()
    file = url.removeprefix("journal:").removeprefix("sqlite:///")
    if "://" not in file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        if not has_heartbeat(url):
            from optuna.storages.journal import JournalFileBackend

            return optuna.storages.JournalStorage(JournalFileBackend(url.removeprefix("journal:")))
        return _database(url, patience_seconds)


def _database(url: str, patience_seconds: float) -> optuna.storages.RDBStorage:
    """Open a database, or create its tables; retried, since processes that do so at the same time conflict."""
    optuna = import_optuna()
    options: dict[str, Any] = {
        "heartbeat_interval": max(1, round(patience_seconds / 5)),
        "grace_period": max(3, math.ceil(patience_seconds)),  # clocks of databases count whole seconds
        "heartbeat_stale_trial_callback": optuna.storages.RetryHeartbeatStaleTrialCallback(_MAX_RETRIES),
    }
    if url.startswith("sqlite:"):
        options["engine_kwargs"] = {"connect_args": {"timeout": _WAIT_SECONDS}}
    for pause in _PAUSES_SECONDS:
        try:
            return optuna.storages.RDBStorage(url, **options)
        except Exception as error:  # of SQLAlchemy or any database driver
            last = error
            time.sleep(pause)
    reason = str(last).splitlines()[0] if str(last) else type(last).__name__
    raise InputError(f"storage {without_password(url)}", got=without_password(reason)) from last


def without_password(text: str) -> str:
    """Return a text without the user and password of URLs."""
    return re.sub(r"(\w://)[^/@\s]*@", r"\1", text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress Optuna's warnings about experimental features."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=import_optuna().exceptions.ExperimentalWarning)
        yield
