"""The settings as the last part of an address, so that they can be kept, sent and opened again.

Such a text comes from anywhere: what is unknown or out of range is left out. No images are named in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

LINKED = (
    *("method", "alignment", "anatomy", "start", "prior"),
    *("alpha", "lambdaMax", "sigma", "lambdaMean", "tv", "tvLambdaMax", "strength"),
    *("showDeformed", "deformedOpacity", "showWeight", "weightOpacity", "weightLimit", "showJacobian"),
    *("showDisplacement", "displacementStyle"),
)
"""Fields of the parameters that are part of the address, in the order in which they are set: `anatomy` before what it
sets itself."""

LONGEST = 2000


def link_of(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the settings as a text.

    Args:
        fields: Values by the names of the fields; enumerations by their plain values.
        defaults: Values that are left out.
    """
    return urlencode({name: _written(fields[name]) for name in LINKED if fields[name] != defaults.get(name)})


def fields_in(text: str) -> dict[str, Any]:
    """Return the values in such a text, of the type that the page itself would send; ranges are checked by the panel.

    Args:
        text: What follows the `#` of the address.
    """
    found = dict(parse_qsl(text.lstrip("#")[:LONGEST]))
    return {name: _read(found[name]) for name in LINKED if name in found}


def unknown_in(text: str) -> list[str]:
    """Return the names in such a text that are none of a setting, shortened.

    Args:
        text: What follows the `#` of the address.
    """
    pairs = parse_qsl(text.lstrip("#")[:LONGEST], keep_blank_values=True)
    return [name[:40] for name, _value in pairs if name not in LINKED]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
