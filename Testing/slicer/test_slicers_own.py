"""The stand-in widgets pass Slicer's own tests of its parameter nodes and connectors: with `SLICER_SOURCE` only."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("slicers_own.py")
FILES = (
    *("test_slicer_parameter_node_wrapper", "test_slicer_parameter_pack", "test_slicer_parameter_node_wrapper_guis"),
    *("test_slicer_parameter_node_wrapper_gui_creation", "test_slicer_util_VTKObservationMixin"),
    *("test_slicer_util_childWidgetVariables", "test_slicer_util_getNodes", "test_slicer_util_chdir"),
)
# The first two need a module of Slicer that is no Python, the third colors as PythonQt has them; the panel uses none.
WITHOUT_STAND_IN = {
    "test_qMRMLSubjectHierarchyComboBox",
    "test_qMRMLSubjectHierarchyTreeViewToNode",
    "test_ctkColorPickerButtonToQColor",
}

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("SLICER_SOURCE"), reason="SLICER_SOURCE names no checkout of Slicer"),
    pytest.mark.skipif(
        None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")),
        reason="slicer-core or PySide6 is not installed",
    ),
]


def test_slicers_own_tests_pass_on_the_stand_ins(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *FILES], capture_output=True, text=True, timeout=600, cwd=tmp_path
    )
    assert done.stdout.strip(), done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, (number, _failed) in results.items() if number > 0} == set(FILES)
    failed = {test for _number, tests in results.values() for test in tests}
    assert failed == WITHOUT_STAND_IN, done.stderr[-3000:]


def calls_in(tree, name):
    """Names of the functions that a function of a file calls."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.lstrip("_") == name]
    calls = [call for node in found for call in ast.walk(node) if isinstance(call, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def test_pip_is_started_by_the_function_that_a_cancellation_replaces():
    folder = Path(os.environ["SLICER_SOURCE"]) / "Base" / "Python" / "slicer"
    tree = ast.parse((folder / "util.py").read_text(encoding="utf-8"))
    assert "launchConsoleProcess" in calls_in(tree, "executePythonModule")
    launch = next(node for node in tree.body if getattr(node, "name", "") == "launchConsoleProcess")
    assert {"Popen"} <= {getattr(call.func, "attr", "") for call in ast.walk(launch) if isinstance(call, ast.Call)}
    packaging = folder / "packaging.py"
    if packaging.exists():  # since 5.12
        (ensure,) = [node for node in ast.parse(packaging.read_text(encoding="utf-8")).body
                     if getattr(node, "name", "") == "pip_ensure"]  # fmt: skip
        wanted = {"constraints", "prompt_install", "show_progress", "requester"}
        assert wanted <= {argument.arg for argument in ensure.args.args}
