"""Strict conversion between plain values (YAML, JSON) and frozen dataclasses.

Every message names the full path of its key, such as ``data.split.seed``.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from SPRCore.errors import InputError

Keys = tuple[str, ...]
_Resolve = Callable[[Path, Keys], Path]
Config = TypeVar("Config")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


class ConfigError(InputError):
    """A value of a configuration is invalid, or its key, whose path is `keys`."""

    def __init__(self, keys: Keys, *, got: str = "", expected: str = "", remedy: str = "") -> None:
        self.keys = keys
        super().__init__(".".join(keys) or "configuration", got=got, expected=expected, remedy=remedy)


def check_name(name: str, known: Iterable[str], what: str) -> None:
    """Refuse a name that is not known (`InputError` about `what`), and suggest the nearest known one."""
    known = sorted(known)
    if name not in known:
        raise InputError(what, got=repr(name[:64]), expected=", ".join(known), remedy=_nearest(name, known))


def decode(kind: type[Config], values: object, *, keys: Keys = (), resolve: _Resolve | None = None) -> Config:
    """Build a frozen dataclass from plain values, nested ones included.

    A field with ``metadata={"decode": function}`` is read by ``function(value, keys)``.

    Args:
        kind: The dataclass; its fields are bool, int, float, str, Path, Literal, dataclasses, tuples, dictionaries with
            string keys, or optional ones of these.
        values: Mapping of names to values; missing names take the defaults of the class.
        keys: Path of keys to `values`, for messages.
        resolve: Makes the path at some keys absolute; None leaves paths unchanged.

    Returns:
        The object.

    Raises:
        ConfigError: A name is unknown (the nearest one is suggested) or missing, or a value is invalid.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(keys, got=_shown(values), expected=f"a mapping with {', '.join(_fields(kind))}")
    fields, hints = _fields(kind), _hints(kind)
    for name in values:
        if name not in fields:
            path = (*keys, str(name)[:64])
            raise ConfigError(path, got="an unknown key", expected=", ".join(fields), remedy=_nearest(name, fields))
    for name, item in fields.items():
        if name not in values and item.default is item.default_factory is dataclasses.MISSING:
            raise ConfigError((*keys, name), got="nothing", expected="a value")
    parts = {}
    for name, value in values.items():
        own = fields[name].metadata.get("decode")
        path = (*keys, name)
        parts[name] = _located(own, value, path) if own else _decode(hints[name], value, path, resolve)
    try:
        return kind(**parts)
    except ConfigError as error:  # the class names its own field
        path = (*keys, *error.keys)
        raise ConfigError(path, got=error.got, expected=error.expected, remedy=error.remedy) from None
    except InputError as error:
        raise ConfigError((*keys, error.what), got=error.got, expected=error.expected, remedy=error.remedy) from None


def encode(value: Any) -> Any:
    """Convert a dataclass, or a value of a field, to plain values for YAML and JSON, the inverse of `decode`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: encode(getattr(value, item.name)) for item in dataclasses.fields(value) if item.init}
    if isinstance(value, Mapping):
        return {str(key): encode(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def finite(value: Any) -> Any:
    """Return plain values as JSON can hold them: numbers of NumPy as Python's, NaN and infinity as None, text keys."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def value_at(values: Any, keys: Iterable[str]) -> Any:
    """Return the value at a path of keys in nested dictionaries; None if a key is missing."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def require(good: bool, name: str, got: object, expected: str, remedy: str = "") -> None:
    """Raise a `ConfigError` about the field `name` (dots separate nested ones) under construction unless `good`."""
    if not good:
        raise ConfigError(tuple(name.split(".")), got=_shown(got), expected=expected, remedy=remedy)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)  # slower than all the rest together


@functools.cache
def _fields(kind: type) -> dict[str, dataclasses.Field]:
    return {item.name: item for item in dataclasses.fields(kind) if item.init}


def _nearest(name: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _located(function: Callable[[object, Keys], Any], value: object, keys: Keys) -> Any:
    try:
        return function(value, keys)
    except ConfigError:
        raise
    except InputError as error:
        got = f"{error.got} ({error.what})" if error.what else error.got
        raise ConfigError(keys, got=got, expected=error.expected, remedy=error.remedy) from None


def _decode(kind: Any, value: object, keys: Keys, resolve: _Resolve | None) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _decode(next(arg for arg in args if arg is not type(None)), value, keys, resolve)
    if origin is Literal:
        if value not in args or isinstance(value, bool):
            remedy = _nearest(value, [str(arg) for arg in args])
            raise ConfigError(keys, got=_shown(value), expected=" | ".join(map(str, args)), remedy=remedy)
        return value
    if origin is tuple:
        return _decode_tuple(args, value, keys, resolve)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(keys, got=_shown(value), expected="a mapping")
        return {str(key): _decode(args[1], entry, (*keys, str(key)), resolve) for key, entry in value.items()}
    if dataclasses.is_dataclass(kind):
        return decode(kind, value, keys=keys, resolve=resolve)
    return _decode_scalar(kind, value, keys, resolve)


def _decode_tuple(args: tuple[Any, ...], value: object, keys: Keys, resolve: _Resolve | None) -> tuple[Any, ...]:
    any_length = len(args) == 2 and args[1] is Ellipsis
    count = "a list" if any_length else f"a list of {len(args)}"
    if not isinstance(value, (list, tuple)) or not (any_length or len(value) == len(args)):
        raise ConfigError(keys, got=_shown(value), expected=count)
    kinds = args[:1] * len(value) if any_length else args
    return tuple(
        _decode(kind, entry, (*keys, str(index)), resolve)
        for index, (kind, entry) in enumerate(zip(kinds, value, strict=True))
    )


_WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text", Path: "a path"}


def _decode_scalar(kind: Any, value: object, keys: Keys, resolve: _Resolve | None) -> Any:
    if kind is Any:
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and is_number and abs(value) < 1e300 and math.isfinite(value):
        return float(value)
    if kind is Path and isinstance(value, (str, Path)) and str(value):
        path = Path(value).expanduser()
        return path if resolve is None else resolve(path, keys)
    if kind is not float and type(value) is kind:
        return value
    raise ConfigError(keys, got=_shown(value), expected=_WORDS[kind])


def _shown(value: object) -> str:
    return value if isinstance(value, str) and " " in value and len(value) < 80 else _SHORT.repr(value)
