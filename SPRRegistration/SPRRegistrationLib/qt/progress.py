"""The text in the progress bar: the part done and the time left."""

from __future__ import annotations

import time

from SPRRegistrationLib import messages, panel_state
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.time_left import TimeLeft


class ProgressSection(Section):
    """Writes into the progress bar."""

    def build(self) -> None:
        """Begin without a computation."""
        self._time_left = TimeLeft()

    def attach(self) -> None:
        """Begin with the computation of another registration."""
        self._time_left = TimeLeft()

    def refresh(self) -> None:
        """Write the part done and the time left."""
        part = panel_state.run_state(self.controller).progress
        self.ui.progressBar.format = messages.progress(self._time_left.update(part, time.monotonic()))
