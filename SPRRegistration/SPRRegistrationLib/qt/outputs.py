"""Section “Outputs and warping”: nodes for the results, and what is deformed like the moving image."""

from __future__ import annotations

from SPRCore.errors import SPRError
from SPRRegistrationLib import messages
from SPRRegistrationLib.qt.section import Section, words_of
from SPRRegistrationLib.scene import geometry, outputs, uncertainty


class OutputsSection(Section):
    """Deforms further nodes; the selectors of the results are connected to the parameters."""

    def build(self) -> None:
        """Connect the button."""
        self.ui.warpButton.connect("clicked()", self.warp)

    def attach(self) -> None:
        """Remove the message about another registration."""
        self.ui.warpLabel.text = ""

    def refresh(self) -> None:
        """Enable the button while there is a deformation and something to deform."""
        parameters = self.parameters
        transform = parameters.displacementTransform
        has_result = transform is not None and geometry.displacement_of(transform) is not None
        self.ui.warpButton.enabled = has_result and parameters.nodeToWarp is not None and outputs.is_alive(parameters)

    def warp(self) -> None:
        """Deform the chosen node, and say what became of it."""
        if self.controller is None:
            return
        try:
            made = self.controller.warp()
        except SPRError as error:
            self.ui.warpLabel.text = words_of(error)
        else:
            if made is not None:
                is_preview, words = outputs.is_preview(self.parameters), uncertainty.words_about(made)
                self.ui.warpLabel.text = messages.warped(made.GetName(), is_preview, words)
