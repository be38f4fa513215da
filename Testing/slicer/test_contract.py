"""The panel uses nothing of Qt, CTK and Slicer that is not there: what the .ui file names, and what Python names."""

from __future__ import annotations

import ast
import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from harness import contract, core

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SPRRegistration"
TREE = ElementTree.parse(MODULE / "Resources" / "UI" / "SPRRegistration.ui")
WIDGETS = {item.get("name"): item.get("class") for item in TREE.iter("widget")}
SOURCES = sorted((MODULE / "SPRRegistrationLib").rglob("*.py"))
EXPLAINED = ("Button", "Selector", "CheckBox", "Slider", "SpinBox", "Table", "SearchBox", "View")


def uses(source):
    """Pairs of the name of a widget and what is used of it, wherever the code writes `ui.NAME.USE`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            owner = node.value.value
            called = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if called == "ui":
                yield node.value.attr, node.attr


def signatures(source):
    """Signals that the code connects by a text, and what they are signals of."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "connect" and node.args:
            yield node.func.value, node.args[0].value


@pytest.mark.parametrize("item", list(TREE.iter("widget")), ids=lambda item: item.get("name"))
def test_properties_of_the_file_can_be_written(item):
    assert item.get("class") in contract.CLASSES
    for entry in item.findall("property"):
        if entry.get("stdset") != "0" and entry.get("name") != "buddy":  # buddies are a matter of the loader
            assert contract.can_write(item.get("class"), entry.get("name")), entry.get("name")


def test_connections_of_the_file_join_what_is_there():
    for connection in TREE.iter("connection"):
        ends = [connection.findtext(part) for part in ("sender", "signal", "receiver", "slot")]
        assert contract.has_signal(WIDGETS[ends[0]], ends[1])
        assert contract.has(WIDGETS[ends[2]], ends[3].split("(")[0])


