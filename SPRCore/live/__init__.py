"""Registration that follows its sliders: in process (`LiveSession`), or in a worker process.

Names are loaded on first use, so that a client of a worker loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SPRCore.live.options import LiveOptions
    from SPRCore.live.parts import ChosenSetting, DeformationQuality
    from SPRCore.live.protocol import SweepPoint
    from SPRCore.live.reply import ComputationStopped, Reply
    from SPRCore.live.session import LiveSession

_HOME = {
    "ChosenSetting": "parts",
    "ComputationStopped": "reply",
    "DeformationQuality": "parts",
    "LiveOptions": "options",
    "LiveSession": "session",
    "Reply": "reply",
    "SweepPoint": "protocol",
}

__all__ = [
    "ChosenSetting",
    "ComputationStopped",
    "DeformationQuality",
    "LiveOptions",
    "LiveSession",
    "Reply",
    "SweepPoint",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"SPRCore.live.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
