"""The controller of one registration, with what the page of the Explorer needs beyond the panel in 3D Slicer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
from SPRRegistrationLib import panel_state
from SPRRegistrationLib.controller import Controller
from SPRRegistrationLib.parameters import SPRRegistrationParameters
from SPRRegistrationLib.scene import display, legends, outputs
from SPRRegistrationLib.session import kind_of
from SPRRegistrationLib.sliders import FIELDS
from SPRRegistrationLib.worker_control import WorkerOptions

from SPRExplorer import changes, nodes
from SPRExplorer.transport import AsyncTransport

BUDGET_MS = 30.0
"""Of a preview: less than the worker's default, since server and browser share its CPU."""


class ExplorerController(Controller):
    """The only registration of the Explorer, and its views.

    Args:
        scene: The scene, which is `slicer.mrmlScene`.
        worker: How workers are started.
        on_change: Called after anything has changed that the page shows.
        on_pictures: Called when the views have to be drawn.

    Attributes:
        cursor: What is under the mouse, in words.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        worker: WorkerOptions,
        on_change: Callable[[], object] = lambda: None,
        on_pictures: Callable[[], object] = lambda: None,
    ) -> None:
        node = scene.AddNode(slicer.vtkMRMLScriptedModuleNode())
        node.SetName("SPRRegistration")
        self.scene, self.cursor, self._on_pictures = scene, "", on_pictures
        self._kind: tuple[bool, bool] | None = None
        self._uncertainty: Any = None  # the one that the views show
        self._linked_cursor: display.LinkedCursor | None = None
        self._ends_gesture = False
        super().__init__(
            SPRRegistrationParameters(node), worker, AsyncTransport(), on_change=on_change, on_result=self._draw_result
        )
        self.may_start = lambda: self.opens_by_itself  # the page is shown first

    def add(self, field: str, title: str, content: Sequence[np.ndarray]) -> None:
        """Put an image, a second channel, segments or landmarks into the scene, as `nodes.add` does, and choose it."""
        self.choose({field: nodes.add(self.scene, field, title, content)})

    def change(self, field: str, value: Any) -> None:
        """Set a field of the parameters to a value from the page; arguments and errors as `changes.take`."""
        if changes.take(self, field, value):
            self.changed(in_gesture=field in FIELDS)

    def changed(self, in_gesture: bool = False) -> None:
        """Act on changed parameters, as `Controller.changed`, and bring the views to them."""
        images = self._images
        super().changed(in_gesture)
        if self._images != images:
            self._show_inputs()
        elif not in_gesture and not self._ends_gesture:
            self.show()

    def end_gesture(self) -> None:
        """As `Controller.end_gesture`; the views have followed the slider and are not drawn again."""
        self._ends_gesture = True
        try:
            super().end_gesture()
        finally:
            self._ends_gesture = False

    def show(self) -> None:
        """Bring the views to the parameters, once there is a deformation."""
        has_result = self.parameters.displacementTransform is not None and self._shown is not None
        if has_result and outputs.is_alive(self.parameters):
            display.show(self.parameters)
            legends.show(self.parameters, None)  # the page has its own, with sharper letters
            self._on_pictures()

    def announce(self) -> None:
        """As `Controller.announce`; a new uncertainty, or none any more, is shown first."""
        found = None if self.session is None else self.session.uncertainty
        if found is not self._uncertainty:
            self._uncertainty = found
            self.show()
        super().announce()

    async def close(self) -> None:
        """End the worker."""
        if self._linked_cursor is not None:
            self._linked_cursor.remove()
        self.end_session()
        await self.transport.stop()

    def _draw_result(self) -> None:
        kind, self._kind = self._kind, None if self._shown is None else kind_of(self._shown)
        if kind != self._kind:
            self.show()
        self._on_pictures()

    def _show_inputs(self) -> None:
        """Show the images as they are, until there is a deformation."""
        fixed, moving = self.parameters.fixedVolume, self.parameters.movingVolume
        if fixed is not None or moving is not None:
            both = fixed is not None and moving is not None
            slicer.util.setSliceViewerLayers(
                background=fixed or moving, foreground=moving if both else None, foregroundOpacity=0.5 if both else 0.0
            )
        if fixed is not None:
            if self._linked_cursor is not None:
                self._linked_cursor.remove()
            self._linked_cursor = display.LinkedCursor(self.parameters, self._cursor_moved)

    def _cursor_moved(self, position: tuple[float, float, float] | None) -> None:
        self.cursor = panel_state.cursor_text(self, position)
        self.on_change()
