"""Whether the stiffness map that is shown tells anatomy apart, in words, and the setting after which it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SPRCore.regularization.contrast import MOST_AT_BOUND_PERCENT
from SPRRegistrationLib import messages
from SPRRegistrationLib.i18n import tr as _


@dataclass(frozen=True)
class MapContrastState:
    """What a face shows about the contrast of the stiffness map.

    Attributes:
        line: Sentences about a map without contrast; empty for none.
        setting: Hyperparameters, by the worker's names, at which the map should have contrast; empty for none.
    """

    line: str = ""
    setting: Mapping[str, float] = field(default_factory=dict)


def is_possible(result: Any) -> bool:
    """Return whether the stiffness map of a result may have contrast; of previews it is not known."""
    return result.contrast is None or result.contrast.verdict == "informative"


def state_of(session: Any) -> MapContrastState:
    """Return what is shown about the last result of a session (or None); nothing about previews, which move."""
    shown = None if session is None else session.shown
    contrast = None if shown is None else shown.contrast
    if contrast is None or is_possible(shown):
        return MapContrastState()
    if contrast.verdict == "uniform":
        return MapContrastState(
            _("The stiffness map says nothing: with this kind of stiffness it is the same everywhere. Choose another.")
        )
    said = _("The stiffness map says little: {what}.").format(what=_what(contrast))
    moves = [_move(name, shown.setting[name], value) for name, value in contrast.move.items()]
    return MapContrastState(" ".join([said, *moves]), {**shown.setting, **contrast.move} if moves else {})


def _what(contrast: Any) -> str:
    percent = max(contrast.maximum_percent, contrast.zero_percent)
    if percent < MOST_AT_BOUND_PERCENT:
        text = _("90 % of the anatomy lies between {low:.2f} and {high:.2f}")
        return text.format(low=contrast.p05, high=contrast.p95)
    if contrast.maximum_percent > contrast.zero_percent:
        return _("{percent:.0f} % of the anatomy is as stiff as possible").format(percent=percent)
    return _("{percent:.0f} % of the anatomy is entirely free").format(percent=percent)


def _move(name: str, before: float, after: float) -> str:
    label = messages.setting_names().get(name, name)
    text = _("Lower {name} from {before:.3g} to about {after:.3g} to see differences.")
    if after > before:
        text = _("Raise {name} from {before:.3g} to about {after:.3g} to see differences.")
    return text.format(name=label, before=before, after=after)
