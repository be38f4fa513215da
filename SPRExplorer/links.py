"""Settings as the fragment of a URL, to bookmark and to share.

The text is not trusted: unknown or invalid parts are ignored. It names no images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

LINKED = (
    *("method", "alignment", "anatomy", "start", "similarity", "prior"),
    *("alpha", "lambdaMax", "sigma", "lambdaMean", "tv", "tvLambdaMax", "strength"),
    *("showDeformed", "deformedOpacity", "showWeight", "weightOpacity", "weightLimit", "showJacobian"),
    *("showUncertainty", "uncertaintyOpacity", "hatchAboveMm", "showDisplacement", "displacementStyle"),
)
"""Fields of the parameters that are part of the URL, in the order in which they are set: `anatomy` before the fields
that it sets."""

MAX_LENGTH = 2000


def link_of(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the fragment for settings.

    Args:
        fields: Values by field; enumerations as their plain values.
        defaults: Values that are omitted.
    """
    return urlencode({name: _format(fields[name]) for name in LINKED if fields[name] != defaults.get(name)})


def fields_in(text: str) -> dict[str, Any]:
    """Return the values in a fragment, typed as the page sends them; the controller checks ranges.

    Args:
        text: The fragment, with or without `#`.
    """
    found = dict(parse_qsl(text.lstrip("#")[:MAX_LENGTH]))
    return {name: _parse(found[name]) for name in LINKED if name in found}


def unknown_in(text: str) -> list[str]:
    """Return the unknown names in a fragment, shortened.

    Args:
        text: The fragment, with or without `#`.
    """
    pairs = parse_qsl(text.lstrip("#")[:MAX_LENGTH], keep_blank_values=True)
    return [name[:40] for name, _value in pairs if name not in LINKED]


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _parse(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
