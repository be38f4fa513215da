"""Translation of what the user reads; outside of Slicer, the English words."""

from __future__ import annotations

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """Return the text as it is."""
        return text


__all__ = ["tr"]
