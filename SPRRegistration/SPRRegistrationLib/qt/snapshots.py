"""Part of “Settings map”: snapshots A, B, C to compare, undo and redo."""

from __future__ import annotations

from SPRRegistrationLib import panel_state
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import snapshots


class SnapshotsSection(Section):
    """Buttons that keep and recall settings."""

    def build(self) -> None:
        """Connect the buttons."""
        for name in snapshots.NAMES:
            self._connect(name)
        self.ui.undoButton.connect("clicked()", lambda: self.call("undo"))
        self.ui.redoButton.connect("clicked()", lambda: self.call("redo"))
        self.ui.differenceButton.connect("clicked()", lambda: self.call("show_difference"))

    def refresh(self) -> None:
        """Enable what is possible."""
        kept, history = panel_state.kept_settings(self.controller), snapshots.history_of(self.parameters)
        for name in snapshots.NAMES:
            button = getattr(self.ui, f"show{name}Button")
            button.enabled = name in kept
            if name in kept:
                button.toolTip = f"{name}: {kept[name]}"
        self.ui.undoButton.enabled, self.ui.redoButton.enabled = history.can_undo, history.can_redo
        self.ui.differenceButton.enabled = {"A", "B"} <= kept.keys()

    def _connect(self, name: str) -> None:
        getattr(self.ui, f"store{name}Button").connect("clicked()", lambda: self.call("keep", name))
        getattr(self.ui, f"show{name}Button").connect("clicked()", lambda: self.call("recall", name))
