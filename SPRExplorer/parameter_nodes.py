"""A stand-in of `slicer.parameterNodeWrapper`, which no package provides: typed access to a parameter node.

Values are stored in the format of Slicer, so that saved scenes are compatible.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer


@dataclass(frozen=True)
class WithinRange:
    """Lowest and highest value."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class NodeParameter:
    """One field: its name, its types, its range if it has one, and its default."""

    name: str
    kinds: tuple[type, ...]
    limits: WithinRange | None
    default: Any

    @property
    def is_node(self) -> bool:
        """Whether it refers to a node of the scene."""
        return issubclass(self.kinds[0], slicer.vtkMRMLNode)

    def check(self, value: Any) -> None:
        """Raise an error for a value of another type or out of range."""
        kinds = (*self.kinds, type(None)) if self.is_node else self.kinds
        kinds = (float, int) if kinds == (float,) else kinds
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError(f"{self.name}: {value!r} is not of type {self.kinds}")
        # This form of the comparison also refuses NaN.
        if self.limits is not None and not self.limits.minimum <= value <= self.limits.maximum:
            raise ValueError(f"{self.name}: {value} is not from {self.limits.minimum} to {self.limits.maximum}")

    def read(self, node: slicer.vtkMRMLScriptedModuleNode) -> Any:
        """Return the value that a node holds."""
        if self.is_node:
            return node.GetNodeReference(self.name)
        text, kind = node.GetParameter(self.name), self.kinds[0]
        if kind is bool:
            return text == "True"
        return kind[text] if issubclass(kind, enum.Enum) else kind(text)

    def write(self, node: slicer.vtkMRMLScriptedModuleNode, value: Any) -> None:
        """Store a value in a node, as one modification."""
        self.check(value)
        was_modifying = node.StartModify()
        try:
            if self.is_node:
                node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
            value = "" if self.is_node else value
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))
        finally:
            node.EndModify(was_modifying)


def parameterNodeWrapper(kind: type) -> type:  # Slicer's name
    """Turn a class of annotated fields into one that stores them in a parameter node.

    Args:
        kind: The class; its annotations are numbers, `str`, `bool`, enumerations or nodes.

    Returns:
        The class, with the methods of Slicer's wrapper that `SPRRegistrationLib` uses.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    kind.allParameters = {name: _parameter(name, hint, getattr(kind, name, None)) for name, hint in hints.items()}
    for name, parameter in kind.allParameters.items():
        setattr(kind, name, _property(parameter))
    for name, method in _METHODS.items():
        setattr(kind, name, method)
    return kind


def _parameter(name: str, hint: Any, default: Any) -> NodeParameter:
    hint, *notes = typing.get_args(typing.Annotated[hint, None])[:-1]
    kinds = typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)
    limits = next((note for note in notes if isinstance(note, WithinRange)), None)
    return NodeParameter(name, tuple(each for each in kinds if each is not type(None)), limits, default)


def _property(parameter: NodeParameter) -> property:
    def write(self: Any, value: Any) -> None:
        parameter.write(self.parameterNode, value)

    return property(lambda self: parameter.read(self.parameterNode), write)


def _init(self: Any, node: slicer.vtkMRMLScriptedModuleNode) -> None:
    self.parameterNode = node
    for parameter in self.allParameters.values():
        if not node.HasParameter(parameter.name):
            parameter.write(node, parameter.default)


_METHODS: dict[str, Callable] = {
    "__init__": _init,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, was: self.parameterNode.EndModify(was),
    "AddObserver": lambda self, event, callback: self.parameterNode.AddObserver(event, callback),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
}
