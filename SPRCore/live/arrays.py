"""Arrays that travel between a live worker and its client without passing through the pipe.

A session has a folder among the temporary files. The names of all segments follow from it and from what lies in it, so
that whichever side is left over can remove them all, and the next session those of two that were killed together. The
names of a worker's segments end in its number, for a worker that was given up may end later than the next one starts.
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
from SPRCore.live.protocol import SLOTS, ArrayPlace, Segment
from SPRCore.live.segments import (
    attach_file,
    attach_memory,
    create_file,
    create_memory,
    unlink_file,
    unlink_memory,
)

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

PREFIX = "spr-live-"
"""What the folder of every session starts with."""

LOCK = "alive"
"""File in the folder that the client keeps locked as long as it lives."""

_ALIGNMENT = 64
_NAME = re.compile(rf"{PREFIX}[A-Za-z0-9_]{{4,16}}")


class Store:
    """The segments that one side of a session makes, and reads of the other.

    Args:
        folder: The session's folder.
        side: "c" for the client, "w" for the worker: whose segments this store makes.
        number: Number of the process, if there may be several of this side; it is noted in the folder. 0 for none.

    Raises:
        InputError: The folder is none of a session.
    """

    def __init__(self, folder: Path, side: str, number: int = 0) -> None:
        if not _NAME.fullmatch(folder.name) or not folder.is_dir():
            expected = f"a folder that exists, named {PREFIX}..."
            raise InputError("folder of the session", got=ascii(str(folder))[:200], expected=expected)
        self.folder, self._side, self._number = folder, side, number
        self._open: dict[str, tuple[str, mmap.mmap]] = {}
        if number:
            with contextlib.suppress(OSError):  # without room for it nothing can be shared either
                (folder / f"{side}-{number}").touch(mode=0o600)

    def put(self, place: int, arrays: Mapping[str, tuple[np.ndarray, np.ndarray | None]]) -> Segment:
        """Write arrays into a segment, which is made or made larger if need be.

        Args:
            place: Number of the segment, below `SLOTS`; what it held is overwritten.
            arrays: Arrays by name, each with its affine or None.

        Returns:
            What to tell the other side.

        Raises:
            OutputError: There is no room, neither in shared memory nor for a temporary file.
        """
        slot, places, size = _slot(self._side, place, self._number), {}, 0
        for name, (array, affine) in arrays.items():
            places[name] = ArrayPlace(
                offset=size,
                shape=array.shape,
                dtype=array.dtype.name,
                affine=None if affine is None else tuple(np.asarray(affine, dtype=np.float64).ravel().tolist()),
            )
            size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        kind, memory = self._room(slot, max(size, _ALIGNMENT))
        for name, (array, _) in arrays.items():
            _view(memory, places[name])[...] = array
        return Segment(kind=kind, slot=slot, size=len(memory), arrays=places)

    def get(self, segment: Segment) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Copy the arrays out of a segment of the other side.

        Args:
            segment: What the other side told.

        Returns:
            Arrays by name, each with its affine, shape (4, 4), or None.

        Raises:
            InputError: It is gone, or it is not what was told.
        """
        what = f"segment {segment.slot}"
        try:
            in_memory = segment.kind == "memory"
            memory = attach_memory(self._name(segment.slot)) if in_memory else attach_file(self.folder / segment.slot)
        except OSError as error:
            raise InputError(what, got=error.strerror or str(error), expected="memory of the other side") from None
        with memory:
            for name, place in segment.arrays.items():
                end = place.offset + math.prod(place.shape) * np.dtype(place.dtype).itemsize
                if end > len(memory):
                    raise InputError(what, got=f"{name} up to byte {end}", expected=f"{len(memory)} bytes at most")
            return {name: (_view(memory, place).copy(), _affine(place)) for name, place in segment.arrays.items()}

    def drop(self, place: int) -> None:
        """Give a segment of this side back to the system."""
        self._drop(_slot(self._side, place, self._number))

    def sweep(self, side: str) -> None:
        """Remove all segments of a side: ours at the end, those of the other after it has died."""
        self._sweep(side, {self._number} if side == self._side else self._numbers(side))

    def remove(self) -> None:
        """Remove the segments of both sides and the folder: the end of the session."""
        for side in "cw":
            self._sweep(side, self._numbers(side))
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_dead(self) -> bool:
        """Whether the client of the session has died; false where nobody can tell."""
        lock = _lock(self.folder)
        _unlock(lock)
        return lock is not None

    def remove_if_dead(self, patience: float = 1.0) -> None:
        """Remove everything as `remove` does, unless the client of the session still lives.

        Args:
            patience: Seconds to wait for a client that is just ending.
        """
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
            for place in range(SLOTS):
                self._drop(_slot(side, place, number))

    def _numbers(self, side: str) -> set[int]:
        """Return the numbers of all processes that have made segments of a side, 0 for those without."""
        ends = {path.name[2:] for path in self.folder.glob(f"{side}-*")}
        return {0, *(int(end) for end in ends if end.isascii() and end.isdigit())}

    def _name(self, slot: str) -> str:
        return f"{self.folder.name}-{slot}"

    def _room(self, slot: str, size: int) -> tuple[str, mmap.mmap]:
        if slot in self._open:
            kind, memory = self._open[slot]
            if size <= len(memory) <= 4 * size:  # fresh pages cost more than what is written into them
                return kind, memory
            self._drop(slot)
        if not self.folder.is_dir():  # who removed it would not remove this
            raise OutputError("shared memory", got="a session that has ended", expected="its folder")
        memory = create_memory(self._name(slot), size)
        kind = "file" if memory is None else "memory"
        try:
            self._open[slot] = (kind, memory or create_file(self.folder / slot, size))
        except OSError as error:
            expected = f"room for {size / 2**20:.0f} MiB"
            got = error.strerror or str(error)
            remedy = "close other programs or free some space for temporary files"
            raise OutputError("shared memory", got=got, expected=expected, remedy=remedy) from error
        return self._open[slot]

    def _drop(self, slot: str) -> None:
        _, memory = self._open.pop(slot, ("", None))
        if memory is not None:
            with contextlib.suppress(BufferError):  # another thread still looks at it, and the process is about to end
                memory.close()
        unlink_memory(self._name(slot))
        unlink_file(self.folder / slot)


