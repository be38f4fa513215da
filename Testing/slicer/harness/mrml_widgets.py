"""Stand-ins of the widgets of Slicer that our panel and Slicer's connectors name, on the real scene."""

from __future__ import annotations

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from shiboken6 import Shiboken

from harness.ctk_widgets import ctkDoubleSpinBox, ctkSliderWidget, stored
from harness.other_widgets import ctkRangeWidget

Property, Signal = QtCore.Property, QtCore.Signal
_SEPARATOR, _RENAME, _NEW, _NEW_AS, _DELETE = ACTIONS = ("-", "rename", "+", "+ as", "delete")
"""What the entries below the nodes stand for; a click on one acts, and none can be current."""


class qMRMLWidget(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    isEntered = True

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def setMRMLScene(self, scene):
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self._scene


class qSlicerWidget(qMRMLWidget):
    pass


class qMRMLSliderWidget(ctkSliderWidget):
    pass


class qMRMLSpinBox(ctkDoubleSpinBox):
    pass


class qMRMLRangeWidget(ctkRangeWidget):
    pass


class qMRMLNodeComboBox(QtWidgets.QWidget):
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    nodeActivated = Signal(object)
    nodeAboutToBeRemoved = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QComboBox(self)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._box.currentIndexChanged.connect(self._picked)
        self._box.view().clicked.connect(lambda index: self._act(index.row()))
        layout.addWidget(self._box)
        self.setFocusProxy(self._box)
        self._scene, self._observed, self._ids, self._current, self._labels = None, [], [], None, {}
        self._busy, self._attributes, self._chose_none = False, [], False

    def setMRMLScene(self, scene):
        for tag in self._observed:
            self._scene.RemoveObserver(tag)
        self._scene, self._observed = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            self._observed = [scene.AddObserver(event, lambda caller, name: self._refresh()) for event in events]
            self._observed.append(scene.AddObserver(scene.EndImportEvent, lambda caller, name: self._fill_anew()))
            self._observed.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._go_on))
        self._refresh()

    def mrmlScene(self):
        return self._scene

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _go_on(self, scene, event, node):
        """Do as a list of Qt does whose current row is taken away: the next row is current, or the last one."""
        if self._busy or not Shiboken.isValid(self) or node.GetID() != self._current or scene.IsBatchProcessing():
            return
        nodes = [each.GetID() for each in self._nodes()]
        place = nodes.index(self._current)
        nodes.remove(self._current)
        self._choose(nodes[min(place, len(nodes) - 1)] if nodes else None)

    def _fill_anew(self):
        """Forget the current node after a file was read: the list is emptied, and filled without a choice."""
        if Shiboken.isValid(self):
            self._chose_none = self.addEnabled or self.removeEnabled or self.renameEnabled
            self._choose(None)
            self._refresh()

    def setNodeTypeLabel(self, label, kind):
        self._labels[kind] = label
        self._refresh()

    def nodeTypeLabel(self, kind):
        return self._labels.get(kind) or getattr(slicer, kind)().GetNodeTagName()

    def addAttribute(self, kind, name, value=None):
        self._attributes.append((kind, name, value))
        self._refresh()

    def nodeCount(self):
        return len(self._nodes())

    def currentNode(self):
        return self._scene.GetNodeByID(self._current) if self._scene is not None and self._current else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if hasattr(node, "GetID") else node)

    def setCurrentNodeID(self, identifier):
        self._chose_none = not identifier
        self._refresh()
        self._choose(identifier or None)

    def addNode(self, kind=None):
        kind = kind or self.nodeTypes[0]
        node = self._scene.CreateNodeByClass(kind)
        node.SetName(self._scene.GenerateUniqueName(self.baseName or kind.replace("vtkMRML", "").replace("Node", "")))
        for _, name, value in self._attributes:
            node.SetAttribute(name, value)
        self._scene.AddNode(node)
        self._choose(node.GetID())
        return node

    def removeCurrentNode(self):
        node = self.currentNode()
        if node is not None:
            self.nodeAboutToBeRemoved.emit(node)
            self._scene.RemoveNode(node)

    def _nodes(self):
        nodes = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        return [node for node in nodes if self._shows(node)]

    def _shows(self, node):
        return (
            any(node.IsA(kind) for kind in self.nodeTypes)
            and not any(node.IsA(kind) for kind in self.hideChildNodeTypes)
            and (self.showChildNodeTypes or node.GetClassName() in self.nodeTypes)
            and (self.showHidden or not node.GetHideFromEditors())
            and all(node.GetAttribute(name) == value for kind, name, value in self._attributes if node.IsA(kind))
        )

    def _refresh(self):
        if not Shiboken.isValid(self) or self._scene is None or self._busy or self._scene.IsBatchProcessing():
            return
        nodes, self._busy = self._nodes(), True
        entries = [(node.GetName(), node.GetID()) for node in nodes]
        if self.noneEnabled or not nodes:
            entries.insert(0, ("None" if self.noneEnabled else "Select…", None))
        entries += self._actions()
        self._ids = [identifier for _, identifier in entries]
        self._box.clear()
        self._box.addItems([text for text, _ in entries])
        wanted = self._current if self._current in self._ids else None
        if wanted is None and nodes and not self.noneEnabled and not self._chose_none:
            wanted = nodes[0].GetID()
        self._box.setCurrentIndex(self._ids.index(wanted) if wanted in self._ids else 0)
        self._busy = False
        self._choose(wanted)

    def _picked(self, index):
        if self._busy or not 0 <= index < len(self._ids):
            return
        if self._ids[index] in ACTIONS:
            self._choose(self._nodes()[-1].GetID() if self._nodes() else None)
        else:
            self._choose(self._ids[index])

    def _actions(self):
        """The entries below the nodes."""
        entries = [("", _SEPARATOR)] if self.addEnabled or self.removeEnabled or self.renameEnabled else []
        labels = [self.nodeTypeLabel(kind) for kind in self.nodeTypes]
        label = labels[0] if len(labels) == 1 else "node"
        if self.renameEnabled:
            entries.append((f"Rename current {label}", _RENAME))
        for each in labels if self.addEnabled else ():
            entries.append((f"Create new {each}", _NEW))
            entries += [(f"Create new {each} as...", _NEW_AS)] if self.renameEnabled else []
        return entries + ([(f"Delete current {label}", _DELETE)] if self.removeEnabled else [])

    def _act(self, row):
        """Do what an entry below the nodes stands for."""
        if self._ids[row] == _NEW:
            self.nodeAddedByUser.emit(self.addNode())
        elif self._ids[row] == _DELETE:
            self.removeCurrentNode()

    def _choose(self, identifier):
        if identifier == self._current:
            return
        self._current, self._busy = identifier, True
        self._box.setCurrentIndex(self._ids.index(identifier) if identifier in self._ids else 0)
        self._busy = False
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(identifier or "")

    nodeTypes = stored("QStringList", "nodeTypes", (), "_refresh")
    hideChildNodeTypes = stored("QStringList", "hidden", (), "_refresh")
    showChildNodeTypes = stored(bool, "children", True, "_refresh")
    noneEnabled = stored(bool, "noneEnabled", False, "_refresh")
    addEnabled = stored(bool, "addEnabled", True, "_refresh")
    showHidden = stored(bool, "showHidden", False, "_refresh")
    removeEnabled = stored(bool, "removeEnabled", True)
    renameEnabled = stored(bool, "renameEnabled", False)
    editEnabled = stored(bool, "editEnabled", False)
    selectNodeUponCreation = stored(bool, "select", True)
    baseName = stored(str, "baseName", "")
    sizeAdjustPolicy = Property(
        int,
        lambda self: self._box.sizeAdjustPolicy.value,
        lambda self, value: self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy(value)),
    )
    currentNodeID = Property(str, lambda self: self._current or "", setCurrentNodeID)


class qMRMLTableView(QtWidgets.QTableView):
    """Keeps its node; the cells are not shown."""

    def setMRMLScene(self, scene):
        self._scene = scene

    def setMRMLTableNode(self, node):
        self._node = node

    def mrmlTableNode(self):
        return getattr(self, "_node", None)


def install():
    """Put the widgets where Slicer has them."""
    for name, kind in list(globals().items()):
        if name.startswith(("qMRML", "qSlicer")):
            setattr(slicer, name, kind)
    for name in ("qMRMLSubjectHierarchyTreeView", "qMRMLSubjectHierarchyComboBox"):
        setattr(slicer, name, type(name, (QtWidgets.QWidget,), {}))
