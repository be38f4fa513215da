"""The explanations of the panel in 3D Slicer, taken from its file, so that both panels say the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

FILE = Path(__file__).parents[1] / "SPRRegistration" / "Resources" / "UI" / "SPRRegistration.ui"


@cache
def all_tips() -> dict[str, str]:
    """Return the explanations, by the names of the widgets and of the fields that they change.

    Where only the package is installed, without the resources of the module, there are none.
    """
    if not FILE.is_file():
        return {}
    found = {}
    for widget in ElementTree.parse(FILE).iter("widget"):
        texts = {item.get("name"): "".join(item.itertext()).strip() for item in widget.findall("property")}
        for name in (widget.get("name"), texts.get("SlicerParameterName")):
            if name and texts.get("toolTip"):
                found[name] = texts["toolTip"]
    return found


def tip(name: str) -> str:
    """Return the explanation of a widget or field; empty if there is none."""
    return all_tips().get(name, "")
