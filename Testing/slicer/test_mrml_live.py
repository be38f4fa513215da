"""A registration from end to end: images of a scene, the real worker in a process of its own, results in the scene."""

from __future__ import annotations

import importlib.util
import queue
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

PATIENCE = 200.0


class ProcessTransport:
    """What `QProcess` does in Slicer."""

    def __init__(self):
        self.process, self.session = None, None
        self._arrived = queue.Queue()

    def start(self, command):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(command, bufsize=0, **pipes)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def write(self, data):
        while data and self.process is not None:
            try:
                data = data[self.process.stdin.write(data) :]
            except (OSError, ValueError):  # it has ended
                return

    def kill(self):
        self.process.kill()

    def wait_for(self, *stages):
        """Turn the event loop until the session has come to one of some stages."""
        end = time.monotonic() + PATIENCE
        while self.session.stage.name not in stages and time.monotonic() < end:
            self.session.tick(time.monotonic())
            try:
                method, data = self._arrived.get(timeout=0.2)
            except queue.Empty:
                continue
            getattr(self.session, method)(data)
        assert self.session.stage.name in stages, self.session.words

    def close(self):
        self.session.close()
        if self.process is not None:
            self.process.wait(timeout=10)
            self._reader.join(timeout=10)

    def _read(self, process):
        log = threading.Thread(target=self._pass_on, args=(process.stderr, "feed_log"), daemon=True)
        log.start()
        self._pass_on(process.stdout, "feed")
        log.join()
        code = process.wait()
        process.stdin.close()
        self._arrived.put(("ended", code))

    def _pass_on(self, pipe, method):
        with pipe:
            while data := pipe.read(65536):
                self._arrived.put((method, data))


@pytest.fixture
def phantom():
    from SPRCore.synthetic import sliding_thorax

    return sliding_thorax(shape=(40, 32, 36), spacing=(5.0, 5.0, 5.0), amplitude_mm=15.0, seed=2)


@pytest.fixture
def registration(phantom):
    import slicer
    from harness import core, pairs

    scene, application = core.make_scene()
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.session import RegistrationSession

    parameters = SPRRegistrationParameters(scene.AddNode(slicer.vtkMRMLScriptedModuleNode()))
    for name in ("fixed", "moving"):
        volume, labels = getattr(phantom, name), getattr(phantom, f"{name}_labels")
        setattr(parameters, f"{name}Volume", pairs.add_volume(scene, name, volume.array, volume.affine))
        node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        from SPRRegistrationLib.scene import geometry

        geometry.set_image(node, labels.array.astype(np.int16), labels.affine)
        setattr(parameters, f"{name}Labels", node)
        points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        for place in getattr(phantom, f"{name}_points"):
            points.AddControlPoint(*place)
        setattr(parameters, f"{name}Landmarks", points)
    transport = ProcessTransport()
    command = [sys.executable, str(core.ROOT / "SPRRegistration" / "SPRRegistrationLib" / "worker_main.py")]
    session = RegistrationSession(parameters, transport, command, lambda one: None)
    transport.session = session
    yield session, transport, parameters
    transport.close()
    scene.Clear(True)
    del application


def test_from_images_to_results(registration, phantom):
    import slicer.util
    from SPRRegistrationLib import verdict
    from SPRRegistrationLib.scene import geometry

    from SPRCore.geometry import Field, resample

    session, transport, parameters = registration
    session.open()
    transport.wait_for("READY", "FAILED")
    assert session.stage.name == "READY", session.words
    assert set(session.ranges) == {"alpha", "lambda_max"}
    session.preview({"alpha": 0.05, "lambda_max": 2.0})
    transport.wait_for("READY", "FAILED")
    assert session.shown is not None
    assert geometry.displacement_of(parameters.displacementTransform) is not None
    session.commit({"alpha": 0.05, "lambda_max": 2.0})
    transport.wait_for("DONE", "FAILED")
    assert session.stage.name == "DONE", session.words
    after = session.shown.metrics["after"]
    before = session.shown.metrics["before"]
    assert after["dice_mean"] > before["dice_mean"] + 0.02
    assert after["tre_mm"]["mean"] < 0.7 * before["tre_mm"]["mean"]
    array, affine = geometry.displacement_of(parameters.displacementTransform)
    np.testing.assert_allclose(affine, phantom.fixed.affine, atol=1e-9)
    moved = geometry.moved_points(parameters.displacementTransform, phantom.fixed_points)
    error = np.linalg.norm(moved - phantom.moving_points, axis=1).mean()
    assert error == pytest.approx(after["tre_mm"]["mean"], abs=0.01)  # the scene says what the engine measured
    warped = resample(phantom.moving, phantom.fixed.grid, displacement=Field(array.copy(), affine)).array
    shown = slicer.util.arrayFromVolume(parameters.deformedVolume).transpose(2, 1, 0)
    assert np.median(np.abs(shown - warped)) < 1e-4
    there_and_back = geometry.moved_points(parameters.inverseTransform, moved)
    assert np.median(np.linalg.norm(there_and_back - phantom.fixed_points, axis=1)) < 1.0
    badge = verdict.badge(verdict.of_result(session.shown, session.opened, None))
    assert (badge.level, badge.doubts) == ("good", ())
    assert f"{before['dice_mean']:.3f} → {after['dice_mean']:.3f} (1 is complete)" in dict(badge.details).values()


def test_a_worker_that_is_killed_comes_back_with_the_same_pair(registration):
    session, transport, parameters = registration
    session.open()
    transport.wait_for("READY", "FAILED")
    transport.process.kill()
    transport.wait_for("OPENING", "FAILED")
    assert "started again" in session.words
    transport.wait_for("READY", "FAILED")
    session.preview({"alpha": 0.1, "lambda_max": 1.0})
    transport.wait_for("READY", "FAILED")
    assert parameters.displacementTransform is not None, session.words
