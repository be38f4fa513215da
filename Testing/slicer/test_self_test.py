"""What Slicer itself does with the module: its self test, the entry in Sample Data, and loading it anew."""

from __future__ import annotations

import importlib.util
import sys
import unittest
from pathlib import Path

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application

pytestmark = pytest.mark.slicer
QUICK = ("test_sample_data_are_a_pair", "test_every_control_explains_itself")


@pytest.fixture
def self_test():
    """The file of the self test, as Slicer finds it."""
    path = application.MODULE.parent / "Testing" / "Python" / "SPRRegistrationSelfTest.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SPRRegistrationSelfTest


@pytest.mark.parametrize("name", QUICK)
def test_the_self_test_passes(empty, self_test, name):
    result = unittest.TestResult()
    self_test(name).run(result)
    assert result.testsRun == 1
    assert not [*result.failures, *result.errors]


@pytest.mark.slow
def test_reload_and_test(empty):
    empty.panel.worker.command = sys.modules["SPRRegistrationLib.qt.process"].worker_command()
    sys.modules["SPRRegistration"].SPRRegistrationTest().runTest()


def test_the_sample_data_are_offered_where_slicer_offers_them(empty):
    ((source,),) = application.SampleDataLogic.sources.values()
    assert source.sampleName == "SPRRegistrationBreath"
    assert Path(source.thumbnailFileName).is_file()
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = source.customDownloader(source)
    assert nodes["fixedVolume"].GetScene() is slicer.mrmlScene
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") > before


def test_reload_loads_all_files_and_leaves_nothing_of_the_old_panel(empty, monkeypatch):
    old, calls = sys.modules["SPRRegistrationLib.qt.widget"], []
    empty.widget.onReload()
    assert sys.modules["SPRRegistrationLib.qt.widget"] is not old
    assert empty.widget.panel is None
    monkeypatch.setattr(type(empty.widget), "removeObservers", lambda self: calls.append(self))
    widget = slicer.modules.SPRRegistrationWidget
    slicer.app.aboutToQuit.emit()
    assert calls == []
    assert widget is not empty.widget
    assert widget.panel is None  # the new one was told


def test_help_leads_to_the_pages_of_the_project(empty):
    text = (application.core.ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    module = sys.modules["SPRRegistration"]
    assert f'set(EXTENSION_HOMEPAGE "{module.HOMEPAGE}")' in text
    page = f"{module.HOMEPAGE}/blob/main/"
    (path,) = [part.split('"')[0] for part in slicer.modules.sprregistration.helpText.split(page)[1:]]
    assert (application.core.ROOT / path).is_file()
