"""A small stand-in of `slicer.parameterNodeWrapper`: typed access to a parameter node, and its connection to widgets.

It takes only what our module uses, and refuses what Slicer refuses: values of another type or out of range, and pairs
of widget and type for which Slicer has no connector.
"""

from __future__ import annotations

import enum
import typing
from dataclasses import dataclass

import slicer
import vtk

PROPERTY = "SlicerParameterName"


@dataclass(frozen=True)
class WithinRange:
    """Lowest and highest value."""

    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass(frozen=True)
class Decimals:
    """Digits that a widget shows."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Step of a widget."""

    value: float


class Parameter:
    """One field of a parameter node: how it is written into the node and read from it."""

    def __init__(self, name, hint, default):
        self.name = name
        self.kind, *self.annotations = typing.get_args(typing.Annotated[hint, None])[:-1]
        kinds = typing.get_args(self.kind) if typing.get_origin(self.kind) is typing.Union else (self.kind,)
        self.nodes = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)]
        if not self.nodes and self.kind not in (int, float, str, bool) and not issubclass(self.kind, enum.Enum):
            raise TypeError(f"{name}: the stand-in knows no {self.kind}")
        if typing.get_origin(self.kind) is typing.Union and type(None) not in kinds:
            raise TypeError(f"{name}: Slicer wants None in a union of nodes")
        self.default = default

    def write(self, node, value):
        self._check(value)
        if self.nodes:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node):
        if self.nodes:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if issubclass(self.kind, enum.Enum) else self.kind(text)

    def _check(self, value):
        kinds = (*self.nodes, type(None)) if self.nodes else (self.kind,)
        if self.kind is float:
            kinds = (float, int)
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            raise TypeError(f"{self.name}: value {value!r} is not of type {self.kind}")
        for annotation in self.annotations:
            if isinstance(annotation, WithinRange):
                annotation.validate(value)


def parameterNodeWrapper(kind):
    """Turn a class of annotated fields into one that keeps them in a parameter node."""
    for name in _METHODS:
        if hasattr(kind, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    parameters = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        parameters[name] = Parameter(name, hint, getattr(kind, name, None))
        setattr(kind, name, _property(parameters[name]))
    kind.allParameters = parameters
    kind.__init__ = _init
    for name, method in _METHODS.items():
        setattr(kind, name, method)
    return kind


def _property(parameter):
    def write(self, value):
        with slicer.util.NodeModify(self.parameterNode):
            parameter.write(self.parameterNode, value)

    return property(lambda self: parameter.read(self.parameterNode), write)


def _init(self, node, prefix=None):
    assert node is not None
    self.parameterNode, self._guis, self._updating = node, {}, False
    for parameter in self.allParameters.values():
        if not node.HasParameter(parameter.name):
            parameter.write(node, parameter.default)


def _connect_gui(self, gui):
    from harness.connectors import connector

    pairs = {}
    for widget in vars(gui).values():
        name = widget.property(PROPERTY)
        if name:
            if name not in self.allParameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
            pairs[name] = connector(widget, self.allParameters[name])
    for name, pair in pairs.items():
        pair.write(getattr(self, name))
        pair.connect(lambda name=name, pair=pair: _gui_changed(self, name, pair))
    observation = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: _update(self))
    tag = len(self._guis)
    self._guis[tag] = (pairs, observation)
    return tag


def _gui_changed(self, name, pair):
    if not self._updating:
        setattr(self, name, pair.read())


def _update(self):
    if self._updating:
        return
    self._updating = True
    try:
        for gui in self._guis.values():
            for name, pair in (gui or ({},))[0].items():
                pair.write(getattr(self, name))
    finally:
        self._updating = False


def _disconnect_gui(self, tag):
    gui = self._guis.get(tag)
    if gui is not None:
        for pair in gui[0].values():
            pair.disconnect()
        self.RemoveObserver(gui[1])
        self._guis[tag] = None


_METHODS = {
    "connectGui": _connect_gui,
    "disconnectGui": _disconnect_gui,
    "getValue": lambda self, name: getattr(self, name),
    "setValue": lambda self, name, value: setattr(self, name, value),
    "default": lambda self, name: self.allParameters[name].default,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, was: self.parameterNode.EndModify(was),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}
"""Names that a class of parameters must not use, and what stands behind them."""
