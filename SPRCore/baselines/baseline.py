"""What every baseline can do."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from SPRCore.geometry import Field, Volume


@runtime_checkable
class Baseline(Protocol):
    """A method of others, with its settings as the fields of a frozen dataclass."""

    def check(self) -> None:
        """Find out whether the method can run on this machine.

        Raises:
            InputError: What it needs is not installed.
        """
        ...

    def register(self, fixed: Volume, moving: Volume) -> Field:
        """Deform one image onto the other.

        Args:
            fixed: Fixed image.
            moving: Moving image on the grid of the fixed one, aligned as a whole.

        Returns:
            Pull displacement on the fixed grid, RAS mm.

        Raises:
            InputError: What it needs is not installed.
            ConvergenceError: It failed.
        """
        ...
