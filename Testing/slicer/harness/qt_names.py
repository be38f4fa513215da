"""PySide6 made to read like PythonQt's module `qt`: one flat namespace, and properties instead of getters.

The classes are changed in place, so that widgets made by a loader behave the same and their types are those of `qt`.
"""

from __future__ import annotations

import inspect
import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from shiboken6 import Shiboken

from harness import contract

_VIRTUAL = {"sizeHint", "minimumSizeHint"}  # Qt calls them while it reads the property
_read, _write = QtCore.QObject.__getattribute__, Shiboken.Object.__setattr__


def make_module():
    """Return the module `qt`."""
    module = types.ModuleType("qt")
    for part in (QtCore, QtGui, QtWidgets):
        for name in dir(part):  # PySide6 makes types when they are asked for
            value = getattr(part, name)
            if not name.startswith("_"):
                setattr(module, name, value)
            if inspect.isclass(value) and issubclass(value, QtCore.QObject) and "staticMetaObject" in vars(value):
                make_properties(value)
    module.QUiLoader = QtUiTools.QUiLoader
    QtCore.QObject.name = property(lambda self: self.objectName, lambda self, value: self.setObjectName(value))
    for value in [value for value in vars(module).values() if inspect.isclass(value)]:
        if issubclass(value, QtCore.QObject):  # each of them, for some have a look-up of their own
            value.__getattribute__, value.__setattr__ = _getattribute, _setattr
    return module


def make_properties(kind):
    """Let Python read and write the properties of a class as attributes."""
    facts = kind.staticMetaObject
    for index in range(facts.propertyOffset(), facts.propertyCount()):
        name = facts.property(index).name()
        if name not in _VIRTUAL and not isinstance(vars(kind).get(name), QtCore.Property):
            setattr(kind, name, _property(name))


def _property(name):
    return property(
        lambda self: QtCore.QObject.property(self, name),
        lambda self, value: QtCore.QObject.setProperty(self, name, value),
    )


def _getattribute(self, name):
    contract.check_read(type(self).__name__, name)
    if name in ("connect", "disconnect"):
        return lambda signal, function: getattr(_signal(self, signal), name)(function)
    return _read(self, name)


def _setattr(self, name, value):
    contract.check_write(type(self).__name__, name)
    if isinstance(inspect.getattr_static(type(self), name, None), QtCore.Property):
        # Otherwise it would only be remembered in Python. Qt takes lists of texts, Slicer gives tuples.
        QtCore.QObject.setProperty(self, name, list(value) if isinstance(value, tuple) else value)
    else:
        _write(self, name, value)


def _signal(self, text):
    """Return the signal that a text such as "clicked(bool)" means; with other arguments there is none, as in Qt."""
    name, kind = text.split("(")[0], type(self).__name__
    signature = QtCore.QMetaObject.normalizedSignature(text).data().decode().replace("vtkMRMLNode*", "PyObject")
    is_there = _read(self, "metaObject")().indexOfSignal(signature) >= 0
    declared = QtCore.QMetaObject.normalizedSignature(text).data().decode()
    if not is_there or (kind in contract.CLASSES and not contract.has_signal(kind, declared)):
        raise ValueError(f"{kind} has no signal {text}")
    return _read(self, name)
