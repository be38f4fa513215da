"""Saved results, the one contract between what measures and what reports: a line of JSON per result.

A file begins with a header (what wrote it, on which machine, with which versions) and has a line per result after it. A
run that goes on adds a header of its own. Lines are added whole, by any number of processes, so that nothing is lost
when one of them is killed; a line that was left half written is passed over.
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

SCHEMA_VERSION = 1
_NUMBERS = {"allow_nan": False, "ensure_ascii": False}
# Of a command or a message only the last part of an absolute path is kept: folders tell who did it and where. In a word
# of a command a folder may have blanks in its name.
_START, _PART = r"(?<![\w.~)\]])(?:[A-Za-z]:[\\/]|~?/)", r",'\"=@;:/\\]+[\\/])*"
_IN_MESSAGE = re.compile(rf"{_START}(?:[^\s{_PART}")
_IN_WORD = re.compile(rf"{_START}(?:[^{_PART}")


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow:
    """One method on one pair.

    Attributes:
        pair: Name of the pair, unique in its list.
        subject: Whose images these are; results of one subject are not independent of each other.
        group: What the list calls the pair's group, such as a direction or a center; "" for none.
        method: Name of the method, as tables show it.
        model: SHA-256 of the model's tensors, or None without a model.
        setting: Prior, hyperparameters and whatever else was chosen for the method.
        before: Metrics without registration, as `SPRCore.metrics.evaluate` names them.
        after: Metrics after registration, likewise; empty where it failed.
        maps: What displacement and weight tell by structure and beside each other, as `interpret` names it.
        seconds: ``register`` for the deformation alone, ``total`` with reading, loading a model and aligning.
        processor_seconds: Time of all threads and child processes on the processor for the deformation alone.
        peak_memory_mb: Largest memory in MiB of the process until the deformation was found, PyTorch included; that
            of the device where it is not the processor; None where the system does not tell.
        failed: What went wrong, in words, or None.
        twin: The method that this one is to be tested against, or None.
        identity: Digest of all that decides the result: files, method, model, setting, options.
    """

    pair: str
    subject: str
    group: str = ""
    method: str
    model: str | None = None
    setting: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, Any] = field(default_factory=dict)
    processor_seconds: float | None = None
    peak_memory_mb: float | None = None
    failed: str | None = None
    twin: str | None = None
    identity: str = ""


@dataclass(frozen=True, kw_only=True)
class SurfacePoint:
    """One model at one setting of its hyperparameters on one pair.

    Attributes:
        pair: Name of the pair, unique in its list.
        subject: Whose images these are.
        group: What the list calls the pair's group; "" for none.
        method: Name of the model or method.
        model: SHA-256 of the model's tensors, or None without a model.
        setting: Hyperparameters by name: ``alpha`` and ``lambda_max``, ``sigma`` and ``lambda_mean``, ``tv`` and
            ``lambda_max``, or ``lambda``.
        dice: Dice by label; empty without labels.
        dice_mean: Mean of them, or None.
        tre_mm: Mean landmark error in mm, or None without landmarks.
        lncc: Local correlation after registration.
        folding_percent: Voxels with a Jacobian determinant at or below 0.
        ndv_percent: Non-diffeomorphic volume.
        weight_mean: Mean weight, or None.
        map_gap: Mean distance of the weight from the most probable one for the same deformation, or None.
        failed: What went wrong, in words, or None.
    """

    pair: str
    subject: str
    group: str = ""
    method: str
    model: str | None = None
    setting: dict[str, float]
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
"""What a line can be, by the name that the header gives it."""

Row = TypeVar("Row", BenchmarkRow, SurfacePoint)


@dataclass(frozen=True, kw_only=True)
class RowsHeader:
    """How the lines after it were made.

    Attributes:
        kind: One of `KINDS`.
        command: The command, without folders.
        machine: Processor, cores, threads, system.
        versions: Versions of Python and the libraries.
        settings: What holds for all lines.
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
    """What a file of results holds: its headers and rows in the order of writing."""

    headers: tuple[RowsHeader, ...]
    rows: tuple[Row, ...]


def start_rows(path: Path, header: RowsHeader) -> None:
    """Begin a file of results, or go on with one of the same kind.

    Args:
        path: The file; made with its folders if missing.
        header: How the rows to come are made.

    Raises:
        InputError: The file is there and holds something else.
        OutputError: It cannot be written.
    """
    check_name(header.kind, KINDS, "kind of results")
    if path.exists() and path.stat().st_size:
        read_rows(path, KINDS[header.kind])
    _append(path, encode(header) | {"command": command_without_folders(header.command)})


def append_row(path: Path, row: BenchmarkRow | SurfacePoint) -> None:
    """Add a row to a file of results; it is on the disk when this returns.

    Args:
        path: The file, begun by `start_rows`.
        row: The row; numbers that are not finite become null.

    Raises:
        OutputError: It cannot be written.
    """
    _append(path, encode(row))


def read_rows(path: Path, kind: type[Row]) -> SavedRows[Row]:
    """Read a file of results.

    Args:
        path: The file.
        kind: `BenchmarkRow` or `SurfacePoint`.

    Returns:
        Headers and rows; a line that a killed process left half written is passed over.

    Raises:
        InputError: There is no such file, it is of another kind or version, or a value is wrong.
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
    """Every line that is a whole JSON object, with its number."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            yield number, values


def _append(path: Path, values: dict[str, Any]) -> None:
    # Names of files that are no UTF-8 become escapes of JSON.
    line = (json.dumps(finite(values), **_NUMBERS) + "\n").encode(errors="backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of several processes do not mix.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(handle).st_size
            if size and _last_byte(handle, size) != b"\n":  # left half written
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
