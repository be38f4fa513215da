"""What a click of the page may ask for. What comes along with it is not trusted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from SPRRegistrationLib import suggestion

from SPRCore.errors import SPRError
from SPRExplorer import nodes, painting
from SPRExplorer.files import list_images

logger = logging.getLogger("SPRRegistration")


class Wishes:
    """What a click may ask for.

    Args:
        explorer: The application.
    """

    def __init__(self, explorer: Any) -> None:
        self._explorer, self._panel = explorer, explorer.panel
        self.fit, self.load_sample = explorer.views.fit, explorer.load_sample
        self.apply, self.cancel, self.suggest = self._panel.apply, self._panel.cancel, self._panel.suggest
        self.restart, self.swap = self._panel.restart, self._panel.swap
        self.measure_segments, self.difference = self._panel.measure_segments, self._panel.show_difference

    def press(self) -> None:
        """A slider is taken hold of: from now on it may move."""
        if self._panel.parameters.live:
            self._explorer.views.scheduler.note_motion()

    def undo(self) -> None:
        """Go back to the setting before."""
        self._panel.step(-1)

    def redo(self) -> None:
        """Go on to the setting that was undone."""
        self._panel.step(1)

    def recommend(self, name: str) -> None:
        """Set a hyperparameter to its recommended value."""
        self._panel.recommend(str(name))

    def take_suggestion(self) -> None:
        """Go to the setting that is suggested."""
        setting = suggestion.marked(self._panel.parameters)
        if setting:
            self._panel.go_to(setting)

    def keep(self, name: str) -> None:
        """Keep what is shown as a snapshot."""
        self._panel.keep(str(name))

    def recall(self, name: str) -> None:
        """Return to a snapshot."""
        self._panel.recall(str(name))

    def jump(self, setting: Mapping[str, float]) -> None:
        """Go to a point of the settings map, and to nothing else."""
        points = [] if self._panel.session is None else self._panel.session.points
        if any(dict(point.setting) == setting for point in points):
            self._panel.go_to(setting)

    def open_listed(self, side: str, name: str) -> None:
        """Open an image of the chosen folder: one of the list, not a path."""
        path = list_images(self._explorer.folder).get(str(name))
        if side in nodes.SIDES and path is not None:
            self._explorer.run_in_background(self._explorer.try_to_open(f"{side}Volume", path))

    def forget(self, field: str) -> None:
        """Measure without these segments or landmarks."""
        if field in nodes.REFERENCES:
            self._panel.choose({field: None})

    def paint(self, label: int, factor: float) -> None:
        """Make a segment stiffer or freer; what no list offers is refused."""
        try:
            self._panel.paint(label, factor)
        except SPRError as error:
            logger.warning("the page asked for %s", error)
        self._explorer.state.painted = painting.table(self._panel.parameters)
