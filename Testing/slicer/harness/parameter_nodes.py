"""`slicer.parameterNodeWrapper` as the Explorer has it, with its connection to widgets.

It refuses what Slicer refuses: names that its methods have, types that it does not know, and pairs of widget and type
for which it has no connector.
"""

from __future__ import annotations

import enum
import typing

import slicer
import vtk

from SPRExplorer import parameter_nodes

PROPERTY = "SlicerParameterName"
WithinRange = parameter_nodes.WithinRange


def parameterNodeWrapper(kind):
    """Turn a class of annotated fields into one that keeps them in a parameter node and connects them to widgets."""
    for name, hint in typing.get_type_hints(kind).items():
        kinds = typing.get_args(hint) or (hint,)
        if len(kinds) > 1 and type(None) not in kinds:
            raise TypeError(f"{name}: Slicer wants None in a union of nodes")
        if not all(issubclass(each, (int, float, str, enum.Enum, slicer.vtkMRMLNode, type(None))) for each in kinds):
            raise TypeError(f"{name}: the stand-in knows no {hint}")
    for name in _METHODS:
        if hasattr(kind, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    kind = parameter_nodes.parameterNodeWrapper(kind)
    begin = kind.__init__

    def init(self, node, prefix=None):
        assert node is not None
        begin(self, node)
        self._guis, self._updating = {}, False

    kind.__init__ = init
    for name, method in _METHODS.items():
        setattr(kind, name, method)
    return kind


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
"""Methods that Slicer's wrapper adds; their names are reserved."""
