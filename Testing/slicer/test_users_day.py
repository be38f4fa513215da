"""A user's day: a saved scene is opened, series are registered by panel and script, nodes are deleted, all is saved."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving

pytestmark = pytest.mark.slicer

FILES = (
    "ScalarVolume",
    "Segmentation",
    "MarkupsFiducial",
    "GridTransform",
    "LinearTransform",
    "Model",
    "Table",
    "Color",
)


def registrations():
    """The registrations of the scene, by their names."""
    return {node.GetName(): node for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")}


def named(name):
    """The only node of a name."""
    (node,) = [node for node in slicer.util.getNodes("*").values() if node.GetName() == name]
    return node


def load_series(name, seed, modality):
    """Load an image as Slicer's DICOM module leaves it: with its modality in the subject hierarchy."""
    volume = driving.add_image(name, seed)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), volume)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", modality)
    volume.SetAttribute("DICOM.instanceUIDs", f"1.2.{seed}")
    application.process_events(0.05)
    return volume


def draw_segments(volume):
    """Two organs on an image, and a point in each."""
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "voxels")
    array = np.zeros(volume.GetImageData().GetDimensions()[::-1], np.int16)
    array[2:5, 2:6, 2:6], array[6:9, 5:9, 4:9] = 1, 2
    slicer.util.updateVolumeFromArray(labels, array)
    organs = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    organs.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, organs)
    slicer.mrmlScene.RemoveNode(labels)
    for key, name in zip(organs.GetSegmentation().GetSegmentIDs(), ("liver", "spleen"), strict=True):
        organs.GetSegmentation().GetSegment(key).SetName(name)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "vessels")
    points.AddControlPoint(3, 3, 3, "portal vein")
    points.AddControlPoint(6, 6, 7, "splenic vein")
    return organs, points


