"""Arrays shared between a live worker and its client, in memory-mapped files.

A session has a temporary folder. All segment names follow from its name and content, so that either side can remove all
segments, and a later session those of two killed processes. The names of a worker's segments end in its process number,
because a killed worker may end after the start of the next one.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError, OutputError
from SPRCore.live import segments
from SPRCore.live.protocol import SLOTS, ArrayLayout, Segment

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

PREFIX = "spr-live-"
"""Prefix of the names of session folders."""

LOCK = "alive"
"""File in the folder that the client keeps locked during its life."""

_ALIGNMENT = 64
_NAME = re.compile(rf"{PREFIX}[A-Za-z0-9_]{{4,16}}")


class SegmentStore:
    """Writes the segments of one side of a session and reads those of the other.

    Args:
        folder: Session folder.
        side: Side whose segments are written: "c" for the client, "w" for the worker.
        number: Process number of a worker, which is recorded in the folder; 0 for the client.

    Raises:
        InputError: The folder is not a session folder.
    """

    def __init__(self, folder: Path, side: str, number: int = 0) -> None:
        if not _NAME.fullmatch(folder.name) or not folder.is_dir():
            expected = f"a folder that exists, named {PREFIX}..."
            raise InputError("folder of the session", got=ascii(str(folder))[:200], expected=expected)
        self.folder, self._side, self._number = folder, side, number
        self._open: dict[str, tuple[str, mmap.mmap]] = {}
        if number:
            with contextlib.suppress(OSError):  # without space for it there is none for segments either
                (folder / f"{side}-{number}").touch(mode=0o600)

    def put(self, index: int, arrays: Mapping[str, tuple[np.ndarray, np.ndarray | None]]) -> Segment:
        """Write arrays into a segment, replacing its content.

        Args:
            index: Number of the segment, below `SLOTS`.
            arrays: Arrays by name, each with its affine or None.

        Raises:
            OutputError: There is no space, neither in memory nor among the temporary files.
        """
        slot, layouts, size = _slot(self._side, index, self._number), {}, 0
        for name, (array, affine) in arrays.items():
            layouts[name] = ArrayLayout(
                offset=size,
                shape=array.shape,
                dtype=array.dtype.name,
                affine=None if affine is None else tuple(np.asarray(affine, dtype=np.float64).ravel().tolist()),
            )
            size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        kind, memory = self._allocated(slot, max(size, _ALIGNMENT))
        for name, (array, _) in arrays.items():
            _view(memory, layouts[name])[...] = array
        return Segment(kind=kind, slot=slot, size=len(memory), arrays=layouts)

    def get(self, segment: Segment) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Copy the arrays of a segment of the other side, by name, each with its affine, shape (4, 4), or None.

        Raises:
            InputError: The segment is missing or smaller than its arrays.
        """
        what = f"segment {segment.slot}"
        try:
            memory = segments.attach(self._path(segment.kind, segment.slot))
        except OSError as error:
            raise InputError(what, got=error.strerror or str(error), expected="memory of the other side") from None
        with memory:
            for name, layout in segment.arrays.items():
                end = layout.offset + math.prod(layout.shape) * np.dtype(layout.dtype).itemsize
                if end > len(memory):
                    raise InputError(what, got=f"{name} up to byte {end}", expected=f"{len(memory)} bytes at most")
            return {name: (_view(memory, layout).copy(), _affine(layout)) for name, layout in segment.arrays.items()}

    def drop(self, index: int) -> None:
        """Remove a segment of this side."""
        self._drop(_slot(self._side, index, self._number))

    def sweep(self, side: str) -> None:
        """Remove all segments of a side: those of this process, or all of the other side after its end."""
        self._sweep(side, {self._number} if side == self._side else self._numbers(side))

    def remove(self) -> None:
        """Remove the segments of both sides and the folder."""
        for side in "cw":
            self._sweep(side, self._numbers(side))
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_dead(self) -> bool:
        """Whether the client of the session has ended; False if unknown."""
        lock = _lock(self.folder)
        _unlock(lock)
        return lock is not None

    def remove_if_dead(self, patience: float = 1.0) -> None:
        """Remove everything if the client of the session has ended or ends within `patience` seconds."""
        end = time.monotonic() + patience
        lock = _lock(self.folder)
        while lock is None and (self.folder / LOCK).exists() and time.monotonic() < end:
            time.sleep(0.05)
            lock = _lock(self.folder)
        if lock is not None:
            self.remove()
            _unlock(lock)
            shutil.rmtree(self.folder, ignore_errors=True)  # Windows removes no open file

    def _sweep(self, side: str, numbers: set[int]) -> None:
        for number in numbers:
            for index in range(SLOTS):
                self._drop(_slot(side, index, number))

    def _numbers(self, side: str) -> set[int]:
        """Return the process numbers recorded for a side, and 0."""
        ends = {path.name[2:] for path in self.folder.glob(f"{side}-*")}
        return {0, *(int(end) for end in ends if end.isascii() and end.isdigit())}

    def _path(self, kind: str, slot: str) -> Path:
        return segments.MEMORY / f"{self.folder.name}-{slot}" if kind == "memory" else self.folder / slot

    def _allocated(self, slot: str, size: int) -> tuple[str, mmap.mmap]:
        """Return the kind and memory of a segment of at least a size: in memory, or if impossible in the folder."""
        if slot in self._open:
            kind, memory = self._open[slot]
            if size <= len(memory) <= 4 * size:  # new pages cost more than writing to them
                return kind, memory
            self._drop(slot)
        if not self.folder.is_dir():  # removed with all segments that it names
            raise OutputError("shared memory", got="a session that has ended", expected="its folder")
        for kind in ("memory", "file"):
            try:
                self._open[slot] = kind, segments.create(self._path(kind, slot), size)
                return self._open[slot]
            except OSError as error:
                got = error.strerror or str(error)
        remedy = "close other programs or free some space for temporary files"
        raise OutputError("shared memory", got=got, expected=f"room for {size / 2**20:.0f} MiB", remedy=remedy)

    def _drop(self, slot: str) -> None:
        _, memory = self._open.pop(slot, ("", None))
        if memory is not None:
            with contextlib.suppress(BufferError):  # another thread still reads it while the process ends
                memory.close()
        for kind in ("memory", "file"):
            segments.remove(self._path(kind, slot))


