"""YAML files of a recipe: files that extend others, changes from the command line, and the location of each key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from SPRCore.config import ConfigError, Keys
from SPRCore.errors import InputError

_MAX_BYTES = 2**20
_MAX_BASES = 8
_MAX_DEPTH = 8


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number."""


_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+|[-+]?(\d+\.\d*|\.\d+)|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"^(?:{_FLOAT.pattern})$"), list("-+0123456789."))


@dataclass(frozen=True)
class _Location:
    """File and line of a key; no file for a change from the command line."""

    file: Path | None
    line: int


@dataclass
class Sources:
    """Merged values of a recipe as read from YAML, and the location of every key by its path."""

    values: dict[str, Any] = field(default_factory=dict)
    locations: dict[Keys, _Location] = field(default_factory=dict)

    def resolve(self, path: Path, keys: Keys) -> Path:
        """Make the path at some keys absolute: relative to the folder of its file, or to the current folder."""
        location = self._location(keys)
        base = Path.cwd() if location is None or location.file is None else location.file.resolve().parent
        return (base / path).absolute()

    def located(self, error: ConfigError) -> InputError:
        """Return an error about a key with file and line."""
        location, where = self._location(error.keys), ""
        if location is not None:
            where = "--set " if location.file is None else f"{location.file}, line {location.line}: "
        return InputError(f"{where}{error.what}", got=error.got, expected=error.expected, remedy=error.remedy)

    def _location(self, keys: Keys) -> _Location | None:
        """Location of a key, or of its nearest parent with one."""
        parents = (keys[:size] for size in range(len(keys), -1, -1))
        return next((self.locations[each] for each in parents if each in self.locations), None)

    def merge(self, values: dict[str, Any], locations: dict[Keys, _Location]) -> None:
        """Override values: mappings are merged, all others replaced."""
        self.values = _merged(self.values, values)
        self.locations.update(locations)


def read_tree(path: Path, overrides: Sequence[str]) -> Sources:
    """Read a recipe, those it extends, and changes "key.path=value" to it, the value in YAML.

    Raises:
        InputError: A file is missing or not YAML, or a change is not of this form.
    """
    sources = Sources()
    _read_file(path, sources, ())
    for change in overrides:
        keys, value = _parse_change(change)
        if isinstance(sources.values.get("model"), str) and keys[0] == "model" and len(keys) > 1:
            sources.values["model"] = {"preset": sources.values["model"]}
        for key in reversed(keys):
            value = {key: value}
        sources.merge(value, {keys: _Location(None, 0)})
    return sources


def _read_file(path: Path, sources: Sources, chain: tuple[Path, ...]) -> None:
    if path.resolve() in chain or len(chain) >= _MAX_BASES:
        raise InputError(str(path), got="a recipe that extends itself", expected="a short chain of files")
    node, values = _parse_file(path)
    bases = values.pop("base", [])
    for base in [bases] if isinstance(bases, str) else bases:
        if not isinstance(base, str):
            raise InputError(f"{path}: base", got=repr(base), expected="the path of a recipe")
        _read_file(path.resolve().parent / base, sources, (*chain, path.resolve()))
    sources.merge(values, _locations(node, path))


def _parse_file(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="a recipe in YAML", remedy="check the path")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(str(path), got=f"{path.stat().st_size} bytes", expected="a recipe in YAML")
    try:
        text = path.read_text(encoding="utf-8")
        node, values = yaml.compose(text, _Loader), yaml.load(text, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "text that is not UTF-8"
        raise InputError(f"{path}{where}", got=str(reason), expected="a recipe in YAML") from None
    if not isinstance(values, dict):
        raise InputError(str(path), got=type(values).__name__, expected="a recipe: a mapping in YAML")
    return node, values


def _locations(node: yaml.Node, file: Path, keys: Keys = ()) -> dict[Keys, _Location]:
    """Location of every key below a node; refuses duplicate keys, of which YAML would take the last."""
    found: dict[Keys, _Location] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path, line = (*keys, str(key.value)), key.start_mark.line + 1
            if len(path) > _MAX_DEPTH:
                raise InputError(f"{file}, line {line}", got="too many nested keys", expected="a recipe in YAML")
            if path in found:
                raise InputError(f"{file}, line {line}: {'.'.join(path)}", got="a duplicate key")
            found[path] = _Location(file, line)
            found.update(_locations(value, file, path))
    return found


def _parse_change(change: str) -> tuple[Keys, Any]:
    name, equals, text = change.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        raise InputError("--set", got=repr(change), expected="key=value, such as optimiser.lr=1e-3")
    try:
        return keys, yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise InputError(f"--set {name}", got=repr(text), expected="a value in YAML") from None


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result
