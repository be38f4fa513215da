"""Nodes that are added to the scene or removed from it while the panel is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer
import vtk

if TYPE_CHECKING:
    from SPRRegistrationLib.qt.widget import SlicerPanel

INPUTS = (
    *("fixedVolume", "movingVolume", "fixedLabels", "movingLabels", "fixedLandmarks", "movingLandmarks"),
    *("stiffnessSegments", "fixedMask", "movingMask", "initialTransform", "nodeToWarp"),
    *("fixedChannel", "movingChannel"),
    *("deformedVolume", "displacementTransform", "weightVolume"),
)
"""Fields that refer to nodes that the user chooses."""


class SceneObserver:
    """Observes the nodes of a scene.

    A node selector whose current node is removed selects the next one, and Slicer's connection would take that for a
    choice of the user: the pair would silently be another one. So a removed node is replaced by none.

    Args:
        panel: The panel.
        scene: The scene.
    """

    def __init__(self, panel: SlicerPanel, scene: slicer.vtkMRMLScene) -> None:
        self._panel, self._scene = panel, scene
        self._leaving: list[tuple[Any, list[str], int]] = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", panel.choose_only_pair)
        first, last = 10.0, -10.0  # before and after the selectors
        self._tags = [
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._leaves, first),
            scene.AddObserver(scene.NodeRemovedEvent, self._left, last),
            scene.AddObserver(scene.NodeAddedEvent, self._came),
        ]

    def close(self) -> None:
        """Remove the observers."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []
        self._timer.stop()
        self._timer.deleteLater()  # its connection holds the panel

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _leaves(self, scene: vtk.vtkObject, event: str, node: slicer.vtkMRMLNode) -> None:
        """Note which fields refer to a node, and hold the events of the parameters back until it is removed."""
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
            self._timer.start()  # delayed: more may be added at once, and voxels may follow the node
