"""Section “Inputs”: the two images, their annotations, and the check of the pair."""

from __future__ import annotations

from SPRRegistrationLib import panel_state
from SPRRegistrationLib.parameters import Alignment
from SPRRegistrationLib.qt.section import Section


class InputsSection(Section):
    """Chooses the images and shows whether they fit."""

    def build(self) -> None:
        """Connect the widgets."""
        self._checked: tuple | None = None
        self.ui.swapButton.connect("clicked()", lambda: self.call("swap"))
        self.ui.alignRigidButton.connect("clicked()", lambda: self.call("align", Alignment.RIGID))
        self.ui.alignAffineButton.connect("clicked()", lambda: self.call("align", Alignment.AFFINE))

    def attach(self) -> None:
        """Choose the images if there are only two."""
        self._checked = None
        self.controller.choose_only_pair()

    def refresh(self) -> None:
        """Check the pair, if it has changed."""
        key = panel_state.check_key(self.controller)
        if key == self._checked:
            return
        self._checked = key
        self.ui.alignmentSelector.enabled = self.parameters.initialTransform is None
        found = panel_state.check_state(self.controller)
        self.ui.alignRigidButton.visible = self.ui.alignAffineButton.visible = found.can_align
        sign = "" if self.controller.why_not else "⚠ " if found.level == "check" else "• "
        self.ui.guardLabel.text = "\n".join(f"{sign}{line}" for line in found.lines)