class Session:
    """The folder of a session, as long as its client lives.

    What earlier sessions left that were killed as a whole is removed first.
    """

    def __init__(self) -> None:
        sweep_dead_sessions()
        self.folder, self._lock = _locked_folder()
        self.store = Store(self.folder, "c")

    def close(self) -> None:
        """Remove all segments and the folder; once more does no harm."""
        lock, self._lock = self._lock, None
        _unlock(lock)  # Windows removes no open file
        self.store.remove()


def sweep_dead_sessions() -> None:
    """Remove what sessions left whose client lives no more: folders, files and shared memory."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        is_one = _NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
        if is_one and _is_ours(folder):
            with contextlib.suppress(InputError):  # another process was faster
                Store(folder, "c").remove_if_dead(patience=0.0)


def _locked_folder() -> tuple[Path, int | None]:
    """Make a folder and lock it; where nothing can be locked (some network disks), nothing is swept either."""
    try:
        for _ in range(5):  # a sweep of another process may take it away before it is locked
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
    where, remedy = tempfile.gettempdir(), "free some space for temporary files"
    return OutputError("session", got=got, expected=f"a folder in {where}", remedy=remedy)


def _lock(folder: Path) -> int | None:
    """Lock the file of a session; None if its client lives, or if nobody can tell."""
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


def _slot(side: str, place: int, number: int) -> str:
    return f"{side}{place}" + (f"-{number}" if number else "")


def _view(memory: mmap.mmap, place: ArrayPlace) -> np.ndarray:
    count = math.prod(place.shape)
    return np.frombuffer(memory, dtype=place.dtype, count=count, offset=place.offset).reshape(place.shape)


def _affine(place: ArrayPlace) -> np.ndarray | None:
    return None if place.affine is None else np.array(place.affine, dtype=np.float64).reshape(4, 4)
