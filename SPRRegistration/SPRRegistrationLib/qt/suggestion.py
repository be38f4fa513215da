"""Section “Regularization”: anatomy preset, start, and the setting that is suggested for the pair."""

from __future__ import annotations

from SPRRegistrationLib import panel_state
from SPRRegistrationLib.parameters import INSTANCE, AnatomyChoice
from SPRRegistrationLib.qt.section import Section

ANATOMY_WIDGETS = ("anatomyLabel", "anatomySelector")
START_WIDGETS = ("startLabel", "startSelector", "similarityLabel", "similaritySelector")
"""Widgets of the instance optimization alone; those of the start are in a group, which decides what is visible."""


class SuggestionSection(Section):
    """Settings that are not chosen by the sliders."""

    def build(self) -> None:
        """Connect the widgets."""
        self.ui.anatomySelector.connect("currentIndexChanged(int)", self._choose_anatomy)
        self.ui.suggestButton.connect("clicked()", lambda: self.panel.run_section.call_installed("suggest"))
        self.ui.takeButton.connect("clicked()", lambda: self.call("take_suggestion"))

    def refresh(self) -> None:
        """Show the suggestion, and whether one can be requested."""
        is_instance = self.parameters.method == INSTANCE
        for name in ANATOMY_WIDGETS:
            getattr(self.ui, name).visible = is_instance
        for name in START_WIDGETS:
            getattr(self.ui, name).enabled = is_instance
        state = panel_state.suggestion_state(self.controller)
        self.ui.suggestButton.visible = state.is_there
        self.ui.suggestButton.enabled = state.can_ask
        self.ui.takeButton.visible = state.can_take
        self.ui.suggestLabel.text = state.line
        self.ui.suggestLabel.visible = bool(state.line)

    def _choose_anatomy(self, index: int) -> None:
        chosen = list(AnatomyChoice)[index] if index >= 0 else None
        if not self.panel.is_refreshing and chosen not in (None, self.parameters.anatomy):
            self.controller.choose_anatomy(chosen)
