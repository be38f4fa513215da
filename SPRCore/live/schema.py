"""Bounds of message fields, checked at construction, and the JSON schema that follows from them."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from SPRCore.config import require


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Constraint on a value beyond its type, written as `typing.Annotated[type, Bounds(...)]`.

    Attributes:
        minimum: Minimum of a number.
        maximum: Maximum of a number.
        shortest: Minimum number of characters or items.
        longest: Maximum number of characters or items.
        pattern: Regular expression for the whole text, from ^ to $.
    """

    minimum: float | None = None
    maximum: float | None = None
    shortest: int = 0
    longest: int | None = None
    pattern: str | None = None

    def broken_by(self, value: Any) -> str:
        """Return what was expected instead of `value`; empty if it is valid."""
        if self.minimum is not None and value < self.minimum:
            return f"{self.minimum:g} or more"
        if self.maximum is not None and value > self.maximum:
            return f"{self.maximum:g} or less"
        if self.longest is not None and not self.shortest <= len(value) <= self.longest:
            return f"a length of {self.shortest} to {self.longest}"
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return f"text of the form {self.pattern}"
        return ""

    def keywords(self, kind: str) -> dict[str, Any]:
        """Return the JSON schema keywords for the JSON type `kind`."""
        length = {"string": "Length", "array": "Items"}.get(kind, "")
        pairs = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            f"min{length}": self.shortest or None,
            f"max{length}": self.longest,
            "pattern": self.pattern,
        }
        return {key: value for key, value in pairs.items() if value is not None}


class Checked:
    """Base of dataclasses that check their annotated bounds at construction."""

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            ConfigError: A value is out of bounds.
        """
        for name, kind in _bounded_fields(type(self)):
            _check(kind, getattr(self, name), name)


@cache
def _bounded_fields(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [item.name for item in dataclasses.fields(kind)]
    return tuple((name, hints[name]) for name in names if "Bounds(" in repr(hints[name]))


def _check(kind: Any, value: Any, name: str) -> None:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is not None:
            _check(next(arg for arg in args if arg is not type(None)), value, name)
        return
    if origin is Annotated:
        expected = args[1].broken_by(value)
        require(not expected, name, value, expected)
        _check(args[0], value, name)
    elif origin in (tuple, dict):
        for key, entry in value.items() if origin is dict else enumerate(value):
            _check(args[-1] if origin is dict else args[0], entry, f"{name}.{key}")


_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of an annotated type; dataclasses become references by name."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(arg) for arg in args]}
    if origin is Annotated:
        inner = _schema_of(args[0])
        return inner | args[1].keywords(inner["type"])
    if origin is Literal:
        return {"const": args[0]} if len(args) == 1 else {"enum": list(args)}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(args[1])}
    if dataclasses.is_dataclass(kind):
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if kind is type(None):
        return {"type": "null"}
    return {} if kind is Any else {"type": _PLAIN[kind]}


def object_schema(kind: type) -> dict[str, Any]:
    """Return the JSON schema of a dataclass.

    Fields without a default and the message name (a single permitted value) are required; other fields are refused.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    properties, required = {}, []
    for item in dataclasses.fields(kind):
        properties[item.name] = _schema_of(hints[item.name])
        if "const" in properties[item.name] or item.default is item.default_factory is dataclasses.MISSING:
            required.append(item.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
