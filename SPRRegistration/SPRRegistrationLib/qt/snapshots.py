"""Part of “Settings map”: snapshots A, B, C to compare, and the way back."""

from __future__ import annotations

import json

import slicer

from SPRRegistrationLib import messages
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import snapshots


class SnapshotButtons(Section):
    """Buttons that keep and recall settings."""

    def build(self) -> None:
        """Connect the buttons."""
        for name in snapshots.NAMES:
            self._connect(name)
        self.ui.undoButton.connect("clicked()", lambda: self._step(-1))
        self.ui.redoButton.connect("clicked()", lambda: self._step(1))
        self.ui.differenceButton.connect("clicked()", self.show_difference)

    def attach(self) -> None:
        """Note where undo leads back to."""
        snapshots.record(self.parameters)

    def refresh(self) -> None:
        """Note a setting that was chosen, and offer what there is."""
        snapshots.record(self.parameters)
        kept, history = snapshots.snapshots_of(self.parameters), snapshots.history_of(self.parameters)
        for name in snapshots.NAMES:
            button = getattr(self.ui, f"show{name}Button")
            button.enabled = name in kept
            if name in kept:
                names = messages.setting_names()
                values = [f"{names.get(key, key)} {value:g}" for key, value in kept[name].setting.items()]
                button.toolTip = f"{name}: " + ", ".join(values)
        self.ui.undoButton.enabled, self.ui.redoButton.enabled = history.can_undo, history.can_redo
        self.ui.differenceButton.enabled = {"A", "B"} <= kept.keys()

    def show_difference(self) -> None:
        """Show how far apart snapshots A and B move the tissue."""
        volume = snapshots.difference_mm(self.parameters, "A", "B")
        if volume is not None:
            slicer.util.setSliceViewerLayers(foreground=volume, foregroundOpacity=0.6)

    def _connect(self, name: str) -> None:
        getattr(self.ui, f"store{name}Button").connect("clicked()", lambda: self._keep(name))
        getattr(self.ui, f"show{name}Button").connect("clicked()", lambda: snapshots.recall(self.parameters, name))

    def _step(self, by: int) -> None:
        """Move in the history; as one change, for what is seen in between would be taken for a new setting."""
        with slicer.util.NodeModify(self.parameters):
            snapshots.step(self.parameters, by)

    def _keep(self, name: str) -> None:
        shown = None if self.session is None else self.session.shown
        saved = json.loads(self.parameters.quality) if self.parameters.quality else {}
        snapshots.keep(self.parameters, name, saved if shown is None else vars(shown.quality))
