"""The worker of the panel behind a launcher, as `PythonSlicer` is one: crashes and kills, and nothing is left."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import psutil
from harness import application, driving
from harness.widgets import is_valid, qt

pytestmark = pytest.mark.slicer
LAUNCHER = Path(__file__).resolve().parents[1] / "end_to_end" / "launcher.py"
SHM = Path("/dev/shm")


@pytest.fixture
def launched(chosen):
    """The module with an exact result of a worker behind a launcher."""
    chosen.panel.worker.command = [sys.executable, str(LAUNCHER), *driving.worker()[1:]]
    chosen.ui.applyButton.click()
    driving.wait_for(chosen.panel, "DONE")
    return chosen


def transport_of(module):
    return module.panel.controller.transport


def python_of(module):
    """The Python that the launcher has started."""
    (python,) = psutil.Process(transport_of(module)._process.processId()).children()
    return python


def has_ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def drag_to(module, value):
    """Move a slider, and wait until the deformation of its value is shown."""
    driving.drag(module.ui.alphaSlider, (value,))
    session = module.panel.session
    is_shown = lambda: session.shown and session.shown.setting["alpha"] == pytest.approx(value, abs=0.01)  # noqa: E731
    assert application.process_events(10, is_shown)


def test_a_crash_is_told_and_the_sliders_go_on(launched):
    said = []
    launched.ui.statusLabel.text = ""
    python_of(launched).kill()
    looks = lambda: said.append(launched.ui.statusLabel.text) or "code 1" in said[-1]  # noqa: E731
    assert application.process_events(10, looks)
    assert "it may have crashed, or the system may have run out of memory" in said[-1]
    assert ".." not in said[-1]
    driving.wait_for(launched.panel, "READY")
    drag_to(launched, 0.5)


def test_a_killed_launcher_leaves_no_python_and_the_next_worker_is_not_disturbed(launched):
    late, process = python_of(launched), transport_of(launched)._process
    transport_of(launched).kill()
    assert application.process_events(10, lambda: driving.stage(launched.panel) == "OPENING")
    driving.wait_for(launched.panel, "READY")
    drag_to(launched, 0.5)
    assert application.process_events(3, lambda: has_ended(late))
    drag_to(launched, 0.3)
    assert not is_valid(process)  # nor of the object of Qt, which its own connections would hold


def test_nothing_is_left_when_the_module_is_closed(launched):
    late, transport = python_of(launched), transport_of(launched)
    process, timer = transport._process, transport._timer
    folder = launched.panel.session._store.folder
    assert folder.is_dir()
    launched.widget.cleanup()
    assert application.process_events(3, lambda: has_ended(late))
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)  # no event loop runs around a test
    assert not folder.exists()
    assert not SHM.is_dir() or not list(SHM.glob(f"{folder.name}*"))
    assert not is_valid(process)
    assert not is_valid(timer)


def test_what_cannot_be_started_is_let_go(chosen):
    chosen.panel.worker.command = ["/nowhere/python"]
    chosen.ui.applyButton.click()
    process = transport_of(chosen)._process
    driving.wait_for(chosen.panel, "FAILED", seconds=20)
    application.process_events(0.05)
    assert process is None or not is_valid(process)
