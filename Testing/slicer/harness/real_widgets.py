"""Puts the real widgets of a build of PythonQt, CTK and Slicer in the place of the stand-ins.

The environment variable `SPR_REAL_WIDGETS` names a folder with a Python module `real_qt` that offers

* `qt` and `ctk`: the modules that Slicer has under these names,
* `mrml`: classes such as `qMRMLNodeComboBox`, by their names; those of stand-ins that are missing are left out,
* `application`: the running `QApplication`,
* `load_ui(path)`: reads a .ui file with these classes,
* `is_valid(object)`: whether the object of Qt behind one of Python is still there.
"""

from __future__ import annotations

import importlib
import sys
import types

import slicer
import slicer.util


class _BoundSignal:
    def __init__(self):
        self._calls = []

    def connect(self, call):
        self._calls.append(call)

    def disconnect(self, call):
        self._calls.remove(call)

    def emit(self, *arguments):
        for call in list(self._calls):
            call(*arguments)


class Signal:
    """A signal of an object of the harness; PythonQt has none for classes of Python."""

    def __init__(self, *kinds):
        self._name = ""

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, instance, owner):
        return vars(instance).setdefault(f"_{self._name}_signal", _BoundSignal())


class Emitter:
    """Base of the objects of the harness that have signals, such as `slicer.app`."""

    def connect(self, text, call):
        getattr(self, text.split("(")[0]).connect(call)

    def disconnect(self, text, call):
        getattr(self, text.split("(")[0]).disconnect(call)


def install(folder):
    """Take the place of the modules of stand-ins, before one of them is imported."""
    sys.path.insert(0, folder)
    real = importlib.import_module("real_qt")
    sys.modules["qt"], sys.modules["ctk"] = real.qt, real.ctk
    for name, kind in real.mrml.items():
        setattr(slicer, name, kind)
    view = types.ModuleType("qt")  # what the harness and the tests see
    vars(view).update(vars(real.qt), QObject=Emitter, Signal=Signal)
    view.Property = lambda kind, read, write: property(read, write)
    _module("widgets", qt=view, ctk=real.ctk, application=real.application, is_valid=real.is_valid)
    _module("ctk_widgets", **vars(real.ctk))
    _module("mrml_widgets", install=lambda: None, **real.mrml)
    _module("ui_loader", load=real.load_ui, install=lambda: setattr(slicer.util, "loadUI", real.load_ui))


def _module(name, **contents):
    module = types.ModuleType(f"harness.{name}")
    vars(module).update({key: value for key, value in contents.items() if not key.startswith("__")})
    sys.modules[module.__name__] = module
    setattr(sys.modules["harness"], name, module)
