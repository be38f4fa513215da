"""What all sections of the panel have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from SPRCore.errors import SPRError

if TYPE_CHECKING:
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.qt.widget import Panel
    from SPRRegistrationLib.session import RegistrationSession


class Section:
    """A part of the panel.

    Args:
        panel: The panel.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel, self.ui = panel, panel.ui
        self.build()

    @property
    def parameters(self) -> SPRRegistrationParameters:
        """The registration that is looked at."""
        return self.panel.parameters

    @property
    def session(self) -> RegistrationSession | None:
        """Its worker, if there is one."""
        return self.panel.session

    def build(self) -> None:
        """Connect the widgets, once."""

    def attach(self) -> None:
        """Take up another registration."""

    def refresh(self) -> None:
        """Show how things stand."""

    def detach(self) -> None:
        """Let go of the registration."""


def words_of(error: Exception) -> str:
    """Return what went wrong as a sentence for the user."""
    from SPRRegistrationLib import messages

    return messages.refused(error) if isinstance(error, SPRError) else str(error)
