"""What exists of a widget when Python talks to it inside Slicer, and the refusal of anything else.

`contract.json` is a trimmed copy of what the headers of Slicer, CTK and Qt say (written by `trim_contract.py`): for
each class its base, its properties (true if they can be written), whole signals and methods. Of the classes of CTK and
Slicer only properties, signals, slots and invokable methods can be reached from Python; plain C++ methods cannot.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

CLASSES = json.loads(Path(__file__).with_name("contract.json").read_text(encoding="utf-8"))
MODULE = str(Path(__file__).resolve().parents[3] / "SPRRegistration")
ALIASES = {"name", "className", "connect", "disconnect", "delete", "help", "inherits", "setProperty", "property"}
"""What PythonQt adds to every object, and `QObject` has."""


def chain(kind):
    """Return a class and its bases, by name, nearest first."""
    names = []
    while kind in CLASSES:
        names.append(kind)
        kind = CLASSES[kind]["base"]
    return names


@cache
def has(kind, name):
    """Whether objects of a class have a property, a signal or a method that Python can reach."""
    if name in ALIASES:
        return True
    parts = ("properties", "methods", "enums")
    facts = [CLASSES[link] for link in chain(kind)]
    signals = {signal.split("(")[0] for each in facts for signal in each["signals"]}
    return name in signals or any(name in each[part] for each in facts for part in parts)


@cache
def has_signal(kind, signature):
    """Whether objects of a class have a signal with just these types of arguments; Qt compares the whole text."""
    return any(signature in CLASSES[link]["signals"] for link in chain(kind))


@cache
def can_write(kind, name):
    """Whether objects of a class have a property that can be written."""
    return name in ("name", "objectName") or any(CLASSES[link]["properties"].get(name) for link in chain(kind))


@cache
def is_property(kind, name):
    """Whether a name is a property, whose value Python reads without calling it."""
    return any(name in CLASSES[link]["properties"] for link in chain(kind))


def _asked_by_module(depth):
    return sys._getframe(depth).f_code.co_filename.startswith(MODULE)


def check_read(kind, name):
    """Refuse what the module's own code reads of an object without there being such a thing in Slicer."""
    if name[:2] != "__" and kind in CLASSES and _asked_by_module(3) and not has(kind, name):
        raise AttributeError(f"{kind} has no {name} that Python could reach inside Slicer")


def check_write(kind, name):
    """Refuse what the module's own code writes to an object without it being a property that can be written."""
    if kind in CLASSES and _asked_by_module(3) and not can_write(kind, name):
        raise AttributeError(f"{kind} has no property {name} that can be written")
