"""Phantoms whose true displacement is known exactly, for tests, examples and honest comparisons."""

from __future__ import annotations

from SPRCore.synthetic.phantom import Phantom
from SPRCore.synthetic.thorax import sliding_thorax

__all__ = ["Phantom", "sliding_thorax"]
