"""The log that the user reads and may send to others: without names of images and of the user."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from SPRRegistrationLib.i18n import tr as _

SHORTEST_NAME = 3
"""Shorter names of nodes are parts of too many words to be replaced."""


def without_names(text: str, names: Iterable[str], home: str = "") -> str:
    """Return a text of the log in which nothing names a patient or the user.

    Args:
        text: The text.
        names: Names of nodes, which may be those of patients.
        home: Home folder, which holds the name of the user; empty for that of this process.
    """
    for name in sorted({name.strip() for name in names}, key=len, reverse=True):
        if len(name) >= SHORTEST_NAME:
            text = text.replace(name, _("[name]"))
    home = home or str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text