def save(folder):
    """Save the scene as Slicer does: each node with its file, then the scene."""
    folder.mkdir()
    scene = slicer.mrmlScene
    scene.RegisterNodeClass(slicer.vtkMRMLMarkupsJsonStorageNode())  # as the module Markups does
    scene.SetRootDirectory(str(folder))
    for node in [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]:
        is_file = node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene() and not node.GetHideFromEditors()
        if not is_file or not any(node.IsA(f"vtkMRML{kind}Node") for kind in FILES):
            continue
        if node.GetStorageNode() is None and not node.AddDefaultStorageNode():
            continue
        storage = node.GetStorageNode()
        if storage is not None:
            storage.SetFileName(str(folder / f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"))
            assert storage.WriteData(node), node.GetName()
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Commit()
    return folder / "scene.mrml"


def open_scene(path):
    """Open a scene with the module open, as File > Load does: closing and reading are one batch."""
    slicer.mrmlScene.SetRootDirectory(str(path.parent))
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Connect()
    application.process_events(0.1)


def apply(module):
    """Press Apply, and wait for the exact result."""
    assert module.ui.applyButton.enabled, module.ui.applyButton.text
    module.ui.applyButton.click()
    driving.wait_for(module.panel, "DONE")
    application.process_events(0.1)


def type_value(slider, text):
    """Type a value into the field of a slider."""
    field = driving.field_of(slider)
    field.selectAll()
    driving.type_keys(field, f"{text}\n")


def content():
    """Voxels, points and names of everything that the user made or got, to be compared after the scene was reopened."""
    found = {}
    for node in slicer.util.getNodes("*").values():
        if node.GetHideFromEditors() or not node.GetSaveWithScene():
            continue
        if node.IsA("vtkMRMLScalarVolumeNode") and node.GetImageData() is not None:
            found[node.GetName()] = np.array(slicer.util.arrayFromVolume(node))
        elif node.IsA("vtkMRMLMarkupsNode"):
            found[node.GetName()] = slicer.util.arrayFromMarkupsControlPoints(node)
        elif node.IsA("vtkMRMLSegmentationNode"):
            inside = node.GetSegmentation()
            found[node.GetName()] = np.array([inside.GetSegment(key).GetName() for key in inside.GetSegmentIDs()])
        elif node.IsA("vtkMRMLScriptedModuleNode"):
            found[node.GetName()] = None
    return found


@pytest.fixture
def yesterday(module, tmp_path):
    """The module, and a scene saved the day before with a result."""
    driving.pick(module.ui.fixedSelector, "before")
    driving.pick(module.ui.movingSelector, "after")
    type_value(module.ui.alphaSlider, "0.25")
    apply(module)
    module.path = save(tmp_path / "yesterday")
    slicer.mrmlScene.Clear(0)
    application.process_events(0.1)
    return module


def test_a_day(yesterday, tmp_path, capfd):
    module, ui, logic = yesterday, yesterday.ui, yesterday.widget.logic
    capfd.readouterr()

    # In the morning the scene of yesterday is opened, with the module open.
    open_scene(module.path)
    assert list(registrations()) == ["SPRRegistration"]
    assert ui.fixedSelector.currentNode().GetName() == "before"
    assert ui.alphaSlider.value == pytest.approx(0.25)
    assert "olding" in ui.badgeLabel.text
    assert ui.outputVolumeSelector.currentNode().GetName() == "after on before (deformed image)"
    assert ui.warpButton.enabled is False
    type_value(ui.alphaSlider, "0.35")
    apply(module)

    # Series of another patient come in; each pair is one registration.
    series = (("arterial", 11, "CT"), ("venous", 12, "CT"), ("T1", 13, "MR"))
    moving, fixed, scan = (load_series(*facts) for facts in series)
    assert ui.fixedSelector.currentNode().GetName() == "before", "a registration in use keeps its images"
    organs, points = draw_segments(moving)
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "region")
    slicer.util.updateVolumeFromArray(region, np.ones(fixed.GetImageData().GetDimensions()[::-1], np.int16))
    ui.registrationSelector.addNode()
    ui.fixedSelector.setCurrentNode(fixed)
    ui.movingSelector.setCurrentNode(moving)
    ui.fixedMaskSelector.setCurrentNode(region)
    type_value(ui.lambdaMaxSlider, "2.5")
    driving.pick(ui.outputVolumeSelector, "Create new Volume")
    apply(module)
    assert ui.outputVolumeSelector.currentNode().GetName() == "Deformed image"
    panel_made = module.panel.parameters

    # Organs and vessels of the moving image go along.
    ui.warpSelector.setCurrentNode(organs)
    ui.warpButton.click()
    warped = logic.warp(points, panel_made.displacementTransform)
    assert named("organs warped").GetClassName() == "vtkMRMLSegmentationNode"
    assert warped.GetName() == "vessels warped"

    # A script registers the MR image: one registration more, and the panel stays where it is.
    script_made = logic.registerVolumes(fixed, scan, timeout=60, alignment="rigid")
    assert module.panel.parameters is panel_made
    assert len(registrations()) == 3
    ui.registrationSelector.setCurrentNode(script_made.parameterNode)
    application.process_events(0.05)
    assert ui.alignmentSelector.currentText.startswith("Rigid")
    assert "olding" in ui.badgeLabel.text

    # Deleted: the mask, a result, the image of another registration, and that registration.
    for node in (region, panel_made.inverseTransform, named("third")):
        slicer.mrmlScene.RemoveNode(node)
        application.process_events(0.05)
    assert (panel_made.fixedMask, panel_made.inverseTransform) == (None, None)
    assert (panel_made.fixedVolume, panel_made.movingVolume) == (fixed, moving)
    assert (script_made.fixedVolume, script_made.movingVolume) == (fixed, scan)
    ui.registrationSelector.setCurrentNode(registrations()["SPRRegistration"])
    ui.registrationSelector.removeCurrentNode()
    application.process_events(0.05)
    assert len(registrations()) == 2
    ui.registrationSelector.setCurrentNode(panel_made.parameterNode)
    apply(module)
    assert panel_made.inverseTransform is not None

    # In the evening everything is saved, and the next morning it is there.
    before, report = content(), json.loads(panel_made.report)
    name, transform = panel_made.parameterNode.GetName(), panel_made.displacementTransform.GetName()
    path = save(tmp_path / "today")
    open_scene(path)
    after = content()
    assert after.keys() == before.keys()
    for key, value in before.items():
        if value is not None and value.dtype.kind == "f":
            np.testing.assert_allclose(after[key], value, atol=1e-4, err_msg=key)
        else:
            np.testing.assert_array_equal(after[key], value, err_msg=key)
    assert len(registrations()) == 2
    ui.registrationSelector.setCurrentNode(registrations()[name])
    shown = module.panel.parameters
    assert ui.lambdaMaxSlider.value == pytest.approx(2.5)
    assert (shown.fixedVolume.GetName(), shown.movingVolume.GetName()) == ("venous", "arterial")
    assert shown.deformedVolume.GetName() == "Deformed image"
    assert shown.displacementTransform.GetName() == transform
    assert json.loads(shown.report) == report
    ui.warpSelector.setCurrentNode(named("organs"))
    ui.warpButton.click()
    assert "made" in ui.warpLabel.text
    apply(module)
    assert len(registrations()) == 2
    assert module.dialogs.shown == []
    said = capfd.readouterr()
    assert "Traceback" not in said.err + said.out
