"""Keeping freed memory in the process while many volumes of one size come and go."""

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
    """Let the C library reuse freed volumes instead of returning them to the system, for the time of a block.

    By default glibc maps every volume anew and unmaps it when it is freed, so each temporary of a tensor expression
    costs a page fault per 4 KiB: more than the arithmetic on it. Afterwards the default values are set again and
    what is free is returned; only glibc's own adaptation of its threshold stays off in the process. Blocks may nest and
    run in several threads. Elsewhere than on Linux with glibc nothing happens.

    Yields:
        Nothing.
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
    """Return to the system what is free, within `kept_memory`: after a computation much larger than the next ones."""
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
