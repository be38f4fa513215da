"""Registration that follows its sliders: in process (`LiveSession`), or in a worker process.

Names are loaded on first use, so that a client of a worker loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from SPRCore.lazy import lazy_names

if TYPE_CHECKING:
    from SPRCore.live.options import LiveOptions
    from SPRCore.live.parts import ChosenSetting, DeformationQuality
    from SPRCore.live.protocol import SweepPoint
    from SPRCore.live.reply import ComputationStopped, Reply, UncertaintyReply
    from SPRCore.live.session import LiveSession

__all__ = [
    "ChosenSetting",
    "ComputationStopped",
    "DeformationQuality",
    "LiveOptions",
    "LiveSession",
    "Reply",
    "SweepPoint",
    "UncertaintyReply",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "parts": ("ChosenSetting", "DeformationQuality"),
        "reply": ("ComputationStopped", "Reply", "UncertaintyReply"),
        "options": ("LiveOptions",),
        "session": ("LiveSession",),
        "protocol": ("SweepPoint",),
    },
)
