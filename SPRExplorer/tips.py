"""The tooltips of the panel in 3D Slicer, read from its .ui file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

FILE = Path(__file__).parents[1] / "SPRRegistration" / "Resources" / "UI" / "SPRRegistration.ui"


@cache
def _tooltips() -> dict[str, str]:
    """Return the tooltips by widget and by field; none in an installed package, which has no .ui file."""
    if not FILE.is_file():
        return {}
    found = {}
    for widget in ElementTree.parse(FILE).iter("widget"):
        texts = {item.get("name"): "".join(item.itertext()).strip() for item in widget.findall("property")}
        for name in (widget.get("name"), texts.get("SlicerParameterName")):
            if name and texts.get("toolTip"):
                found[name] = texts["toolTip"]
    return found


def tooltip_of(name: str) -> str:
    """Return the tooltip of a widget or field; empty if there is none."""
    return _tooltips().get(name, "")
