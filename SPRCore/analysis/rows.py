"""Files of results: JSON lines with a header and a line per result, for evaluation by `report`.

A resumed run adds another header. Lines are appended whole, by any number of processes, so that a killed process loses
no other line; an incomplete line is ignored.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from SPRCore.analysis.provenance import machine, versions
from SPRCore.config import check_name, decode, encode, finite
from SPRCore.errors import InputError, OutputError
from SPRCore.metrics import MetricConventions

SCHEMA_VERSION = 1
_NUMBERS = {"allow_nan": False, "ensure_ascii": False}
# Absolute paths are cut to their last part, because folders may identify the user. In a word of a command the name of a
# folder may have blanks.
_START, _PART = r"(?<![\w.~)\]])(?:[A-Za-z]:[\\/]|~?/)", r",'\"=@;:/\\]+[\\/])*"
_IN_MESSAGE = re.compile(rf"{_START}(?:[^\s{_PART}")
_IN_WORD = re.compile(rf"{_START}(?:[^{_PART}")


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Pair and method of a result.

    Attributes:
        pair: Name of the pair, unique in its list.
        subject: Subject of the images; results of one subject are not independent.
        group: Group of the pair in the list, such as a direction or a center; "" for none.
        method: Name of the method in tables.
        model: SHA-256 of the model's tensors, or None without a model.
        setting: Prior, hyperparameters and other settings of the method.
    """

    pair: str
    subject: str
    group: str = ""
    method: str
    model: str | None = None
    setting: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow(_Row):
    """Result of one method on one pair.

    Attributes:
        before: Metrics without registration, by the names of `SPRCore.metrics.evaluate`.
        after: Metrics after registration; empty if it failed.
        maps: Statistics of displacement and weight, by the names of `interpret`.
        seconds: ``register`` for the deformation alone, ``total`` with reading, loading a model and aligning.
        processor_seconds: Processor time of all threads and child processes for the deformation alone.
        peak_memory_mb: Peak memory in MiB of the process, PyTorch included, or of another device, up to the
            deformation; None if the system does not report it.
        failed: Reason of the failure, or None.
        conventions: How labels are warped and over which voxels folding is taken.
        twin: Reference methods of the statistical tests.
        identity: SHA-256 of all inputs of the result: files, method, model, setting, options.
        provenance: Kind of the method, ``grid`` of the fixed image, and of a ``model`` its network, working grid, task
            and training, from its card; empty in results of earlier versions.
    """

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, Any] = field(default_factory=dict)
    processor_seconds: float | None = None
    peak_memory_mb: float | None = None
    failed: str | None = None
    conventions: MetricConventions = field(default_factory=MetricConventions)
    twin: tuple[str, ...] = field(default=(), metadata={"decode": lambda value, _: _references(value)})
    identity: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SurfacePoint(_Row):
    """Metrics of one model at one setting of its hyperparameters on one pair; None where annotations are missing.

    Attributes:
        trained: Largest value of each hyperparameter in the training of the model; empty without one.
        dice: Dice by label; empty without labels.
        weight_mean: Mean weight.
        map_gap: Mean distance of the weight from the most probable one for the same deformation.
        failed: Reason of the failure, or None.
    """

    setting: dict[str, float]
    trained: dict[str, float] = field(default_factory=dict)
    dice: dict[str, Any] = field(default_factory=dict)
    dice_mean: float | None = None
    tre_mm: float | None = None
    lncc: float | None = None
    folding_percent: float | None = None
    ndv_percent: float | None = None
    weight_mean: float | None = None
    map_gap: float | None = None
    failed: str | None = None


KINDS: dict[str, type] = {"benchmark": BenchmarkRow, "surface": SurfacePoint}
"""Types of rows by the `kind` in the header."""

Row = TypeVar("Row", BenchmarkRow, SurfacePoint)


