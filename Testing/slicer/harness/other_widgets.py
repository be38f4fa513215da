"""Stand-ins of widgets of CTK that our panel has not, for Slicer's own tests of its connectors."""

from __future__ import annotations

from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

Property, Signal = QtCore.Property, QtCore.Signal


def told(kind, name, default, signal):
    """Make a property that tells its changes by a signal."""

    def write(self, value):
        if value != getattr(self, f"_{name}", default):
            setattr(self, f"_{name}", value)
            getattr(self, signal).emit(value)

    return Property(kind, lambda self: getattr(self, f"_{name}", default), write)


class ctkDoubleSlider(QtWidgets.QWidget):
    """Without limits, it takes every number."""

    valueChanged = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._value, self.low, self.high = 0.0, 0.0, 99.0

    def _write(self, value):
        value = min(max(value, self.low), self.high)
        if value != self._value:
            self._value = value
            self.valueChanged.emit(value)

    def _limit(which):
        def write(self, value):
            setattr(self, which, value)
            self._write(self._value)

        return Property(float, lambda self: getattr(self, which), write)

    value = Property(float, lambda self: self._value, _write)
    minimum, maximum = _limit("low"), _limit("high")
    singleStep = told(float, "singleStep", 1.0, "valueChanged")


class ctkRangeWidget(QtWidgets.QWidget):
    valuesChanged = Signal(float, float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._limits, self._values = (0.0, 99.0), (0.0, 99.0)

    def setRange(self, low, high):
        self._limits = (low, high)
        self.setValues(*self._values)

    def setValues(self, low, high):
        values = tuple(min(max(value, self._limits[0]), self._limits[1]) for value in (low, high))
        if values != self._values:
            self._values = values
            self.valuesChanged.emit(*values)

    minimumValue = Property(
        float, lambda self: self._values[0], lambda self, value: self.setValues(value, self._values[1])
    )
    maximumValue = Property(
        float, lambda self: self._values[1], lambda self, value: self.setValues(self._values[0], value)
    )


class ctkDoubleRangeSlider(ctkRangeWidget):
    pass


class ctkPathLineEdit(QtWidgets.QWidget):
    currentPathChanged = Signal(str)
    currentPath = told(str, "currentPath", "", "currentPathChanged")


class ctkDirectoryButton(QtWidgets.QPushButton):
    """Makes paths absolute, unless that would change nothing."""

    directoryChanged = Signal(str)
    _directory = "."

    def _write(self, path):
        if Path(path).absolute() != Path(self._directory).absolute():
            self._directory = str(Path(path).absolute())
            self.directoryChanged.emit(self._directory)

    directory = Property(str, lambda self: self._directory, _write)


class ctkColorPickerButton(QtWidgets.QPushButton):
    colorChanged = Signal(QtGui.QColor)
    color = told(QtGui.QColor, "color", QtGui.QColor(), "colorChanged")
