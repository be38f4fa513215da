"""Memory-mapped files that two processes share.

`multiprocessing.shared_memory` is not used: before Python 3.13 the process that attaches also removes the memory, and
on Linux a write to a full /dev/shm kills the process.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from pathlib import Path

MEMORY = Path("/dev/shm")
"""Folder of files that stay in memory; it exists on Linux."""


def create(path: Path, size: int) -> mmap.mmap:
    """Create a file of zeros that only this user can read, and map it; a file of that name is replaced.

    Raises:
        OSError: There is no space, or no such folder.
    """
    remove(path)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_SHORT_LIVED", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)  # otherwise a write to a full disk kills the process with SIGBUS
        else:
            os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    except OSError:
        remove(path)
        raise
    finally:
        os.close(descriptor)


def attach(path: Path) -> mmap.mmap:
    """Map a file that the other process created.

    Raises:
        OSError: There is no such file, or it is a link.
    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise FileNotFoundError(errno.ENOENT, "it is empty")
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file if possible; the memory is freed when the last process closes it."""
    with contextlib.suppress(OSError):
        path.unlink()
