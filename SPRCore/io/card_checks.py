"""Checks of the values of a model card, which comes from an untrusted file."""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
from typing import Any

from SPRCore.errors import InputError

_MAX_TEXT, _MAX_DEPTH = 4000, 4
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def shown(value: Any) -> str:
    """Return a value for a message: short, on one line, without control characters."""
    return _SHORT.repr(value)


def fields_of(kind: type, values: Any, what: str) -> dict[str, Any]:
    """Return values whose keys are fields of a dataclass, all required ones among them; refuse others."""
    if not isinstance(values, dict):
        raise InputError(what, got=shown(values), expected="an object with fields")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key)[:64], fields, n=1)
            raise InputError(what, got=f"the unknown field {shown(key)}", expected=near[0] if near else "")
    for name, item in fields.items():
        optional = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
        if name not in values and not optional:
            raise InputError(what, got=f"no {name}", expected="a value for it")
    return values


def text(value: Any, what: str) -> str:
    """Return one line of printable text."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise InputError(what, got=shown(value), expected=f"one line of at most {_MAX_TEXT} printable characters")
    return value


def choice(value: Any, what: str, choices: tuple[str, ...]) -> str:
    """Return one of several words."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(what, got=shown(value), expected=f"one of: {', '.join(choices)}")
    return value


def listed(values: Any, what: str) -> tuple[Any, ...]:
    """Return the entries of a list as a tuple."""
    if not isinstance(values, (list, tuple)):
        raise InputError(what, got=shown(values), expected="a list")
    return tuple(values)


def named(values: Any, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Return values by name, whose names are among those given."""
    if not isinstance(values, dict) or not set(values) <= set(names):
        raise InputError(what, got=shown(values), expected=f"values for {', '.join(names)}")
    return values


def numbers(values: Any, what: str, count: int, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
    """Return finite numbers within bounds as floats."""
    entries = listed(values, what)
    # Compared before conversion: an integer of JSON may be too large for a float.
    good = all(type(value) in (int, float) and abs(value) < 1e30 and low <= value <= high for value in entries)
    if len(entries) != count or not good:
        bounds = f" from {low:g} to {high:g}" if math.isfinite(high) else f" of at least {low:g}" if low == 0 else ""
        raise InputError(what, got=shown(values), expected=f"{count} finite number{'s'[: count - 1]}{bounds}")
    return tuple(float(value) for value in entries)


def interval(value: Any, what: str, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
    """Return a lower and a higher number within bounds."""
    pair = numbers(value, what, 2, low, high)
    if not pair[0] < pair[1]:
        raise InputError(what, got=shown(list(pair)), expected="a lower and a higher number")
    return pair


def plain(value: Any, what: str, depth: int = _MAX_DEPTH) -> Any:
    """Return what JSON can hold, nested no deeper than `depth`."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
    if entries is None or depth == 0:
        raise InputError(what, got=shown(value), expected="plain values, lists and objects, not nested deeply")
    for entry in entries:
        plain(entry, what, depth - 1)
    return value
