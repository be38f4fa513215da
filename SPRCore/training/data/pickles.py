"""Safe reading of arrays from pickle files.

A pickle is a program. The unpickler admits only the names that a NumPy array needs, and replaces them by classes and
functions of this module that store their arguments. The arrays are built from bytes of checked type and number.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.errors import InputError

_TYPES = {
    f"{kind}{size}" for kind, sizes in (("f", (2, 4, 8)), ("i", (1, 2, 4, 8)), ("u", (1, 2, 4, 8))) for size in sizes
}
_TYPES.add("b1")
_MAX_BYTES = 2**31


class _Type:
    """Replaces numpy.dtype: name of a type, such as "f4", and byte order."""

    def __init__(self, name: str = "", *_: object) -> None:
        self.name, self.order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def checked(self) -> np.dtype:
        if not isinstance(self.name, str) or self.name not in _TYPES or self.order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"an array of type {str(self.name)[:20]!r}")
        return np.dtype(self.name).newbyteorder(self.order)


class _Array:
    """Replaces numpy.ndarray: shape, type and bytes."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def checked(self) -> np.ndarray:
        try:
            _, shape, kind, fortran, data = self.state
            dtype = kind.checked()
            sizes_are_numbers = all(type(size) is int and 0 < size < 2**31 for size in shape)
        except (ValueError, TypeError, AttributeError) as error:
            raise pickle.UnpicklingError("an array without a state") from error
        if not isinstance(data, bytes) or not sizes_are_numbers or len(data) != math.prod(shape) * dtype.itemsize:
            raise pickle.UnpicklingError("an array whose bytes do not fit its shape")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: object, kind: object, shape: object, order: object) -> _Array:
    """Replaces numpy._core.numeric._frombuffer, which protocol 5 uses."""
    array = _Array()
    array.state = (1, shape, kind, order == "F", bytes(data) if isinstance(data, bytearray) else data)
    return array


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Replaces _codecs.encode, which protocol 2 uses for bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("an encoding other than latin1")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}"[:80]) from None


def read_arrays(path: Path) -> tuple[np.ndarray, ...]:
    """Read a pickle file of NumPy arrays, as ``pickle.dump((image, labels), file)`` writes it; no code is executed.

    Raises:
        InputError: The file is missing, damaged, too large, or has other content than numeric arrays.
    """
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="a pickle of arrays")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(str(path), got=f"{path.stat().st_size} bytes", expected=f"{_MAX_BYTES} at most")
    try:
        with path.open("rb") as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
        entries = content if isinstance(content, (tuple, list)) else (content,)
        if not entries or not all(type(entry) is _Array for entry in entries):
            raise pickle.UnpicklingError("something other than arrays")
        return tuple(entry.checked() for entry in entries)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        got = f"a pickle with {error}" if isinstance(error, pickle.UnpicklingError) else "a damaged pickle"
        raise InputError(str(path), got=got, expected="arrays of numbers and nothing else") from None
    except (MemoryError, OverflowError, RecursionError, ImportError):
        raise InputError(str(path), got="a damaged pickle", expected="arrays of numbers and nothing else") from None
