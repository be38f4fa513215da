"""Reuse of freed memory by the C library while many volumes of one size are allocated."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# From glibc's malloc.h; the defaults are those of mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 64 * 2**20}
_DEFAULT = {_M_MMAP_MAX: 65536, _M_TRIM_THRESHOLD: 128 * 1024, _M_TOP_PAD: 0}

_lock = threading.Lock()
_users = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library reuse freed volumes within a block instead of returning them to the system.

    By default glibc maps every volume when it is allocated and unmaps it when it is freed, so each temporary of a
    tensor expression costs a page fault per 4 KiB: more than the arithmetic on it. After the block the default values
    are restored and free memory is returned; only the dynamic threshold of glibc stays disabled in the process. Blocks
    may be nested and run in several threads. Without glibc on Linux this is a no-op.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    _enter(libc, 1)
    try:
        yield
    finally:
        _enter(libc, -1)


def trim_memory() -> None:
    """Return free memory to the system within `kept_memory`, after a computation much larger than the next ones."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _enter(libc: ctypes.CDLL, change: int) -> None:
    global _users
    with _lock:
        _users += change
        if _users == max(change, 0):  # the first one in, or the last one out
            for option, value in (_KEEP if change > 0 else _DEFAULT).items():
                libc.mallopt(option, value)
            if change < 0:
                libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
