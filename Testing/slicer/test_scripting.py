"""Registrations that scripts make, with and without the panel, on a worker that computes nothing."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving

from SPRCore.errors import InputError

pytestmark = pytest.mark.slicer


def registrations():
    """The nodes of registrations in the scene."""
    return slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")


@pytest.fixture
def script(script_module):
    """The logic of the module without its panel, and two images."""
    shared = sys.modules["SPRRegistrationLib.qt.controllers"].shared()
    shared.worker.command = driving.worker()
    images = [driving.add_image(name, seed) for seed, name in enumerate(("before", "after"), start=1)]
    return SimpleNamespace(logic=script_module.SPRRegistrationLogic(), fixed=images[0], moving=images[1], shared=shared)


def failed(message=None):
    from SPRRegistrationLib.scripting import RegistrationFailed

    return pytest.raises(RegistrationFailed, match=message)


def test_two_volumes_are_registered_without_the_panel(script):
    made = script.logic.registerVolumes(script.fixed, script.moving, timeout=60)
    assert (made.fixedVolume, made.movingVolume) == (script.fixed, script.moving)
    for field in ("deformedVolume", "displacementTransform", "inverseTransform", "weightVolume", "jacobianVolume"):
        assert getattr(made, field) is not None, field
    assert made.report
    assert [node.GetID() for node in registrations()] == [made.parameterNode.GetID()]
    assert all(controller.session is None for controller in script.shared.by_node.values()), "the worker has ended"


def test_the_results_go_into_the_nodes_that_are_named(script):
    from SPRRegistrationLib.scene import geometry

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mine")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "my transform")
    made = script.logic.registerVolumes(script.fixed, script.moving, volume, transform, timeout=60)
    assert (made.deformedVolume, made.displacementTransform) == (volume, transform)
    assert (volume.GetName(), transform.GetName()) == ("mine", "my transform")
    assert volume.GetImageData().GetDimensions() == script.fixed.GetImageData().GetDimensions()
    assert geometry.displacement_of(transform)[0].shape == (*script.fixed.GetImageData().GetDimensions(), 3)


def test_settings_are_those_of_the_parameters(script):
    made = script.logic.registerVolumes(
        script.fixed, script.moving, timeout=60, anatomy="lung", lambdaMax=3.0, alignment="rigid", device="cpu"
    )
    assert (made.anatomy.value, made.start.value, made.lambdaMax) == ("lung", "search", 3.0)
    assert (made.alignment.value, made.device.value) == ("rigid", "cpu")
    assert all(controller.session is None for controller in script.shared.by_node.values()), "the worker has ended"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stiffnes": 1.0}, "stiffnes"),
        ({"report": "{}"}, "report"),
        ({"anatomy": "foot"}, "brain"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": "much"}, "alpha"),
        ({"fixedMask": "organs"}, "fixedMask"),
    ],
)
def test_wrong_settings_are_refused_and_leave_no_registration(script, settings, words):
    with pytest.raises(InputError, match=words):
        script.logic.registerVolumes(script.fixed, script.moving, **settings)
    assert registrations() == []
    assert script.shared.by_node == {}


def test_wrong_images_and_outputs_are_refused_and_leave_no_registration(script):
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    for nodes, words in (
        ((script.fixed, None), "moving image"),
        ((script.fixed, script.fixed), "same"),
        ((script.fixed, labels), "image"),
        ((script.fixed, script.moving, script.moving), "deformedVolume"),
        ((script.fixed, script.moving, None, labels), "displacementTransform"),
    ):
        with pytest.raises(InputError, match=words):
            script.logic.registerVolumes(*nodes)
        assert registrations() == []


def test_missing_software_is_an_error_and_nothing_is_installed(script):
    script.shared.missing = lambda: ["torch>=2.4"]
    with pytest.raises(InputError, match="torch"):
        script.logic.registerVolumes(script.fixed, script.moving)
    assert registrations() == []


def test_a_registration_is_used_again_with_its_nodes(script):
    first = script.logic.registerVolumes(script.fixed, script.moving, timeout=60)
    nodes = (first.deformedVolume, first.displacementTransform)
    again = script.logic.registerVolumes(script.fixed, script.moving, registration=first, timeout=60, alpha=0.3)
    assert (again.deformedVolume, again.displacementTransform, again.alpha) == (*nodes, 0.3)
    assert len(registrations()) == 1
    script.logic.registerVolumes(script.fixed, script.moving, timeout=60)
    assert len(registrations()) == 2, "a registration with a result is not overwritten"


def test_a_run_tells_its_progress_and_its_end(script):
    script.shared.worker.command = driving.worker(1.5)
    told = []
    run = script.logic.startRegistration(script.fixed, script.moving)
    assert (
        run.then(lambda made: told.append(made), lambda error: told.append(error), lambda part: told.append(part))
        is run
    )
    assert run.running
    assert told == []
    assert application.process_events(30, lambda: not run.running)
    assert told[-1] is run.registration
    assert told[-1].deformedVolume is not None
    assert all(part is None or 0 <= part <= 1 for part in told[:-1])
    assert len(told) > 1
    assert run.progress == 1.0
    run.then(done=lambda made: told.append("again"))
    assert told[-1] == "again"


@pytest.mark.parametrize("how", ["cancel", "timeout", "close the scene", "delete"])
def test_a_run_that_has_no_result_says_why(script, how):
    script.shared.worker.command = driving.worker(60)
    told = []
    run = script.logic.startRegistration(script.fixed, script.moving).then(failed=told.append)
    application.process_events(0.3)
    assert run.running
    if how == "cancel":
        run.cancel()
    elif how == "timeout":
        with failed("longer than 0.2 s"):
            run.wait(0.2)
    elif how == "close the scene":
        slicer.mrmlScene.Clear(0)
    else:
        slicer.mrmlScene.RemoveNode(run.registration.parameterNode)
    assert not run.running
    assert told == [run.failure]
    with failed():
        run.wait()
    assert all(controller.session is None for controller in script.shared.by_node.values())


def test_a_run_can_be_followed_by_another_from_its_own_end(script):
    made = []

    def again(registration):
        made.append(registration.alpha)
        if len(made) < 3:
            options = {"registration": registration.parameterNode, "alpha": 0.1 + 0.1 * len(made)}
            script.logic.startRegistration(script.fixed, script.moving, **options).then(again)

    script.logic.startRegistration(script.fixed, script.moving).then(again, pytest.fail)
    assert application.process_events(30, lambda: len(made) == 3)
    assert made == pytest.approx([0.1, 0.2, 0.3])
    assert len(registrations()) == 1
    assert all(controller.session is None for controller in script.shared.by_node.values())


def test_runs_of_several_pairs_at_once(script):
    script.shared.worker.command = driving.worker(0.5)
    others = [driving.add_image(f"other {seed}", seed) for seed in (7, 8)]
    runs = [script.logic.startRegistration(script.fixed, moving) for moving in (script.moving, *others)]
    made = [run.wait(60) for run in runs]
    assert [one.movingVolume for one in made] == [script.moving, *others]
    assert len({one.deformedVolume.GetID() for one in made}) == 3


def test_a_worker_that_dies_is_an_error(script):
    script.shared.worker.command = [sys.executable, "-c", "raise SystemExit(3)"]
    with failed("code 3"):
        script.logic.registerVolumes(script.fixed, script.moving, timeout=60)


def test_the_panel_shows_what_a_script_registers_in_the_registration_that_it_has(empty):
    """The images that the panel proposes are those of the script, and one registration was made."""
    images = [driving.add_image(name, seed) for seed, name in enumerate(("one", "two"))]
    application.process_events(0.1)
    assert empty.ui.fixedSelector.currentNode() is images[0]
    made = empty.widget.logic.registerVolumes(images[1], images[0], timeout=60)
    assert [node.GetID() for node in registrations()] == [made.parameterNode.GetID()]
    assert empty.ui.fixedSelector.currentNode() is images[1]
    assert empty.ui.outputVolumeSelector.currentNode() is made.deformedVolume
    assert "olding" in empty.ui.badgeLabel.text
    empty.ui.applyButton.click()
    driving.wait_for(empty.panel, "DONE")
    assert len(registrations()) == 1


def test_a_script_continues_on_the_worker_of_the_panel(done):
    session = done.panel.session
    made = done.widget.logic.registerVolumes(
        *done.images[:2], registration=done.panel.parameters, timeout=60, alpha=0.3
    )
    assert done.panel.session is session, "a worker that was there stays"
    assert made.alpha == done.ui.alphaSlider.value == pytest.approx(0.3)


def test_warp_takes_the_grid_of_the_transform_or_that_of_a_volume(script):
    made = script.logic.registerVolumes(script.fixed, script.moving, timeout=60)
    other = driving.add_image("other", 5, shape=(7, 8, 9))
    copy = script.logic.warp(other, made.displacementTransform)
    assert copy.GetName() == "other warped"
    assert copy.GetImageData().GetDimensions() == script.fixed.GetImageData().GetDimensions()
    copy = script.logic.warp(script.fixed, made.inverseTransform, other)
    assert copy.GetImageData().GetDimensions() == other.GetImageData().GetDimensions()
    assert np.ptp(slicer.util.arrayFromVolume(copy)) > 0
