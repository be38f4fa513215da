"""Protection of inputs and of files of the user from being overwritten.

Every folder of results has a `report.json` whose key `files` lists the files written there with their SHA-256. A file
that is not listed, or was changed since, belongs to the user: it is neither replaced nor removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from SPRCore.errors import InputError, OutputError
from SPRCore.io.atomic import atomic_directory
from SPRCore.io.paths import on_disk

REPORT = "report.json"
"""Name of the file that lists what was written into its folder."""

_MEBIBYTE = 2**20
_HEADER_BYTES = 2**16  # of a header that names a file of values; those of images end far before
_DATA_FILE = re.compile(r"^\s*(?:ElementDataFile\s*=|data ?file\s*:)\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_VALUES = (".raw", ".zraw")  # of a `.mhd` that ITK writes
_ANALYZE = (".hdr", ".img", ".hdr.gz", ".img.gz")


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path | None], remedy: str = "choose another --out") -> None:
    """Refuse to overwrite an input, whatever the two paths are called.

    The file of values beside a header (`.mhd`, `.nhdr`, `.hdr`) belongs to it, and all files in a folder that is
    read as an image (a DICOM series) belong to that image.

    Args:
        outputs: Files to be written; they need not exist.
        inputs: Files and folders that are read; None for absent ones.
        remedy: Advice for the user.

    Raises:
        InputError: An output is an input, also by another spelling, a link, or a folder of one.
    """
    read = [path for path in inputs if path is not None]
    parts = [(path, part) for path in read for part in _parts(path)]
    for output in outputs:
        for written in (output, *_partners(output)):
            for path, part in parts:
                if _is_same(written, part) or (part.is_dir() and _is_same(written.parent, part)):
                    where = "in the folder of" if part.is_dir() else "written over"
                    got, expected = f"an output {where} the input {path}", "results apart from the inputs"
                    raise InputError(str(output), got=got, expected=expected, remedy=remedy)


def check_own(folder: Path, names: Iterable[str]) -> None:
    """Refuse to replace files in a folder of results that this program did not write.

    Raises:
        InputError: One of them exists, and the report of the folder does not list it with this content.
        OutputError: One of them is a folder.
    """
    listed = read_record(folder)
    for name in names:
        if (folder / name).is_dir():
            raise OutputError(str(folder / name), got="a folder", expected="a file or nothing at this path")
        if os.path.lexists(folder / name) and not _is_own(folder, name, listed):
            changed = "changed since this program wrote it" if name in listed else "not written by this program"
            expected, remedy = "a folder without files of this name", "choose another folder"
            raise InputError(str(folder / name), got=f"a file that was {changed}", expected=expected, remedy=remedy)


def check_replaceable(path: Path, is_own: Callable[[Path], bool], remedy: str = "choose another --out") -> None:
    """Refuse to replace a single file that this program did not write, unless it is empty.

    Args:
        path: The file to be written, with the file of values beside it if it is a header.
        is_own: Whether an existing file was written by the same command; an exception means no.
        remedy: Advice for the user.

    Raises:
        InputError: There is such a file.
    """
    there = [file for file in (path, *_partners(path)) if file.is_file() and file.stat().st_size]
    try:
        own = path in there and is_own(path)
    except Exception:  # any reader, on a file that can be anything
        own = False
    if there and not own:
        got = "a file that is there already and was not written by this command"
        raise InputError(str(there[0]), got=got, expected="a new name", remedy=f"{remedy}, or remove the file first")


@contextmanager
def result_folder(
    folder: Path, names: Iterable[str], inputs: Iterable[Path | None], *, complete: bool = False
) -> Iterator[Path]:
    """Yield an empty temporary folder whose files move into a folder of results, with a report that lists them.

    A `report.json` in it gets the key `files`; without one the older report stays.

    Args:
        folder: The folder of results; made with its parents if missing.
        names: Names, relative to the folder, of all files that may be written, as far as known beforehand.
        inputs: Files and folders that are read; None for absent ones.
        complete: Whether the block writes all of `names`: remaining files of an earlier run are removed.

    Raises:
        InputError: An output is an input or a file that this program did not write; checked before the block and, for
            files created since, after it.
        OutputError: As `atomic_directory`.
    """
    names, inputs = list(names), list(inputs)
    check_outputs([folder / name for name in (*names, REPORT)], inputs)
    check_own(folder, [*names, REPORT])
    with atomic_directory(folder) as partial:
        yield partial
        written = {_name(path, partial) for path in partial.rglob("*") if path.is_file()}
        check_outputs([folder / name for name in written], inputs)
        check_own(folder, written)
        listed = read_record(folder)
        stale = {name for name in set(names) - written if complete and _is_own(folder, name, listed)}
        kept = {name: digest for name, digest in listed.items() if name not in written | stale}
        record(partial, kept=kept, before=folder / REPORT)
    for name in stale - {REPORT}:
        if not (folder / name).is_symlink():
            (folder / name).unlink(missing_ok=True)


@contextmanager
def removed_if_refused(folder: Path, names: Iterable[str], has_results: Callable[[], bool]) -> Iterator[None]:
    """Remove a folder created by a block that then raised `InputError`, unless it has results.

    Args:
        folder: The folder; unchanged if it existed before.
        names: Files that the block creates before the first result.
        has_results: Whether there are results.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        yield
    except InputError:
        if made and not has_results():
            for name in names:
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # the first folder that holds something else, and all above it, stay
                for parent in made:
                    parent.rmdir()
        raise


