"""Least-recently-used cache with a limit in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Values by key, up to a limit of bytes; a larger value is not stored. Only `get` marks a value as used."""

    def __init__(self, limit: int) -> None:
        self.limit, self.nbytes = limit, 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Value]:
        return iter([value for value, _ in self._entries.values()])

    def get(self, key: Hashable) -> Value | None:
        """Return a value and mark it as used; None if missing."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Hashable, value: Value, nbytes: int) -> None:
        """Store a value of `nbytes` bytes, replacing that of the key, and drop others until the limit holds."""
        self._drop(key)
        if nbytes > self.limit:
            return
        self._entries[key] = value, nbytes
        self.nbytes += nbytes
        while self.nbytes > self.limit:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Drop all values."""
        self._entries.clear()
        self.nbytes = 0

    def _drop(self, key: Hashable) -> None:
        _, nbytes = self._entries.pop(key, (None, 0))
        self.nbytes -= nbytes
