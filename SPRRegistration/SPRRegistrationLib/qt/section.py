"""What all sections of the panel have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from SPRCore.errors import SPRError
from SPRRegistrationLib import messages

if TYPE_CHECKING:
    from SPRRegistrationLib.controller import Controller
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.qt.widget import SlicerPanel


class Section:
    """A part of the panel.

    Args:
        panel: The panel.
    """

    def __init__(self, panel: SlicerPanel) -> None:
        self.panel, self.ui = panel, panel.ui
        self.build()

    @property
    def controller(self) -> Controller | None:
        """The controller of the current registration; None for no registration."""
        return self.panel.controller

    @property
    def parameters(self) -> SPRRegistrationParameters | None:
        """The parameters of the current registration; None for no registration."""
        return self.panel.parameters

    def call(self, method: str, *arguments: object) -> None:
        """Call a method of the controller, if there is a registration."""
        if self.controller is not None:
            getattr(self.controller, method)(*arguments)

    def build(self) -> None:
        """Connect the widgets, once."""

    def attach(self) -> None:
        """Show another registration."""

    def refresh(self) -> None:
        """Bring the widgets to the registration; called often, so it must be cheap."""

    def detach(self) -> None:
        """Release the registration."""


def words_of(error: Exception) -> str:
    """Return an error as a sentence for the user."""
    return messages.refused(error) if isinstance(error, SPRError) else str(error)