@dataclass(frozen=True, kw_only=True)
class RowsHeader:
    """Provenance of the lines that follow.

    Attributes:
        kind: One of `KINDS`.
        command: The command, without folders.
        machine: Processor, cores, threads, system.
        versions: Versions of Python and the libraries.
        settings: Settings of all lines.
        schema_version: Version of this format.
    """

    kind: str
    command: str = ""
    machine: dict[str, Any] = field(default_factory=machine)
    versions: dict[str, Any] = field(default_factory=versions)
    settings: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class SavedRows(Generic[Row]):
    """Headers and rows of a file of results, in their order."""

    headers: tuple[RowsHeader, ...]
    rows: tuple[Row, ...]


def start_rows(path: Path, header: RowsHeader) -> None:
    """Create a file of results, or append a header to one of the same kind.

    Raises:
        InputError: The file exists with other content.
        OutputError: It cannot be written.
    """
    check_name(header.kind, KINDS, "kind of results")
    if path.exists() and path.stat().st_size:
        read_rows(path, KINDS[header.kind])
    _append(path, encode(header) | {"command": command_without_folders(header.command)})


def append_row(path: Path, row: BenchmarkRow | SurfacePoint) -> None:
    """Append a row to a file of results and flush it to the disk; non-finite numbers become null.

    Raises:
        OutputError: It cannot be written.
    """
    _append(path, encode(row))


def read_rows(path: Path, kind: type[Row]) -> SavedRows[Row]:
    """Read a file of results of the type `BenchmarkRow` or `SurfacePoint`; an incomplete line is ignored.

    Raises:
        InputError: The file is missing, of another kind or version, or a value is invalid.
    """
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="saved results")
    headers, rows = [], []
    for number, values in _lines(path):
        if "schema_version" in values:
            headers.append(_header(values, kind, path))
        elif not headers:
            raise InputError(str(path), got="no header in its first line", expected="saved results")
        else:
            rows.append(decode(kind, values, keys=(f"{path.name}, line {number}",)))
    if not headers:
        raise InputError(str(path), got="nothing that could be read", expected="saved results")
    return SavedRows(headers=tuple(headers), rows=tuple(rows))


def saved_label_names(headers: Iterable[RowsHeader]) -> dict[str, str]:
    """Return the names of labels in the headers of results, those of the last one first in rank."""
    found: dict[str, str] = {}
    for header in headers:
        found |= header.settings.get("label_names", {})
    return found


def label_order(label: str) -> tuple[bool, int, str]:
    """Return the sort key of a label: numbers in their order, then names."""
    return not label.isdigit(), int(label) if label.isdigit() else 0, label


def without_folders(text: str) -> str:
    """Return a message with every absolute path cut to its last part."""
    return _IN_MESSAGE.sub("", text)


def command_without_folders(command: str) -> str:
    """Return a command, quoted as for a shell, with every absolute path cut to its last part."""
    try:
        words = shlex.split(command)
    except ValueError:
        return without_folders(command)
    return shlex.join([_IN_WORD.sub("", word) for word in words])


def _references(value: object) -> tuple[str, ...]:
    """Reference methods of a row: a list, or one name or null as in older files."""
    names = [] if value is None else [value] if isinstance(value, str) else value
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError("twin", got=repr(value)[:64], expected="names of methods")
    return tuple(names)


def _header(values: dict[str, Any], kind: type, path: Path) -> RowsHeader:
    if values["schema_version"] != SCHEMA_VERSION:
        got = f"results of version {values['schema_version']}"
        raise InputError(str(path), got=got, expected=str(SCHEMA_VERSION), remedy="update SPRCore")
    header = decode(RowsHeader, values, keys=(path.name,))
    if KINDS.get(header.kind) is not kind:
        expected = next(name for name, known in KINDS.items() if known is kind)
        raise InputError(str(path), got=f"results of kind {header.kind!r}", expected=repr(expected))
    return header


def _lines(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """Every line that is a complete JSON object, with its number."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            yield number, values


def _append(path: Path, values: dict[str, Any]) -> None:
    # Names of files that are not UTF-8 become escapes of JSON.
    line = (json.dumps(finite(values), **_NUMBERS) + "\n").encode(errors="backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of several processes do not mix.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(handle).st_size
            if size and _last_byte(handle, size) != b"\n":  # incomplete
                line = b"\n" + line
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutputError(str(path), got=error.strerror or str(error), expected="to write it") from error


def _last_byte(handle: int, size: int) -> bytes:
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1)
