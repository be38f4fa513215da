"""What a click of the page may ask for; its arguments are checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from SPRRegistrationLib import panel_state
from SPRRegistrationLib.scene import painting

from SPRCore.errors import SPRError
from SPRExplorer import nodes
from SPRExplorer.files import list_images

logger = logging.getLogger("SPRRegistration")


class Actions:
    """What a click may ask for.

    Args:
        explorer: The application.
    """

    def __init__(self, explorer: Any) -> None:
        self._explorer, self._controller = explorer, explorer.controller
        controller = self._controller
        self.fit, self.load_sample = explorer.views.fit, explorer.load_sample
        self.apply, self.cancel, self.suggest, self.take_suggestion = (
            *(controller.apply, controller.cancel, controller.suggest, controller.take_suggestion),
        )
        self.restart, self.swap, self.undo, self.redo = (
            controller.restart,
            controller.swap,
            controller.undo,
            controller.redo,
        )
        self.restore_contrast = controller.restore_contrast
        self.measure_segments, self.difference = controller.measure_segments, controller.show_difference
        self.list_landmarks = controller.list_landmarks

    def press(self) -> None:
        """Draw faster: a slider is pressed, so that it may move."""
        if self._controller.parameters.live:
            self._explorer.views.scheduler.note_motion()

    def recommend(self, name: str) -> None:
        """Set a hyperparameter to its recommended value."""
        self._controller.recommend(str(name))

    def keep(self, name: str) -> None:
        """Keep what is shown as a snapshot."""
        self._controller.keep(str(name))

    def recall(self, name: str) -> None:
        """Return to a snapshot."""
        self._controller.recall(str(name))

    def jump(self, setting: Mapping[str, float]) -> None:
        """Take the setting of a point of the settings map."""
        if any(dict(point.setting) == setting for point in panel_state.map_points(self._controller)):
            self._controller.go_to(setting)

    def open_listed(self, side: str, name: str) -> None:
        """Open an image of the chosen folder: one of the list, not a path."""
        path = list_images(self._explorer.folder).get(str(name))
        if side in nodes.SIDES and path is not None:
            self._explorer.run_in_background(self._explorer.try_to_open(f"{side}Volume", path))

    def forget(self, field: str) -> None:
        """Remove a second channel, segments or landmarks from the pair."""
        if field in (*nodes.CHANNELS, *nodes.REFERENCES):
            self._controller.choose({field: None})

    def paint(self, label: int, factor: float) -> None:
        """Set the stiffness factor of a segment; a value that no list offers is refused."""
        try:
            self._controller.paint(label, factor)
        except SPRError as error:
            logger.warning("refused a value of the page: %s", error)
        self._explorer.page.factors = painting.table(self._controller.parameters)
