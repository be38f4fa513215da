"""The interface of baselines."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from SPRCore.geometry import Field, Volume


@runtime_checkable
class Baseline(Protocol):
    """A baseline method, with its settings as the fields of a frozen dataclass."""

    def check(self) -> None:
        """Check that the method can run on this machine.

        Raises:
            InputError: A requirement is not installed.
        """
        ...

    def register(self, fixed: Volume, moving: Volume) -> Field:
        """Deform an image, affinely aligned on the fixed grid: pull displacement on the fixed grid, RAS mm.

        Raises:
            InputError: A requirement is not installed.
            ConvergenceError: It failed.
        """
        ...
