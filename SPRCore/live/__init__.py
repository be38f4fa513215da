"""Registration that answers while its sliders move: in process (`LiveSession`), or in a worker process.

The names below are loaded on first use: a process that only talks to a worker loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SPRCore.live.reply import ChosenSetting, Quality, Reply, Superseded, SweepPoint
    from SPRCore.live.session import LiveSession

_HOME = {
    "ChosenSetting": "SPRCore.live.reply",
    "LiveSession": "SPRCore.live.session",
    "Quality": "SPRCore.live.reply",
    "Reply": "SPRCore.live.reply",
    "Superseded": "SPRCore.live.reply",
    "SweepPoint": "SPRCore.live.reply",
}

__all__ = ["ChosenSetting", "LiveSession", "Quality", "Reply", "Superseded", "SweepPoint"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