class SessionFolder:
    """The folder of a session, removed with all its segments by `close`.

    Folders of sessions whose processes were killed are removed first.
    """

    def __init__(self) -> None:
        _sweep_dead_sessions()
        self.folder, self._lock = _locked_folder()
        self.store = SegmentStore(self.folder, "c")

    def close(self) -> None:
        """Remove all segments and the folder; may be called again."""
        lock, self._lock = self._lock, None
        _unlock(lock)  # Windows removes no open file
        self.store.remove()


def _sweep_dead_sessions() -> None:
    """Remove the folders and segments of sessions whose client has ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        is_session = _NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
        if is_session and _is_ours(folder):
            with contextlib.suppress(InputError):  # another process has removed it
                SegmentStore(folder, "c").remove_if_dead(patience=0.0)


def _locked_folder() -> tuple[Path, int | None]:
    """Create and lock a folder; on file systems without locks (some network disks) nothing is swept."""
    try:
        for _ in range(5):  # another process may sweep it before it is locked
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            (folder / LOCK).touch(mode=0o600)
            lock = _lock(folder)
            if (folder / LOCK).exists():
                return folder, lock
            _unlock(lock)
    except OSError as error:
        raise _no_folder(error.strerror or str(error)) from error
    raise _no_folder("folders that vanish")


def _no_folder(got: str) -> OutputError:
    expected, remedy = f"a folder in {tempfile.gettempdir()}", "free some space for temporary files"
    return OutputError("session", got=got, expected=expected, remedy=remedy)


def _lock(folder: Path) -> int | None:
    """Lock the file of a session; None if its client is alive, or if unknown."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return None
    try:
        if os.name == "nt":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _is_ours(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid()
    return False


def _slot(side: str, index: int, number: int) -> str:
    return f"{side}{index}" + (f"-{number}" if number else "")


def _view(memory: mmap.mmap, layout: ArrayLayout) -> np.ndarray:
    count = math.prod(layout.shape)
    return np.frombuffer(memory, dtype=layout.dtype, count=count, offset=layout.offset).reshape(layout.shape)


def _affine(layout: ArrayLayout) -> np.ndarray | None:
    return None if layout.affine is None else np.array(layout.affine, dtype=np.float64).reshape(4, 4)
