"""Messages as lines of bytes, whatever the bytes are and however they are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from SPRCore.config import decode, encode
from SPRCore.errors import InputError
from SPRCore.live import protocol
from SPRCore.live.schema import Checked, object_schema

MAX_LINE = 2**20
"""Most bytes of a line."""


class Unreadable(InputError):
    """A line is no message.

    Args:
        id: Number of the request that it was meant to be or to answer; None if it does not say.
        error: What is wrong with it.
    """

    def __init__(self, id: int | None, error: InputError) -> None:
        self.id = id
        super().__init__(error.what, got=error.got, expected=error.expected, remedy=error.remedy)


class LineReader:
    """Puts the lines together that arrive in pieces; what is longer than a line may be is thrown away up to its end."""

    def __init__(self) -> None:
        self._part, self._skipping = bytearray(), False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what arrived.

        Args:
            data: Bytes, cut anywhere.

        Yields:
            Every complete line without its end; of one that is too long its beginning, which is no message.
        """
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


def to_line(message: Checked) -> bytes:
    """Write a message, after the same check as on reading.

    Args:
        message: The message.

    Returns:
        One line of ASCII with its end.

    Raises:
        ConfigError: A field is not what the protocol says.
    """
    values = encode(message)
    decode(type(message), values)
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def read_request(line: bytes) -> Checked:
    """Read a line that a client wrote.

    Args:
        line: The line.

    Returns:
        One of `protocol.REQUESTS`.

    Raises:
        Unreadable: It is no request of this version of the protocol.
    """
    return _read(line, "verb", protocol.REQUESTS)


def read_answer(line: bytes) -> Checked:
    """Read a line that a worker wrote.

    Args:
        line: The line.

    Returns:
        One of `protocol.ANSWERS`.

    Raises:
        Unreadable: It is no answer of this version of the protocol.
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


def _read(line: bytes, key: str, kinds: Mapping[str, type]) -> Checked:
    values, id_ = _parsed(line), None
    try:
        if not isinstance(values, dict):
            raise InputError("message", got="no JSON object", expected=f"one with a {key!r}")
        id_ = values.get("id")
        id_ = id_ if type(id_) is int and 1 <= id_ <= 2**53 else None
        name = values.get(key)
        if not isinstance(name, str) or name not in kinds:
            raise InputError(key, got=repr(name)[:64], expected=", ".join(kinds))
        # Asked first: another version may have other fields.
        if "protocol" in values and values["protocol"] != protocol.PROTOCOL:
            raise _other_version(values["protocol"], key)
        return decode(kinds[name], values)
    except InputError as error:
        raise Unreadable(id_, error) from None


def _other_version(theirs: object, key: str) -> InputError:
    who = "client" if key == "verb" else "worker"
    return InputError(
        "protocol",
        got=f"version {str(theirs)[:20]} of the {who}",
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
