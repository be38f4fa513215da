"""The panel while things come into the scene and leave it, in the order in which Slicer tells them."""

from __future__ import annotations

import importlib.util

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving
from harness.widgets import qt

pytestmark = pytest.mark.slicer


def registrations():
    """The nodes of registrations in the scene."""
    return slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")


def save(path):
    """Save the scene with its images."""
    for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        volume.AddDefaultStorageNode()
        volume.GetStorageNode().SetFileName(str(path.parent / f"{volume.GetID()}.nrrd"))
        assert volume.GetStorageNode().WriteData(volume)
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit(str(path))


@pytest.fixture
def saved(chosen, tmp_path):
    """The module, and a saved scene with one registration."""
    chosen.panel.parameters.alpha = 0.25
    chosen.path = tmp_path / "scene.mrml"
    save(chosen.path)
    return chosen


def read(path, clear):
    """Open a scene as File > Load does, or add one to what is there."""
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Connect() if clear else slicer.mrmlScene.Import()
    application.process_events(0.1)


def assert_shows_the_saved(module):
    (node,) = registrations()
    assert module.panel.parameters.parameterNode is node
    assert module.ui.registrationSelector.currentNode() is node
    assert module.ui.alphaSlider.value == pytest.approx(0.25)
    assert module.ui.fixedSelector.currentNode().GetName() == "before"
    assert module.ui.applyButton.enabled


@pytest.mark.parametrize("times", [1, 2])
def test_opening_a_scene_shows_its_registration_and_leaves_no_stray(saved, times):
    for _time in range(times):
        read(saved.path, clear=True)
        assert_shows_the_saved(saved)


def test_closing_first_and_importing_later_leaves_no_stray(saved):
    slicer.mrmlScene.Clear(0)
    application.process_events(0.1)
    assert len(registrations()) == 1
    read(saved.path, clear=False)
    assert_shows_the_saved(saved)


def test_a_scene_read_while_another_module_is_open(saved):
    slicer.mrmlScene.Clear(0)
    saved.widget.exit()
    saved.widget.parent.isEntered = False
    read(saved.path, clear=False)
    saved.widget.parent.isEntered = True
    saved.widget.enter()
    assert_shows_the_saved(saved)


def test_a_registration_in_use_stays_when_a_scene_is_added(saved):
    current = saved.panel.parameters.parameterNode
    read(saved.path, clear=False)
    assert len(registrations()) == 2
    assert_keeps(saved, current, "before", "after")


def assert_keeps(module, node, fixed, moving):
    """That a registration is current, with its images, in the panel and in its node."""
    parameters, ui = module.panel.parameters, module.ui
    assert parameters.parameterNode is ui.registrationSelector.currentNode() is node
    assert (parameters.fixedVolume.GetName(), parameters.movingVolume.GetName()) == (fixed, moving)
    assert (ui.fixedSelector.currentNode(), ui.movingSelector.currentNode()) == (
        parameters.fixedVolume,
        parameters.movingVolume,
    )


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_second_of_two_registrations_stays_when_a_scene_is_added(saved, elsewhere):
    saved.ui.registrationSelector.addNode()
    driving.pick(saved.ui.fixedSelector, "third")
    driving.pick(saved.ui.movingSelector, "after")
    current = saved.panel.parameters.parameterNode
    if elsewhere:
        saved.widget.exit()
        saved.widget.parent.isEntered = False
    for _time in range(2):
        read(saved.path, clear=False)
    if elsewhere:
        saved.widget.parent.isEntered = True
        saved.widget.enter()
    assert len(registrations()) == 4
    assert_keeps(saved, current, "third", "after")


def test_a_registration_just_made_stays_when_images_are_added(saved, tmp_path):
    for node in registrations():
        slicer.mrmlScene.RemoveNode(node)
    save(tmp_path / "images.mrml")
    slicer.mrmlScene.Clear(0)
    read(saved.path, clear=False)
    saved.ui.registrationSelector.addNode()
    made = saved.panel.parameters.parameterNode
    read(tmp_path / "images.mrml", clear=False)
    assert len(registrations()) == 2
    assert saved.panel.parameters.parameterNode is made


def click_everything(module):
    """Click every button and box, move every slider."""
    for widget in vars(module.ui).values():
        if widget.inherits("QAbstractButton"):
            widget.click()
        application.process_events()


