"""What the panel does when images and other inputs come into the scene or leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer
import vtk

if TYPE_CHECKING:
    from SPRRegistrationLib.qt.widget import Panel

INPUTS = (
    *("fixedVolume", "movingVolume", "fixedLabels", "movingLabels", "fixedLandmarks", "movingLandmarks"),
    "stiffnessSegments",
)
"""Fields that refer to what the user chooses among the nodes of the scene."""


class Nodes:
    """Follows the nodes of a scene.

    A list of nodes whose current one is deleted goes on to the next one by itself, and the connection of Slicer would
    take that for a choice of the user: the pair would silently be another one. So what was deleted is none.

    Args:
        panel: The panel.
        scene: The scene.
    """

    def __init__(self, panel: Panel, scene: slicer.vtkMRMLScene) -> None:
        self._panel, self._scene = panel, scene
        self._leaving: list[tuple[Any, list[str], int]] = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", panel.choose_only_pair)
        first, last = 10.0, -10.0  # before and after the lists
        self._tags = [
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._leaves, first),
            scene.AddObserver(scene.NodeRemovedEvent, self._left, last),
            scene.AddObserver(scene.NodeAddedEvent, self._came),
        ]

    def close(self) -> None:
        """Follow nothing any more."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []
        self._timer.stop()
        self._timer.deleteLater()  # its connection holds the panel

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _leaves(self, scene: vtk.vtkObject, event: str, node: slicer.vtkMRMLNode) -> None:
        """Note what a node is chosen for, and hold news of it back until it has left."""
        parameters = self._panel.parameters
        if parameters is not None:
            fields = [field for field in INPUTS if getattr(parameters, field) is node]
            self._leaving.append((parameters, fields, parameters.StartModify() if fields else 0))
        else:
            self._leaving.append((None, [], 0))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _left(self, scene: vtk.vtkObject, event: str, node: slicer.vtkMRMLNode) -> None:
        parameters, fields, was_modifying = self._leaving.pop() if self._leaving else (None, [], 0)
        for field in fields:
            setattr(parameters, field, None)
        if fields:
            parameters.EndModify(was_modifying)
        self._panel.end_orphans()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _came(self, scene: vtk.vtkObject, event: str, node: slicer.vtkMRMLNode) -> None:
        if node.IsA("vtkMRMLScalarVolumeNode"):
            self._timer.start()  # later: more may come at once, and its voxels may follow
