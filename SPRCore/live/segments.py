"""Memory that two processes see: named shared memory, or where it is missing or full a file mapped into memory.

`multiprocessing.shared_memory` is not used: before Python 3.13 whoever attaches also takes the ownership, through a
tracker process that inside an application may not even start, and on Linux it does not notice that the memory is full
before a write kills the process. The objects are the same, so a program may use it to attach.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from pathlib import Path

try:  # the system calls below multiprocessing.shared_memory, which Windows has not
    import _posixshmem
except ImportError:
    _posixshmem = None


def create_memory(name: str, size: int) -> mmap.mmap | None:
    """Make a named piece of shared memory.

    Args:
        name: Its name, without a slash; memory of that name is replaced.
        size: Its size in bytes.

    Returns:
        The memory, all zero; None where this system has none or has no room for it.
    """
    if _posixshmem is None:
        return None
    unlink_memory(name)
    try:
        return _mapped(_posixshmem.shm_open(f"/{name}", os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600), size)
    except OSError:
        unlink_memory(name)
        return None


def create_file(path: Path, size: int) -> mmap.mmap:
    """Make a file and map it into memory.

    Args:
        path: The file; one of that name is replaced.
        size: Its size in bytes.

    Returns:
        The memory, all zero.

    Raises:
        OSError: There is no room for it, or the folder is gone.
    """
    unlink_file(path)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_SHORT_LIVED", 0)
    try:
        return _mapped(os.open(path, flags, 0o600), size)
    except OSError:
        unlink_file(path)
        raise


def attach_memory(name: str) -> mmap.mmap:
    """Attach to shared memory that the other process made.

    Args:
        name: Its name, without a slash.

    Returns:
        The memory.

    Raises:
        OSError: There is none of that name.
    """
    if _posixshmem is None:
        raise FileNotFoundError(errno.ENOENT, "this system has no named shared memory", name)
    return _attached(_posixshmem.shm_open(f"/{name}", os.O_RDWR, mode=0o600))


def attach_file(path: Path) -> mmap.mmap:
    """Map a file that the other process made.

    Args:
        path: The file.

    Returns:
        The memory.

    Raises:
        OSError: There is no such file.
    """
    return _attached(os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)))


def unlink_memory(name: str) -> None:
    """Take the name of shared memory away, if it is there; the memory goes when the last process lets go of it."""
    if _posixshmem is not None:
        with contextlib.suppress(OSError):
            _posixshmem.shm_unlink(f"/{name}")


def unlink_file(path: Path) -> None:
    """Remove a file, if it is there and the system lets us."""
    with contextlib.suppress(OSError):
        path.unlink()


def _mapped(descriptor: int, size: int) -> mmap.mmap:
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)  # otherwise a full disk kills whoever writes, with SIGBUS
        else:
            os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _attached(descriptor: int) -> mmap.mmap:
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise FileNotFoundError(errno.ENOENT, "it is empty")
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
