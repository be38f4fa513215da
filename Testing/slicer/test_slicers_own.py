"""The stand-in widgets pass Slicer's own tests of its parameter nodes and connectors: with `SLICER_SOURCE` only."""

from __future__ import annotations

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
