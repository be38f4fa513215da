"""The panel's selectors of results, masks and initial transform, and the button that deforms further nodes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving

pytestmark = pytest.mark.slicer

SELECTORS = {
    "fixedSelector": "vtkMRMLScalarVolumeNode",
    "movingSelector": "vtkMRMLScalarVolumeNode",
    "fixedLabelsSelector": "vtkMRMLSegmentationNode",
    "movingLabelsSelector": "vtkMRMLLabelMapVolumeNode",
    "fixedLandmarksSelector": "vtkMRMLMarkupsFiducialNode",
    "movingLandmarksSelector": "vtkMRMLMarkupsFiducialNode",
    "stiffnessSelector": "vtkMRMLSegmentationNode",
    "fixedMaskSelector": "vtkMRMLSegmentationNode",
    "movingMaskSelector": "vtkMRMLLabelMapVolumeNode",
    "fixedChannelSelector": "vtkMRMLScalarVolumeNode",
    "movingChannelSelector": "vtkMRMLScalarVolumeNode",
    "initialTransformSelector": "vtkMRMLLinearTransformNode",
    "outputVolumeSelector": "vtkMRMLScalarVolumeNode",
    "outputTransformSelector": "vtkMRMLGridTransformNode",
    "outputStiffnessSelector": "vtkMRMLScalarVolumeNode",
    "warpSelector": "vtkMRMLModelNode",
}


def add(kind, name):
    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def test_all_selectors_are_tried(module):
    found = {name for name, widget in vars(module.ui).items() if widget.inherits("qMRMLNodeComboBox")}
    assert found == {*SELECTORS, "registrationSelector"}


def test_a_deleted_node_is_none_and_no_other_choice_changes(module):
    """A list of Qt whose current row is removed goes on to the next one."""
    for name, kind in SELECTORS.items():
        node = add(kind, f"{name} 1")
        add(kind, f"{name} 2")
        getattr(module.ui, name).setCurrentNode(node)
    application.process_events(0.05)
    chosen = {name: getattr(module.ui, name).currentNode() for name in SELECTORS}
    assert all(node.GetName() == f"{name} 1" for name, node in chosen.items())
    for name in SELECTORS:
        slicer.mrmlScene.RemoveNode(chosen[name])
        chosen[name] = None
        application.process_events(0.02)
        assert {each: getattr(module.ui, each).currentNode() for each in SELECTORS} == chosen
        field = getattr(module.ui, name).property("SlicerParameterName")
        assert getattr(module.panel.parameters, field) is None


def test_selectors_offer_what_they_take(module):
    for kind in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLLinearTransformNode"):
        add(kind, kind)
    for kind in ("vtkMRMLGridTransformNode", "vtkMRMLMarkupsClosedCurveNode", "vtkMRMLMarkupsROINode"):
        add(kind, kind)

    def offered(name):
        return set(driving.offered(getattr(module.ui, name))[0])

    images = {"None", "before", "after", "third"}
    assert offered("fixedSelector") == offered("fixedChannelSelector") | {"None"} == images
    assert offered("outputVolumeSelector") == images
    assert "Create new Volume" in driving.offered(module.ui.outputVolumeSelector)[1]
    assert offered("fixedMaskSelector") == {"None", "vtkMRMLLabelMapVolumeNode", "vtkMRMLSegmentationNode"}
    assert offered("initialTransformSelector") == {"None", "vtkMRMLLinearTransformNode", "vtkMRMLGridTransformNode"}
    kinds = {"vtkMRMLMarkupsClosedCurveNode", "vtkMRMLMarkupsROINode", "vtkMRMLSegmentationNode"}
    assert offered("warpSelector") == images | kinds | {"vtkMRMLLabelMapVolumeNode"}


def test_without_a_choice_the_results_are_new_nodes_which_are_shown(done):
    parameters = done.panel.parameters
    for name, field in (
        ("outputVolumeSelector", "deformedVolume"),
        ("outputTransformSelector", "displacementTransform"),
        ("outputStiffnessSelector", "weightVolume"),
    ):
        assert getattr(done.ui, name).currentNode() is getattr(parameters, field)
    assert parameters.deformedVolume.GetName() == "after on before (deformed image)"


def test_chosen_nodes_hold_the_results_and_keep_their_names(chosen):
    from SPRRegistrationLib.scene import geometry

    driving.pick(chosen.ui.outputVolumeSelector, "third")
    stiffness = chosen.ui.outputStiffnessSelector.addNode()
    transform = chosen.ui.outputTransformSelector.addNode()
    chosen.ui.applyButton.click()
    driving.wait_for(chosen.panel, "DONE")
    parameters = chosen.panel.parameters
    assert parameters.deformedVolume is chosen.images[2]
    assert parameters.deformedVolume.GetName() == "third"
    assert (parameters.weightVolume, parameters.displacementTransform) == (stiffness, transform)
    assert (stiffness.GetName(), transform.GetName()) == ("Stiffness", "Deformation")
    assert stiffness.GetDisplayNode().GetColorNode() is parameters.weightColors
    assert geometry.displacement_of(transform) is not None


def test_a_node_chosen_after_the_result_gets_it(done):
    from SPRRegistrationLib.scene import geometry

    old = done.panel.parameters.displacementTransform
    new = done.ui.outputTransformSelector.addNode()
    assert done.panel.parameters.displacementTransform is new
    driving.wait_for(done.panel, "DONE")
    assert application.process_events(10, lambda: geometry.displacement_of(new) is not None)
    np.testing.assert_array_equal(geometry.displacement_of(new)[0], geometry.displacement_of(old)[0])
    assert slicer.mrmlScene.GetNodeByID(old.GetID()) is old


def test_none_keeps_the_node_and_the_next_result_is_a_new_one(done):
    old = done.panel.parameters.deformedVolume
    driving.pick(done.ui.outputVolumeSelector, "None")
    application.process_events(0.1)
    assert done.panel.parameters.deformedVolume is None
    done.ui.applyButton.click()
    driving.wait_for(done.panel, "DONE")
    application.process_events(0.3)
    assert driving.stage(done.panel) == "DONE"
    assert done.panel.parameters.deformedVolume not in (None, old)
    assert old.GetImageData() is not None


@pytest.mark.parametrize(
    ("selector", "name"), [("outputVolumeSelector", "before"), ("outputStiffnessSelector", "after")]
)
def test_an_input_is_never_overwritten(chosen, selector, name):
    voxels = [slicer.util.arrayFromVolume(image).copy() for image in chosen.images]
    driving.pick(getattr(chosen.ui, selector), name)
    application.process_events(0.05)
    assert getattr(chosen.ui, selector).currentNode() is None
    assert f"“{name}”" in chosen.ui.statusLabel.text
    chosen.ui.applyButton.click()
    driving.wait_for(chosen.panel, "DONE")
    for image, array in zip(chosen.images, voxels, strict=True):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(image), array)


def test_a_result_that_becomes_an_input_is_kept(done):
    deformed = done.panel.parameters.deformedVolume
    voxels = slicer.util.arrayFromVolume(deformed).copy()
    done.ui.movingSelector.setCurrentNode(deformed)
    application.process_events(0.05)
    assert done.panel.parameters.movingVolume is deformed
    assert done.panel.parameters.deformedVolume is None
    done.ui.applyButton.click()
    driving.wait_for(done.panel, "DONE")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(deformed), voxels)


def test_the_initial_transform_takes_the_place_of_the_alignment(chosen):
    assert chosen.ui.alignmentSelector.enabled
    chosen.ui.initialTransformSelector.setCurrentNode(add("vtkMRMLLinearTransformNode", "by hand"))
    assert not chosen.ui.alignmentSelector.enabled
    assert "“by hand”" in chosen.ui.guardLabel.text
    chosen.ui.initialTransformSelector.setCurrentNode(None)
    assert chosen.ui.alignmentSelector.enabled


def test_a_nonlinear_initial_transform_is_refused_in_words(chosen):
    from SPRRegistrationLib.scene import geometry

    node = add("vtkMRMLGridTransformNode", "curved")
    geometry.set_displacement(node, np.ones((4, 4, 4, 3), np.float32), np.eye(4))
    chosen.ui.initialTransformSelector.setCurrentNode(node)
    assert "not linear" in chosen.ui.guardLabel.text
    chosen.ui.applyButton.click()
    assert "urved: a transform that is not linear" in chosen.ui.statusLabel.text
    chosen.ui.initialTransformSelector.setCurrentNode(None)
    chosen.ui.applyButton.click()
    driving.wait_for(chosen.panel, "DONE")


def test_exchanged_images_take_their_masks_along_and_no_initial_transform(chosen):
    masks = [add("vtkMRMLSegmentationNode", name) for name in ("fixed mask", "moving mask")]
    chosen.ui.fixedMaskSelector.setCurrentNode(masks[0])
    chosen.ui.movingMaskSelector.setCurrentNode(masks[1])
    chosen.ui.initialTransformSelector.setCurrentNode(add("vtkMRMLLinearTransformNode", "by hand"))
    chosen.ui.swapButton.click()
    assert chosen.ui.fixedMaskSelector.currentNode() is masks[1]
    assert chosen.ui.movingMaskSelector.currentNode() is masks[0]
    assert chosen.ui.initialTransformSelector.currentNode() is None
    assert "initial transform was removed" in chosen.ui.statusLabel.text


def test_another_mask_opens_the_pair_again(done):
    opened = done.panel.session.opened
    mask = add("vtkMRMLLabelMapVolumeNode", "mask")
    slicer.util.updateVolumeFromArray(mask, np.ones((10, 11, 12), np.int16))
    done.ui.fixedMaskSelector.setCurrentNode(mask)
    done.ui.applyButton.click()
    driving.wait_for(done.panel, "DONE")
    assert done.panel.session.opened is not opened
    opened = done.panel.session.opened
    slicer.util.arrayFromVolume(mask)[0] = 0
    slicer.util.arrayFromVolumeModified(mask)  # as by the Segment Editor; the panel is not told
    done.ui.applyButton.click()
    driving.wait_for(done.panel, "DONE")
    assert done.panel.session.opened is not opened


def test_further_nodes_are_deformed_by_one_button(done):
    points = add("vtkMRMLMarkupsFiducialNode", "marks")
    points.AddControlPoint(3, 3, 3, "A")
    assert not done.ui.warpButton.enabled
    done.ui.warpSelector.setCurrentNode(points)
    done.ui.warpButton.click()
    assert done.ui.warpLabel.text == "“marks warped” was made."
    made = slicer.util.getNode("marks warped")
    assert made.GetNthControlPointLabel(0) == "A"
    assert points.GetNthControlPointPosition(0) == (3, 3, 3)
    driving.pick(done.ui.warpSelector, "third")
    done.ui.warpButton.click()
    made = slicer.util.getNode("third warped")
    assert made.GetImageData().GetDimensions() == done.images[0].GetImageData().GetDimensions()


def test_what_cannot_be_deformed_is_said(done):
    done.ui.warpSelector.setCurrentNode(add("vtkMRMLModelNode", "nothing"))
    done.ui.warpButton.click()
    assert "othing: an empty node" in done.ui.warpLabel.text


def test_a_copy_deformed_by_a_preview_says_so(done):
    done.panel.parameters.weightVolume.SetAttribute("SPRRegistration.Preview", "yes")
    driving.pick(done.ui.warpSelector, "third")
    done.ui.warpButton.click()
    assert "preview" in done.ui.warpLabel.text


def test_nothing_can_be_deformed_before_there_is_a_deformation(chosen):
    driving.pick(chosen.ui.warpSelector, "third")
    assert not chosen.ui.warpButton.enabled
