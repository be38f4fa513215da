"""Loads a .ui file with the stand-ins, and makes its connections of scenes, which Qt for Python cannot."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import slicer
from PySide6 import QtCore, QtUiTools

from harness import contract, ctk_widgets, mrml_widgets


class Loader(QtUiTools.QUiLoader):
    def __init__(self, parent=None):
        super().__init__(parent)
        for module in (ctk_widgets, mrml_widgets):
            for name, kind in vars(module).items():
                if name.startswith(("ctk", "qMRML", "qSlicer")):
                    self.registerCustomWidget(kind)

    def load(self, device, parent=None):
        tree = ElementTree.fromstring(bytes(device.readAll()))
        unknown = {item.get("class") for item in tree.iter("widget")} - set(self.availableWidgets())
        if unknown:
            raise RuntimeError(f"there is no stand-in of {sorted(unknown)}")
        scenes = [
            [item.findtext(part) for part in ("sender", "signal", "receiver", "slot")]
            for item in tree.iter("connection")
        ]
        for connections in list(tree.iter("connections")):
            connections.clear()
        buffer = QtCore.QBuffer()
        buffer.setData(QtCore.QByteArray(ElementTree.tostring(tree)))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise RuntimeError(self.errorString())
        for sender, signal, receiver, slot in scenes:
            ends = [widget if widget.objectName == name else widget.findChild(QtCore.QObject, name)
                    for name in (sender, receiver)]  # fmt: skip
            if None in ends:
                raise RuntimeError(f"a connection names a widget that is missing: {sender} to {receiver}")
            getattr(ends[0], signal.split("(")[0]).connect(getattr(ends[1], slot.split("(")[0]))
        return widget


def load(path):
    """Load a file as `slicer.util.loadUI` does."""
    file = QtCore.QFile(str(path))
    if not file.open(QtCore.QFile.ReadOnly):
        raise RuntimeError(f"cannot open {path}")
    return Loader().load(file)


def install():
    """Take the place of Slicer's loader."""
    slicer.util.loadUI = load
    assert contract.CLASSES