def test_every_widget_of_slicer_is_given_the_scene():
    given = {connection.findtext("receiver") for connection in TREE.iter("connection")}
    assert given == {name for name, kind in WIDGETS.items() if kind.startswith("qMRML")} - {"SPRRegistration"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_python_uses_what_widgets_have(path):
    for name, use in uses(path.read_text(encoding="utf-8")):
        assert name in WIDGETS, f"there is no widget {name}"
        assert contract.has(WIDGETS[name], use), f"{WIDGETS[name]} {name} has no {use}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_signals_are_those_of_the_widgets(path):
    for owner, text in signatures(path.read_text(encoding="utf-8")):
        if isinstance(owner, ast.Attribute) and getattr(owner.value, "attr", "") == "ui":
            assert contract.has_signal(WIDGETS[owner.attr], text), f"{owner.attr} has no {text}"


def differs_in_pythonqt(text):
    """Calls that mean something else in PythonQt: its classes have no bases, and its size hints are properties."""
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        is_type_test = getattr(call.func, "id", "") in ("isinstance", "issubclass")
        if is_type_test and any(getattr(node, "id", "") in ("qt", "ctk") for node in ast.walk(call.args[1])):
            yield ast.unparse(call)
        elif getattr(call.func, "attr", "") in ("sizeHint", "minimumSizeHint"):
            yield ast.unparse(call)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_differs_in_pythonqt(path):
    assert list(differs_in_pythonqt(path.read_text(encoding="utf-8"))) == []


def test_what_differs_in_pythonqt_is_found():
    bad = "isinstance(box, qt.QLabel)\nisinstance(box, (str, qt.QWidget))\nbox.sizeHint().width()\nisinstance(box, str)"
    assert len(list(differs_in_pythonqt(bad))) == 3


def test_names_that_are_not_there_are_found():
    bad = "self.ui.alphaSlider.setRange(0, 1)\nself.ui.alphaSlider.value\nself.ui.nothing.text"
    assert set(uses(bad)) == {("alphaSlider", "setRange"), ("alphaSlider", "value"), ("nothing", "text")}
    assert not contract.has("ctkSliderWidget", "setRange")  # C++ has it, Python does not reach it
    assert not contract.has("QPushButton", "clickd")
    assert contract.has_signal("ctkSliderWidget", "valueIsChanging(double)")
    for wrong in ("valueIsChanging(int)", "valueIsChanging()", "valueIsChanging"):
        assert not contract.has_signal("ctkSliderWidget", wrong)
    assert not contract.can_write("qMRMLNodeComboBox", "currentNode")


def test_everything_to_be_operated_explains_itself():
    core.install()
    from SPRRegistrationLib.tooltips import tooltips

    fields = {
        item.get("name"): entry.findtext("string")
        for item in TREE.iter("widget")
        for entry in item.findall("property")
        if entry.get("name") == "SlicerParameterName"
    }
    keys = {fields.get(name, name) for name in WIDGETS}
    assert not [name for name in WIDGETS if name.endswith(EXPLAINED) and fields.get(name, name) not in tooltips()]
    assert tooltips().keys() <= keys, "a tool tip of no widget"
    assert not [entry for entry in TREE.iter("property") if entry.get("name") == "toolTip"], "in tooltips.py alone"


def test_every_label_leads_to_its_control_by_the_keyboard():
    for item in TREE.iter("widget"):
        entries = {entry.get("name"): "".join(entry.itertext()) for entry in item.findall("property")}
        if item.get("class") == "QLabel" and "&" in entries.get("text", ""):
            assert entries.get("buddy") in WIDGETS


MENUS = set("FEVH")
"""Letters of Slicer's own menus: File, Edit, View, Help."""


def alt_keys():
    """Widgets of the file by the letter that goes to them with the key Alt."""
    found = {}
    for item in TREE.iter("widget"):
        texts = [entry.findtext("string") or "" for entry in item.findall("property") if entry.get("name") == "text"]
        for text in texts:
            for letter in re.findall(r"&(\w)", text.replace("&&", "")):
                found.setdefault(letter.upper(), set()).add(item.get("name"))
    return found


def test_every_alt_key_goes_to_one_control_and_to_no_menu_of_slicer():
    found = alt_keys()
    assert len(found) > 12
    assert {letter: names for letter, names in found.items() if len(names) > 1} == {}
    assert not MENUS & set(found)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_alt_keys_in_python_are_those_of_the_button_that_they_are_written_on(path):
    texts = [
        node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
    ]
    letters = {key.upper() for text in texts for key in re.findall(r"^\w*&(\w)\w*$", str(text))}
    taken = {letter for letter, names in alt_keys().items() if not names <= {"applyButton", "cancelButton"}}
    assert not letters & (MENUS | taken)


OF_SLICER = {f"Ctrl+{key}" for key in "0123456OSWZYXCVHFN"} | {"F1", "F3", "F5"}
"""Shortcuts of Slicer's main window and of its Python console."""


def shortcuts():
    """Shortcuts in the file, with the widgets that have them."""
    return [(entry.findtext("string"), item.get("name")) for item in TREE.iter("widget")
            for entry in item.findall("property") if entry.get("name") == "shortcut"]  # fmt: skip


def test_every_shortcut_goes_to_one_control_and_is_none_of_slicer():
    keys = [key for key, _name in shortcuts()]
    assert len(keys) > 4
    assert len(set(keys)) == len(keys)
    assert not OF_SLICER & set(keys)
    assert all(re.fullmatch(r"Ctrl\+Shift\+[A-Z0-9]", key) for key in keys), keys


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_shortcuts_are_in_the_file_alone(path):
    assert "QShortcut" not in path.read_text(encoding="utf-8")
    assert "QKeySequence" not in path.read_text(encoding="utf-8")


def test_label_maps_are_not_offered_as_images():
    for item in TREE.iter("widget"):
        kinds = [entry.text for entry in item.findall("property[@name='nodeTypes']/stringlist/string")]
        if kinds == ["vtkMRMLScalarVolumeNode"]:
            assert item.findtext("property[@name='showChildNodeTypes']/bool") == "false", item.get("name")


def test_fields_in_the_file_are_fields_of_the_parameters():
    source = ast.parse((MODULE / "SPRRegistrationLib" / "parameters.py").read_text(encoding="utf-8"))
    kind = next(node for node in source.body if getattr(node, "name", "") == "SPRRegistrationParameters")
    fields = {node.target.id for node in kind.body if isinstance(node, ast.AnnAssign)}
    named = [entry.findtext("string") for entry in TREE.iter("property") if entry.get("name") == "SlicerParameterName"]
    assert len(named) == len(set(named)) > 20
    assert set(named) <= fields


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_only_the_panel_knows_qt(path):
    names = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    if path.parent.name != "qt":
        assert not names & {"qt", "ctk"}
    assert not names & {"torch", "nibabel", "SimpleITK", "scipy"}, "Slicer must open the module before they are there"


@pytest.mark.slicer
@pytest.mark.skipif(
    None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")), reason="slicer-core or PySide6"
)
def test_stand_ins_have_what_the_contract_says_and_the_module_uses():
    from harness import ctk_widgets, mrml_widgets, widgets  # noqa: F401

    used = {(WIDGETS[name], use) for path in SOURCES for name, use in uses(path.read_text(encoding="utf-8"))}
    for kind, use in sorted(used):
        stand_in = getattr(ctk_widgets, kind, None) or getattr(mrml_widgets, kind, None)
        assert stand_in is None or hasattr(stand_in, use), f"{kind}.{use}"


PAGE = ROOT / "docs" / "how-to" / "use-in-slicer.md"
ELSEWHERE = {
    *("View", "Extensions Manager", "Edit", "Application Settings", "Modules", "Additional module paths"),
    *("Harden transform", "SPR Registration", "rigid", "affine"),
}
"""Names on the page that are in menus and modules of Slicer, or parts of others."""


def said_on_page():
    """Names of controls on the page, which it writes in italics."""
    text = re.sub(r"\*\*[^*]+\*\*|`[^`]+`", "", PAGE.read_text(encoding="utf-8"))
    phrases = re.findall(r"(?<![*\w])\*(?=\S)([^*]+?)(?<=\S)\*", text)
    names = {" ".join(name.split()) for phrase in phrases for name in re.split(r"\s>\s", phrase)}
    return {name.replace("...", "…").rstrip("…") for name in names}


def names_of_controls():
    """Texts of the controls of the panel."""
    kinds = ("text", "title")
    texts = [entry.findtext("string") or "" for entry in TREE.iter("property") if entry.get("name") in kinds]
    return {re.sub(r" \(.*\)$", "", text.replace("&", "").strip().rstrip(":…")) for text in texts}


def test_the_page_names_what_is_on_the_panel():
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    left = said_on_page() - names_of_controls() - ELSEWHERE
    assert len(said_on_page() & names_of_controls()) > 20
    assert {name for name in left if f'_("{name}")' not in source} == set()
