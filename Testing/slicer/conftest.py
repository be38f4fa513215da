"""Makes `harness` importable for the tests of the module of 3D Slicer; scenes and the module itself for them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def scene():
    """An empty scene with Slicer's logics."""
    from harness import core

    scene, application = core.make_scene()
    yield scene
    scene.Clear(True)
    del application


@contextlib.contextmanager
def opened(*names):
    """The module, opened for the first time with images of these names in the scene, and the dialogs that it shows."""
    if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
        pytest.skip("slicer-core or PySide6 is not installed")
    from harness import application, driving

    dialogs = application.start()
    images = [driving.add_image(name, seed) for seed, name in enumerate(names, start=1)]
    widget = application.load()
    widget.panel.worker.command = driving.worker()
    widget.panel.missing = lambda: []
    widget.parent.resize(460, 1500)
    widget.parent.show()
    yield SimpleNamespace(widget=widget, panel=widget.panel, ui=widget.panel.ui, dialogs=dialogs, images=images)
    widget.cleanup()


@pytest.fixture
def empty():
    """The module in an empty scene."""
    with opened() as module:
        yield module


@pytest.fixture
def module():
    """The module with three images in the scene."""
    with opened("before", "after", "third") as module:
        yield module


@pytest.fixture
def chosen(module):
    """The module with a pair chosen."""
    from harness import driving

    driving.pick(module.ui.fixedSelector, "before")
    driving.pick(module.ui.movingSelector, "after")
    return module


@pytest.fixture
def done(chosen):
    """The module with an exact result."""
    from harness import driving

    chosen.ui.applyButton.click()
    driving.wait_for(chosen.panel, "DONE")
    return chosen


@pytest.fixture
def script_module():
    """The file of the module, imported as by a script: without its panel."""
    if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
        pytest.skip("slicer-core or PySide6 is not installed")
    from harness import application

    application.start()
    application.forget_modules()
    spec = importlib.util.spec_from_file_location("SPRRegistration", application.MODULE)
    module = sys.modules["SPRRegistration"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from SPRRegistrationLib.qt import controllers

    controllers.shared().missing = lambda: []
    yield module
    controllers.shared().end_all()


@pytest.fixture
def explorer(scene):
    """The controller of the Explorer with a pair that is open, and its worker."""
    import asyncio

    import numpy as np
    from harness import pairs
    from SPRRegistrationLib.worker_control import WorkerOptions

    from SPRCore.live import protocol
    from SPRExplorer.controller import ExplorerController

    worker, panel = pairs.PlayedWorker(), ExplorerController(scene, WorkerOptions(["worker"]))
    panel.transport, panel.opens_by_itself = worker, True
    array = np.random.default_rng(0).uniform(0, 100, pairs.SHAPE).astype(np.float32)
    panel.add("fixedVolume", "fixed", (array, pairs.AFFINE))
    panel.add("movingVolume", "moving", (array + 1, pairs.AFFINE))
    worker.session = panel.session
    worker.greet()
    worker.answer_open()
    worker.result(worker.last(protocol.Update).id, 1.0)
    worker.stop = lambda: asyncio.sleep(0)
    yield panel, worker
    asyncio.run(panel.close())
    worker.close()
