"""A cache that is bounded in bytes and forgets what was not used for longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Values by key, at most so many bytes of them.

    Args:
        limit: Most bytes; a value that alone is larger is not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.nbytes = limit, 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Tell whether there is a value, without using it."""
        return key in self._entries

    def __iter__(self) -> Iterator[Value]:
        """Iterate over the values, the one unused for longest first, without using them."""
        return iter([value for value, _ in self._entries.values()])

    def get(self, key: Hashable) -> Value | None:
        """Return a value and count it as used; None if it is not there."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Hashable, value: Value, nbytes: int) -> None:
        """Keep a value in place of an older one of that key, and forget others until all fit.

        Args:
            key: Its key.
            value: The value.
            nbytes: Its size in bytes.
        """
        self.forget(key)
        if nbytes > self.limit:
            return
        self._entries[key] = value, nbytes
        self.nbytes += nbytes
        while self.nbytes > self.limit:
            self.forget(next(iter(self._entries)))

    def forget(self, key: Hashable) -> None:
        """Drop a value, if there is one of that key."""
        _, nbytes = self._entries.pop(key, (None, 0))
        self.nbytes -= nbytes

    def clear(self) -> None:
        """Drop all values."""
        self._entries.clear()
        self.nbytes = 0
