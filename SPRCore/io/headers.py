"""The header of a safetensors file; every number is checked before use.

A file is eight bytes (length of the header, little endian), the header (a JSON object with type, shape and offsets of
each tensor) and the bytes of the tensors. Sizes are checked before memory is allocated.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from SPRCore.errors import InputError

MAX_HEADER_BYTES = 2**20
"""The largest network here needs a twentieth of it."""
_MAX_FILE_BYTES = 16 * 2**30
"""Twice the published hypernetwork of 1.6 billion parameters."""
_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
"""Types of tensors that a model may hold, with their size; I64 counts batches in normalization layers."""
_MAX_AXES = 8
_NAME = re.compile(r"[A-Za-z0-9_.]{1,256}")


@dataclass(frozen=True)
class _TensorEntry:
    """Type, shape and byte range of a tensor, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class BundleHeader:
    """Metadata by key, and tensors by name."""

    metadata: dict[str, str]
    tensors: dict[str, _TensorEntry]


def read_header(path: Path) -> BundleHeader:
    """Read and check the header of a safetensors file, whose tensors must fill the rest of the file without gaps.

    Raises:
        InputError: Not a file (it is not named), not in this format, truncated, too large, or the header contradicts
            itself or the file.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise InputError("model bundle", got=got, expected="a file", remedy="check the path")
    total = path.stat().st_size
    if total > _MAX_FILE_BYTES:
        raise _unusable(f"a file of {total} bytes", f"{_MAX_FILE_BYTES} at most")
    with path.open("rb") as stream:
        text = _header_text(stream, total)
    content = parse_json(text, "header")
    if not isinstance(content, dict):
        raise _unusable("a header that is no JSON object", "")
    metadata = _metadata(content.pop("__metadata__", {}))
    tensors = {name: _entry(name, entry) for name, entry in content.items()}
    _check_offsets(tensors, total - 8 - len(text))
    return BundleHeader(metadata, tensors)


def parse_json(text: bytes, what: str) -> Any:
    """Read JSON without duplicate keys and non-finite numbers; `what` is its name in messages.

    Raises:
        InputError: It is not such JSON, or nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, InputError) else "invalid JSON"
        raise InputError(what, got=reason, expected="JSON in UTF-8") from None


def _header_text(stream: BinaryIO, total: int) -> bytes:
    size = int.from_bytes(stream.read(8), "little")
    if total < 8 or not 2 <= size <= MAX_HEADER_BYTES:
        got = f"{total} bytes" if total < 8 else f"a header length of {size} bytes"
        raise _unusable(got, "a .sprmodel.safetensors file")
    text = stream.read(size)
    if len(text) < size:
        raise _unusable(f"{len(text)} of the {size} bytes of its header", "the whole file")
    return text


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise InputError("a duplicate key")
    return result


def _refuse_constant(word: str) -> float:
    raise InputError(f"the number {word}")


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _unusable("metadata that is not text by key", "")
    return value


def _entry(name: str, entry: Any) -> _TensorEntry:
    if not _NAME.fullmatch(name):
        raise _unusable(f"a tensor named {name[:40]!r}", "the name of a parameter")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _unusable(f"tensor {name} without exactly type, shape and offsets", "")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise _unusable(f"tensor {name} of type {str(dtype)[:20]!r}", f"one of {', '.join(_ITEM_BYTES)}")
    if not _whole_numbers(shape, least=1) or len(shape) > _MAX_AXES:
        raise _unusable(f"tensor {name} of shape {str(shape)[:60]}", f"up to {_MAX_AXES} axes of one or more")
    if not _whole_numbers(offsets, least=0) or len(offsets) != 2:
        raise _unusable(f"tensor {name} at {str(offsets)[:60]}", "a begin and an end")
    if offsets[1] - offsets[0] != math.prod(shape) * _ITEM_BYTES[dtype]:
        got = f"{str(offsets[1] - offsets[0])[:40]} bytes for tensor {name} of type {dtype} and shape {str(shape)[:60]}"
        raise _unusable(got, "as many as it needs")
    return _TensorEntry(dtype, tuple(shape), *offsets)


def _whole_numbers(values: Any, least: int) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= least for value in values)


def _check_offsets(tensors: dict[str, _TensorEntry], size: int) -> None:
    """Refuse tensors that overlap, leave gaps, or do not end with the file."""
    if not tensors:
        raise _unusable("no tensors", "the weights of a network")
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: item[1].begin):
        if entry.begin != end:
            kind = "overlaps with another" if entry.begin < end else "leaves a gap before it"
            raise _unusable(f"tensor {name}, which {kind}", "tensors one after the other")
        end = entry.end
    if end != size:
        raise _unusable(f"{size} bytes of tensors", f"{str(end)[:40]}, as the header says")


def _unusable(got: str, expected: str) -> InputError:
    return InputError("not a usable model bundle", got=got, expected=expected, remedy="download the file again")
