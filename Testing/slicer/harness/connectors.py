"""Connects widgets to fields of a parameter node where Slicer has a connector for the pair, and nowhere else."""

from __future__ import annotations

import enum

import ctk
import qt
import slicer


class Connector:
    """A widget that holds the value of a field in a property and tells its changes by a signal."""

    def __init__(self, widget, parameter, attribute, signal):
        self.widget, self.attribute, self.signal = widget, attribute, signal
        self.kind, self.call = parameter.kinds[0], None
        self.prepare(parameter.limits)

    def prepare(self, limits):
        pass

    def connect(self, call):
        self.call = lambda *arguments: call()
        getattr(self.widget, self.signal).connect(self.call)

    def disconnect(self):
        getattr(self.widget, self.signal).disconnect(self.call)

    def read(self):
        return getattr(self.widget, self.attribute)

    def write(self, value):
        setattr(self.widget, self.attribute, value)


class NumberConnector(Connector):
    """Takes the range from the annotation."""

    def prepare(self, limits):
        if limits is None and type(self.widget) in (ctk.ctkSliderWidget, slicer.qMRMLSliderWidget, qt.QSlider):
            raise RuntimeError("Cannot have a connection to a slider where the type is unbounded.")
        if limits is not None:
            self.widget.minimum, self.widget.maximum = limits.minimum, limits.maximum

    def read(self):
        return self.kind(super().read())


class EnumConnector(Connector):
    """Fills a combo box with the labels."""

    def prepare(self, limits):
        self.values = list(self.kind)
        self.widget.clear()
        for value in self.values:
            self.widget.addItem(value.label() if hasattr(value, "label") else value.name)

    def read(self):
        return self.values[super().read()]

    def write(self, value):
        super().write(self.values.index(value))


class NodeConnector(Connector):
    """Chooses a node; overwrites the types that the widget offers."""

    def __init__(self, widget, parameter, attribute, signal):
        super().__init__(widget, parameter, attribute, signal)
        widget.nodeTypes = [kind().GetClassName() for kind in parameter.kinds]

    def read(self):
        return self.widget.currentNode()

    def write(self, value):
        self.widget.setCurrentNode(value)


def connector(widget, parameter):
    """Return the connector for a widget and a field; a `RuntimeError` where Slicer has none."""
    kind, exact = parameter.kinds[0], type(widget)  # subclasses are refused, as Slicer does
    if parameter.is_node and exact is slicer.qMRMLNodeComboBox:
        return NodeConnector(widget, parameter, "", "currentNodeChanged")
    if kind is bool and exact in (qt.QCheckBox, ctk.ctkCheckBox):
        return Connector(widget, parameter, "checked", "stateChanged")
    if kind is int and exact in (qt.QSpinBox, qt.QSlider):
        return NumberConnector(widget, parameter, "value", "valueChanged")
    if kind in (int, float) and exact in (
        *(qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox),
        *(slicer.qMRMLSliderWidget, slicer.qMRMLSpinBox),
    ):
        return NumberConnector(widget, parameter, "value", "valueChanged")
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and exact in (qt.QComboBox, ctk.ctkComboBox):
        return EnumConnector(widget, parameter, "currentIndex", "currentIndexChanged")
    if kind is str and exact is qt.QLineEdit:
        return Connector(widget, parameter, "text", "textChanged")
    raise RuntimeError(f"Unable to create GUI connector from datatype '{kind}' to widget type '{exact}'.")
