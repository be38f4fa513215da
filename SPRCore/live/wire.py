"""Messages as lines of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from SPRCore.config import decode, encode
from SPRCore.errors import InputError
from SPRCore.live import protocol
from SPRCore.live.schema import Checked, object_schema

MAX_LINE = 2**20
"""Maximum length of a line in bytes."""


class Unreadable(InputError):
    """A line that is not a valid message.

    Args:
        id: Number of its request; None if unknown.
        error: The error about it.
    """

    def __init__(self, id: int | None, error: InputError) -> None:
        self.id = id
        super().__init__(error.what, got=error.got, expected=error.expected, remedy=error.remedy)


class LineReader:
    """Splits a byte stream into lines; the rest of a line longer than `MAX_LINE` is discarded."""

    def __init__(self) -> None:
        self._part, self._skipping = bytearray(), False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each line completed by `data`, without its end; of a line that is too long its beginning."""
        *ends, rest = data.split(b"\n")
        for piece in ends:
            line, skipped = bytes(self._part + piece), self._skipping
            self._part, self._skipping = bytearray(), False
            if not skipped and line.strip():
                yield line[: MAX_LINE + 1]
        if not self._skipping:
            self._part += rest
        if len(self._part) > MAX_LINE:
            yield bytes(self._part[: MAX_LINE + 1])
            self._part, self._skipping = bytearray(), True


def make(kind: type[Checked], fields: Mapping[str, Any]) -> tuple[Any, bytes]:
    """Return a message made of fields, and its line; validated once.

    Raises:
        ConfigError: A field does not fit the protocol.
    """
    message = decode(kind, encode(fields))
    return message, _line(encode(message))


def to_line(message: Checked) -> bytes:
    """Return a message as one line of ASCII.

    Raises:
        ConfigError: A field does not fit the protocol.
    """
    values = encode(message)
    decode(type(message), values)
    return _line(values)


def read_request(line: bytes) -> Any:
    """Return a line of a client as one of `protocol.REQUESTS`.

    Raises:
        Unreadable: It is not a request of this protocol version.
    """
    return _read(line, "verb", protocol.REQUESTS)


def read_answer(line: bytes) -> Any:
    """Return a line of a worker as one of `protocol.ANSWERS`.

    Raises:
        Unreadable: It is not an answer of this protocol version.
    """
    return _read(line, "kind", protocol.ANSWERS)


def schema() -> dict[str, Any]:
    """Return the JSON schema of all messages."""
    kinds = [*protocol.REQUESTS.values(), *protocol.ANSWERS.values()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Messages of the live worker, version {protocol.PROTOCOL}",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds],
        "$defs": {kind.__name__: object_schema(kind) for kind in (*kinds, *protocol.PARTS)},
    }


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _read(line: bytes, key: str, kinds: Mapping[str, type]) -> Any:
    values, id_ = _parsed(line), None
    try:
        if not isinstance(values, dict):
            raise InputError("message", got="no JSON object", expected=f"one with a {key!r}")
        id_ = values.get("id")
        id_ = id_ if type(id_) is int and 1 <= id_ <= 2**53 else None
        name = values.get(key)
        if not isinstance(name, str) or name not in kinds:
            raise InputError(key, got=repr(name)[:64], expected=", ".join(kinds))
        # Checked first, because another version may have other fields.
        if "protocol" in values and values["protocol"] != protocol.PROTOCOL:
            raise _other_version(values["protocol"], key)
        return decode(kinds[name], values)
    except InputError as error:
        raise Unreadable(id_, error) from None


def _other_version(version: object, key: str) -> InputError:
    side = "client" if key == "verb" else "worker"
    return InputError(
        "protocol",
        got=f"version {str(version)[:20]} of the {side}",
        expected=f"version {protocol.PROTOCOL}",
        remedy="install the same version of SPRCore on both sides",
    )


def _parsed(line: bytes) -> Any:
    if len(line) > MAX_LINE:
        raise Unreadable(None, InputError("message", got="a line that does not end", expected=f"{MAX_LINE} bytes"))
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        shown = ascii(line[:40].decode("utf-8", "replace"))
        raise Unreadable(None, InputError("message", got=shown, expected="one JSON object a line")) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
