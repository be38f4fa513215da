"""Section “Regularization”: part of the body, start, and the setting that is suggested for the pair."""

from __future__ import annotations

from SPRRegistrationLib import anatomies, suggestion
from SPRRegistrationLib.parameters import INSTANCE, Anatomy
from SPRRegistrationLib.qt.section import Section

OF_THE_OPTIMIZATION = ("anatomyLabel", "anatomySelector", "startLabel", "startSelector")
"""Widgets that a task model has no use for."""


class Suggestion(Section):
    """Settings that come from somewhere else than the sliders."""

    def build(self) -> None:
        """Connect the widgets."""
        self.ui.anatomySelector.connect("currentIndexChanged(int)", self._choose_anatomy)
        self.ui.suggestButton.connect("clicked()", self.suggest)
        self.ui.takeButton.connect("clicked()", self.take)

    def refresh(self) -> None:
        """Show what is suggested, and what can be asked for."""
        for name in OF_THE_OPTIMIZATION:
            getattr(self.ui, name).visible = self.parameters.method == INSTANCE
        shown = suggestion.shown(self.parameters, self.session)
        self.ui.suggestButton.visible = shown.is_there
        self.ui.suggestButton.enabled = shown.can_ask
        self.ui.takeButton.visible = shown.can_take
        self.ui.suggestLabel.text = shown.line
        self.ui.suggestLabel.visible = bool(shown.line)

    def suggest(self) -> None:
        """Have a setting chosen for the pair, in the background."""
        session = self.panel.ready_session()
        if session is not None:
            session.choose()
        self.panel.refresh()

    def take(self) -> None:
        """Set prior and sliders to what is suggested."""
        suggestion.take(self.parameters)

    def _choose_anatomy(self, index: int) -> None:
        chosen = list(Anatomy)[index] if index >= 0 else None
        if not self.panel.is_refreshing and chosen not in (None, self.parameters.anatomy):
            anatomies.choose(self.parameters, chosen)
