"""The controllers of the registrations of the scene, which the panel and scripts share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import slicer
import vtk

from SPRRegistrationLib.controller import Controller
from SPRRegistrationLib.parameters import SPRRegistrationParameters
from SPRRegistrationLib.qt import install, process
from SPRRegistrationLib.worker_control import WorkerOptions

REQUIREMENTS = Path(__file__).parents[2] / "Resources" / "requirements.txt"


class Controllers:
    """One controller for each registration of the scene.

    Attributes:
        by_node: The controllers, by the identifiers of the nodes.
        worker: How workers are started.
        missing: Returns what has to be installed before a worker can run.
    """

    def __init__(self) -> None:
        self.by_node: dict[str, Controller] = {}
        self.worker = WorkerOptions(process.worker_command())
        self.missing: Callable[[], list[str]] = lambda: install.missing(REQUIREMENTS)
        self._scene: vtk.vtkObject | None = None
        self._tags: list[int] = []

    def of(self, parameters: SPRRegistrationParameters) -> Controller:
        """Return the controller of a registration; a new one has no face."""
        identifier = parameters.parameterNode.GetID()
        if identifier not in self.by_node:
            self._observe(parameters.parameterNode.GetScene())
            found = Controller(parameters, self.worker, process.QProcessTransport())
            found.may_start = lambda: not self.missing()
            self.by_node[identifier] = found
        return self.by_node[identifier]

    def end(self, identifier: str) -> None:
        """End the worker of a registration, and forget its controller."""
        controller = self.by_node.pop(identifier)
        controller.end_session()
        controller.transport.stop()

    def end_deleted(self) -> None:
        """End the workers of registrations that were deleted."""
        for identifier in [key for key in self.by_node if slicer.mrmlScene.GetNodeByID(key) is None]:
            self.end(identifier)

    def end_all(self) -> None:
        """End all workers, and observe the scene no longer: it is closed, or 3D Slicer ends."""
        for identifier in list(self.by_node):
            self.end(identifier)
        if self._scene is not None:
            for tag in self._tags:
                self._scene.RemoveObserver(tag)
            slicer.app.disconnect("aboutToQuit()", self.end_all)
            self._scene = None

    def _observe(self, scene: vtk.vtkObject) -> None:
        """End workers with the scene, with 3D Slicer and with their registrations, for scripts without the panel."""
        if self._scene is None:
            self._scene = scene
            self._tags = [
                scene.AddObserver(scene.StartCloseEvent, lambda caller, event: self.end_all()),
                scene.AddObserver(scene.NodeRemovedEvent, lambda caller, event: self.end_deleted()),
            ]
            slicer.app.connect("aboutToQuit()", self.end_all)


@cache
def shared() -> Controllers:
    """Return the controllers of this process."""
    return Controllers()
