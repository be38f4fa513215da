"""Addresses of the project's pages, from the one file that holds the address of the repository."""

from __future__ import annotations

from functools import cache
from pathlib import Path

HOMEPAGE_FILE = Path(__file__).resolve().parents[1] / "Resources" / "homepage.txt"
"""Written by `tools/homepage.py`."""


@cache
def homepage() -> str:
    """Return the address of the repository."""
    return HOMEPAGE_FILE.read_text(encoding="utf-8").strip()


def tutorial() -> str:
    """Return the address of the tutorial."""
    return f"{homepage()}/blob/main/docs/how-to/use-in-slicer.md"


def troubleshooting() -> str:
    """Return the address of the table of problems and what to do."""
    return f"{tutorial()}#when-something-goes-wrong"


def issues() -> str:
    """Return the address where problems are reported."""
    return f"{homepage()}/issues"