def record(folder: Path, *, kept: dict[str, str] | None = None, before: Path | None = None) -> None:
    """List the files of a folder, and those `kept`, in its report; if missing, it starts as a copy of `before`."""
    own = _read(folder / REPORT)
    report, known = own or (_read(before) if before is not None else {}), own.get("files", {})
    files = {_name(path, folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop(REPORT, None)
    listed = {name: known.get(name) or sha256(path) for name, path in files.items()}
    content = report | {"files": dict(sorted({**(kept or {}), **listed}.items()))}
    (folder / REPORT).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that the report of a folder lists, by their names; none without a report."""
    files = _read(folder / REPORT).get("files")
    return {name: digest for name, digest in files.items() if digest} if isinstance(files, dict) else {}


def sha256(path: str | Path) -> str | None:
    """Return the SHA-256 of a file, whichever frame of it is named, in hexadecimal digits; None for a DICOM folder."""
    path = on_disk(path)
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(_MEBIBYTE), b""):
            digest.update(block)
    return digest.hexdigest()


def _is_own(folder: Path, name: str, listed: dict[str, str]) -> bool:
    """Whether a file is unchanged since its folder listed it."""
    path = folder / name
    if path.name == REPORT:
        return isinstance(_read(path).get("files"), dict)
    digest = sha256(path)
    return digest is not None and digest in (listed.get(name), read_record(path.parent).get(path.name))


def _read(path: Path) -> dict[str, Any]:
    """A report as plain values; empty if it cannot be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one existing file, by the file system's rules for case and links."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _partners(path: Path) -> list[Path]:
    """Other files of an image in two files, by their suffix."""
    name = path.name.lower()
    for ending, others in (*((end, _ANALYZE) for end in _ANALYZE), (".mhd", _VALUES)):
        if name.endswith(ending):
            stem = path.name[: -len(ending)]
            return [path.with_name(stem + other) for other in others if other != ending]
    return []


def _parts(path: Path) -> list[Path]:
    """The files of an input: itself without a frame number, and its file of values or its header."""
    path = on_disk(path)
    found = [path, *_partners(path)]
    if path.suffix.lower() in (".mhd", ".nhdr") and path.is_file():
        with path.open("rb") as stream:
            header = stream.read(_HEADER_BYTES).decode("utf-8", errors="replace")
        named = _DATA_FILE.search(header)
        if named and named[1].upper() == "LIST":
            found += [path.parent / line.strip() for line in header[named.end() :].splitlines() if line.strip()]
        elif named and named[1].upper() != "LOCAL":
            found.append(path.parent / named[1])
    return found
