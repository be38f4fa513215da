"""The first Apply installs what is missing: once, whatever is clicked meanwhile, and its failures are said once."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import psutil
import slicer
from harness import application, driving
from harness.widgets import qt

pytestmark = pytest.mark.slicer
SAFE = "safetensors>=0.4.3"
LAUNCHER = Path(__file__).resolve().parents[1] / "end_to_end" / "launcher.py"
PIP = "import time; print('Collecting', flush=True); time.sleep(20)"
"""In place of pip: writes a line and downloads."""


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
    assert lacking.ui.applyButton.text == "Choose the two images"
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


@pytest.fixture
def slow_pip(lacking, monkeypatch):
    """Let pip be a process behind a launcher, whose output Slicer reads line by line; return the processes."""
    started = []

    def launch(arguments, **options):
        started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
        return started[-1]

    def pip_install(arguments):
        process = slicer.util.launchConsoleProcess([sys.executable, str(LAUNCHER), "-c", PIP])
        while process.stdout.readline():
            slicer.app.processEvents()
        if process.wait() != 0:
            raise subprocess.CalledProcessError(process.returncode, "pip")

    monkeypatch.setattr(slicer.util, "launchConsoleProcess", launch)
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    yield started
    for process in started:
        process.kill()
        process.communicate()


def when(holds, call):
    """Call a function once while events are processed, as soon as something holds."""
    timer = qt.QTimer()

    def look():
        if holds():
            timer.stop()
            call()

    timer.timeout.connect(look)
    timer.start(0)
    return timer


def is_running(pid):
    """Whether a process has not ended; a zombie has."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def dialogs_with_a_bar():
    """The dialogs of progress that are shown."""
    return [each for each in qt.QApplication.topLevelWidgets() if each.inherits("QProgressDialog") and each.visible]


def test_an_installation_is_cancelled_with_all_of_its_processes(lacking, slow_pip):
    cancel = sys.modules["SPRRegistrationLib.qt.cancel"]
    children, launch = [], slicer.util.launchConsoleProcess

    def press():
        (dialog,) = dialogs_with_a_bar()
        children.extend(cancel.descendants(slow_pip[0].pid))
        next(each for each in dialog.findChildren(qt.QPushButton)).click()

    timer = when(dialogs_with_a_bar, press)
    lacking.ui.applyButton.click()
    assert lacking.ui.statusLabel.text == "The installation was cancelled. Press Apply to begin again."
    assert not timer.isActive()
    assert len(children) == 1
    assert not [child for child in children if is_running(child)]
    assert len(lacking.dialogs.shown) == 1, "the question alone"
    assert slicer.util.launchConsoleProcess is launch
    assert dialogs_with_a_bar() == []
    assert lacking.panel.session is None
    assert lacking.ui.applyButton.isEnabled()


def test_a_finished_installation_is_not_taken_for_a_cancelled_one(lacking, slow_pip, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PIP", "print('done')")
    timer = when(lambda: slow_pip, lambda: setattr(lacking, "there", True))
    monkeypatch.setattr(sys.modules["SPRRegistrationLib.qt.install"], "_is_installed", lambda wanted: True)
    lacking.ui.applyButton.click()
    assert not timer.isActive()
    assert "cancelled" not in lacking.ui.statusLabel.text
    driving.wait_for(lacking.panel, "DONE")
    assert dialogs_with_a_bar() == []


@pytest.mark.parametrize("restarts", [True, False])
def test_the_extension_of_pytorch_is_installed_and_a_restart_offered(lacking, monkeypatch, restarts):
    install = sys.modules["SPRRegistrationLib.qt.install"]
    slicer.app.extensions = application.qSlicerExtensionsManagerModel(catalog={"PyTorch"})
    monkeypatch.setattr(
        slicer.util, "confirmYesNoDisplay", lambda text, *rest: lacking.dialogs.shown.append(text) or restarts
    )
    lacking.panel.missing = lambda: [install.TORCH]
    lacking.ui.applyButton.click()
    assert slicer.app.extensions.asked == [("PyTorch", False, False)], "no restart before it is offered, no dialog"
    assert slicer.app.extensions.interactive
    question, offer, *rest = lacking.dialogs.shown
    assert "It will be installed first" in question
    assert "Restart 3D Slicer now?" in offer
    assert rest == (["restart"] if restarts else [])
    assert lacking.ui.statusLabel.text == "Restart 3D Slicer, and press Apply again."
    assert lacking.panel.session is None


def test_an_extension_that_cannot_be_installed_is_named(lacking):
    install = sys.modules["SPRRegistrationLib.qt.install"]
    lacking.panel.missing = lambda: [install.TORCH]
    lacking.ui.applyButton.click()
    assert "could not be installed. Open View > Extensions Manager" in lacking.ui.statusLabel.text
    assert slicer.app.extensions.interactive


def test_an_application_without_extensions_is_told_the_same(lacking, monkeypatch):
    install = sys.modules["SPRRegistrationLib.qt.install"]
    monkeypatch.delattr(application.Application, "extensionsManagerModel")
    lacking.panel.missing = lambda: [install.TORCH]
    lacking.ui.applyButton.click()
    assert "could not be installed. Open View > Extensions Manager" in lacking.ui.statusLabel.text


def test_slicer_5_12_shows_no_dialog_of_its_own(lacking, monkeypatch):
    """It has no button to cancel, and lies over the panel."""
    asked = []

    def pip_ensure(wanted, **options):
        asked.append(options)
        lacking.there = True

    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_ensure, packaging.__spec__ = pip_ensure, importlib.machinery.ModuleSpec("slicer.packaging", None)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(sys.modules["SPRRegistrationLib.qt.install"], "_is_installed", lambda wanted: True)
    lacking.ui.applyButton.click()
    assert [options["show_progress"] for options in asked] == [False]
