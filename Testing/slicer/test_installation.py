"""The first Apply installs what is missing: once, whatever is clicked meanwhile, and its failures are said once."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
import types

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving
from harness.widgets import qt

pytestmark = pytest.mark.slicer
SAFE = "safetensors>=0.4.3"


@pytest.fixture
def lacking(chosen):
    """The module while a package is missing, and what pip was asked for."""
    chosen.there, chosen.asked = False, []
    chosen.panel.missing = lambda: [] if chosen.there else [SAFE]
    return chosen


@pytest.fixture
def pip(lacking, monkeypatch):
    """Let pip do something: as Slicer's, it lets events through after each line that it writes."""

    def do(*lines):
        def pip_install(arguments):
            lacking.asked.append(arguments)
            assert len(lacking.asked) < 5, "one installation began in the middle of another"
            for line in lines:
                line()
                slicer.app.processEvents()
            lacking.there = True

        monkeypatch.setattr(slicer.util, "pip_install", pip_install)
        monkeypatch.setitem(sys.modules, "slicer.packaging", None)  # before Slicer 5.12

    return do


def click(button):
    """Click as a user does, with the mouse."""
    window = button.window()
    place = button.mapTo(window, button.rect.center())
    driving.mouse(window, place, qt.QEvent.MouseButtonPress, qt.QEvent.MouseButtonRelease)


def test_one_apply_is_one_installation_whatever_is_clicked_meanwhile(lacking, pip):
    ui, seen = lacking.ui, []

    def look():
        seen.append((ui.statusLabel.text, ui.progressBar.visible, ui.progressBar.maximum))
        seen.append(qt.QApplication.overrideCursor() is not None)

    def click_around():
        for button in (ui.applyButton, ui.offlineButton, ui.restartButton, ui.sampleButton):
            click(button)
            button.click()
        driving.drag(ui.alphaSlider, (0.3,))
        lacking.panel.sections[4].ensure_installed()
        lacking.panel.parameters.alpha = 0.4  # by a program

    pip(look, click_around, click_around, lambda: setattr(lacking, "there", True), click_around)
    ui.applyButton.click()
    assert len(lacking.asked) == 1
    assert seen == [("The software is being installed. This takes some minutes.", True, 0), True]
    assert qt.QApplication.overrideCursor() is None
    assert len(lacking.dialogs.shown) == 1  # the question
    driving.wait_for(lacking.panel, "DONE")
    assert ui.inputsSection.enabled
    assert ui.registrationSelector.enabled


def test_the_mouse_reaches_apply_again_after_a_failure(lacking, pip):
    def fail():
        raise subprocess.CalledProcessError(1, "pip")

    pip(fail)
    lacking.ui.applyButton.click()
    assert "installation failed" in lacking.ui.statusLabel.text
    assert lacking.ui.inputsSection.enabled
    assert not lacking.ui.progressBar.visible
    assert lacking.ui.offlineButton.visible
    lacking.there = True
    click(lacking.ui.applyButton)
    driving.wait_for(lacking.panel, "DONE")


def test_the_scene_closed_during_an_installation(lacking, pip):
    pip(lambda: slicer.mrmlScene.Clear(0))
    lacking.ui.applyButton.click()
    application.process_events(0.1)
    assert driving.sessions(lacking.panel) == []
    assert lacking.ui.applyButton.text == "Choose a fixed and a moving image"
    assert not lacking.ui.statusLabel.text


def test_pytorch_that_cannot_be_imported_after_its_installation_is_told(lacking, monkeypatch):
    install = sys.modules["SPRRegistrationLib.qt.install"]

    class Logic:
        def installTorch(self, askConfirmation, torchVersionRequirement):
            raise ImportError("DLL load failed while importing _C: a library was not found.")

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic))
    lacking.panel.missing = lambda: [install.TORCH]
    lacking.ui.applyButton.click()
    assert "a library was not found. Check" in lacking.ui.statusLabel.text
    assert len(lacking.dialogs.shown) == 2  # the question and the error


def test_a_failure_that_slicer_has_shown_is_not_shown_again(lacking, monkeypatch):
    def pip_ensure(wanted, **options):
        slicer.util.errorDisplay("pip failed")  # as Slicer 5.12 does
        raise subprocess.CalledProcessError(1, "pip")

    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_ensure, packaging.__spec__ = pip_ensure, importlib.machinery.ModuleSpec("slicer.packaging", None)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    lacking.ui.applyButton.click()
    assert lacking.dialogs.shown[1:] == ["pip failed"]
    assert "installation failed" in lacking.ui.statusLabel.text


def test_an_installation_that_leaves_something_out_is_told(lacking, pip, monkeypatch):
    install = sys.modules["SPRRegistrationLib.qt.install"]
    monkeypatch.setattr(install, "_is_installed", lambda wanted: False)
    pip()
    lacking.ui.applyButton.click()
    assert "is still missing" in lacking.ui.statusLabel.text
    assert lacking.panel.session is None