def test_after_the_last_registration_was_deleted_nothing_can_be_clicked(done, monkeypatch, capfd):
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
        monkeypatch.setattr(qt.QFileDialog, name, lambda *arguments: pytest.fail("a dialog was shown"))
    done.ui.registrationSelector.removeCurrentNode()
    application.process_events(0.1)
    assert done.panel.parameters is None
    assert driving.sessions(done.panel) == []
    capfd.readouterr()
    click_everything(done)
    assert "Traceback" not in capfd.readouterr().err
    assert not done.ui.applyButton.isEnabled()
    assert registrations() == []
    done.ui.registrationSelector.addNode()
    driving.pick(done.ui.fixedSelector, "before")
    driving.pick(done.ui.movingSelector, "third")
    assert done.ui.applyButton.isEnabled()
    done.ui.applyButton.click()
    driving.wait_for(done.panel, "DONE")


def test_deleting_one_of_two_registrations_ends_its_worker(done):
    first = done.panel.parameters.parameterNode
    done.ui.registrationSelector.addNode()
    other = done.panel.parameters.parameterNode
    done.ui.registrationSelector.setCurrentNode(first)
    done.ui.registrationSelector.removeCurrentNode()
    assert done.panel.parameters.parameterNode is other
    assert driving.sessions(done.panel) == []
    assert done.ui.applyButton.text == "Choose the two images"


@pytest.mark.parametrize("field", ["fixedVolume", "movingVolume"])
def test_a_deleted_image_is_not_replaced_by_another(chosen, field):
    seen = []
    parameters = chosen.panel.parameters
    parameters.AddObserver("ModifiedEvent", lambda caller, event: seen.append(getattr(parameters, field)))
    slicer.mrmlScene.RemoveNode(getattr(parameters, field))
    application.process_events(0.1)
    assert getattr(parameters, field) is None
    assert set(seen) == {None}
    assert getattr(chosen.ui, field.replace("Volume", "Selector")).currentNode() is None
    assert chosen.ui.applyButton.text == f"Choose the {field.replace('Volume', '')} image"


def test_deleted_segments_and_landmarks_are_none(chosen):
    parameters = chosen.panel.parameters
    for kind, field in (
        ("vtkMRMLSegmentationNode", "stiffnessSegments"),
        ("vtkMRMLMarkupsFiducialNode", "fixedLandmarks"),
    ):
        nodes = [slicer.mrmlScene.AddNewNodeByClass(kind, name) for name in ("one", "two")]
        setattr(parameters, field, nodes[0])
        slicer.mrmlScene.RemoveNode(nodes[0])
        assert getattr(parameters, field) is None


def test_two_images_that_come_while_the_panel_is_open_are_chosen(empty):
    assert empty.ui.applyButton.text == "Choose the two images"
    driving.add_image("one", 1)
    application.process_events(0.05)
    assert empty.panel.parameters.fixedVolume is None
    driving.add_image("two", 2)
    application.process_events(0.05)
    assert empty.panel.parameters.fixedVolume.GetName() == "one"
    assert empty.panel.parameters.movingVolume.GetName() == "two"
    assert empty.ui.applyButton.text == "&Apply"
    driving.add_image("three", 3)
    application.process_events(0.05)
    assert empty.panel.parameters.movingVolume.GetName() == "two"


def test_entering_again_connects_nothing_again(chosen, monkeypatch):
    """Slicer 5.10 forgets an observer at each connection."""
    kind, connected = type(chosen.panel.parameters), []
    connect = kind.connectGui
    monkeypatch.setattr(kind, "connectGui", lambda self, ui: connected.append(self) or connect(self, ui))
    for _time in range(3):
        chosen.widget.exit()
        chosen.panel.parameters.alpha += 0.01
        chosen.widget.enter()
    assert connected == []
    assert chosen.ui.alphaSlider.value == pytest.approx(0.13)


def test_another_pair_chosen_while_another_module_is_open_is_not_that_of_the_worker(done):
    done.widget.exit()
    done.panel.parameters.movingVolume = done.images[2]
    assert done.panel.session is not None
    done.widget.enter()
    assert done.panel.session is None
    done.ui.applyButton.click()
    driving.wait_for(done.panel, "DONE")


def test_the_list_of_registrations_says_what_it_makes(module):
    nodes, actions = driving.offered(module.ui.registrationSelector)
    assert nodes == ["SPRRegistration"]
    assert [text for text in actions if "Create" in text and "as..." not in text] == ["Create new Registration"]
    assert all("Registration" in text for text in actions)
