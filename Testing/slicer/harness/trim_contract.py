"""Makes `contract.json` from what the headers of Slicer and Qt say: python trim_contract.py WIDGETS.json QT.json."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

USER_INTERFACE = Path(__file__).resolve().parents[3] / "SPRRegistration" / "Resources" / "UI" / "SPRRegistration.ui"
ALSO = ("QProcess", "QTimer", "QFileDialog", "QMessageBox", "QInputDialog", "QShortcut", "QSettings", "QAction")
DIALOGS = ("QProgressDialog",)
APPLICATION = ("qSlicerApplication", "qSlicerLayoutManager", "qSlicerModuleManager", "qMRMLSliceWidget")
EXTENSIONS = ("qSlicerExtensionsManagerModel",)


def trim(classes, wanted):
    """Keep the classes that are wanted and all their bases, and of each the names that Python can reach."""
    kept = {}
    for kind in wanted:
        while kind in classes and kind not in kept:
            facts = classes[kind]
            methods = (*facts["slots"], *facts["invokables"], *facts.get("decorator_methods", ()))
            enums = facts.get("enums", {}).values()
            kept[kind] = {
                "base": facts["base"],
                "properties": {name: bool(about["write"]) for name, about in sorted(facts["properties"].items())},
                "signals": sorted({normalized(text) for text in facts["signals"]}),
                "methods": sorted({name_of(text) for text in methods} | set(facts.get("all_public", ()))),
                "enums": sorted({value for enum in enums for value in enum.get("values", ())}),
            }
            kind = facts["base"]
    return kept


def name_of(signature):
    """Return the name of a method from how C++ declares it."""
    return re.search(r"(\w+)\s*\(", signature).group(1)


def normalized(signal):
    """Return a signal as Qt writes it to connect it: its name and the types of its arguments."""
    name, arguments = re.search(r"(\w+)\s*\((.*)\)", signal).groups()
    return f"{name}({','.join(filter(None, map(type_of, arguments.split(','))))})"


def type_of(argument):
    """Return the type of an argument, without its name, default, and what does not matter to Qt."""
    text = re.sub(r"^const\s+|\s*&|\s*=.*$", "", argument.strip())
    words = re.sub(r"\s*\*", "* ", text).split()
    if len(words) > 1 and words[0] != "unsigned":
        words = words[:-1]
    return "" if words == ["QPrivateSignal"] else "".join(words)


def main(widgets, qt):
    """Read both files and write the trimmed one."""
    classes = json.loads(Path(qt).read_text(encoding="utf-8")) | json.loads(Path(widgets).read_text(encoding="utf-8"))
    used = {item.get("class") for item in ElementTree.parse(USER_INTERFACE).iter("widget")}
    kept = trim(classes, [*sorted(used), *ALSO, *DIALOGS, *APPLICATION, *EXTENSIONS])
    text = "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(kept[name])}" for name in sorted(kept)) + "\n}\n"
    Path(__file__).with_name("contract.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
