"""How the views keep up with the results, as the panel sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Pace(Protocol):
    """How the views keep up.

    Attributes:
        is_behind: Whether results wait to be drawn, so that none is computed that nobody sees.
        is_moving: Whether a slider moves.
    """

    is_behind: bool
    is_moving: bool


@dataclass
class AtRest:
    """The pace of views that are drawn at once."""

    is_behind: bool = False
    is_moving: bool = False
