"""Masks and initial transform: what the worker gets, what it makes of them, and when a pair is opened again."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.live import protocol

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

SHAPE = (20, 18, 16)
FIXED = np.array([[-2.0, 0, 0, 20], [0, 2.0, 0, -18], [0, 0, 2.5, -20], [0, 0, 0, 1]])
MOVING = np.array([[2.0, 0, 0, -16], [0, 2.2, 0, -20], [0, 0, 2.0, -15], [0, 0, 0, 1]])
PUSH = np.array([[0.99, -0.05, 0, 3.0], [0.05, 0.99, 0, -2.0], [0, 0, 1.0, 1.5], [0, 0, 0, 1]])


def blob(affine, center, seed):
    """A bright ball with texture."""
    points = np.moveaxis(np.indices(SHAPE), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    ball = 100 * np.exp(-(((points - center) / 9.0) ** 2).sum(axis=-1))
    return (ball + np.random.default_rng(seed).normal(scale=2.0, size=SHAPE)).astype(np.float32)


@pytest.fixture
def parameters(scene):
    """A registration of two balls at different places."""
    from harness import pairs

    made = pairs.add_registration(scene)
    made.fixedVolume = pairs.add_volume(scene, "fixed", blob(FIXED, (1, 0, 0), 1), FIXED)
    made.movingVolume = pairs.add_volume(scene, "moving", blob(MOVING, (3, 2, -1), 2), MOVING)
    return made


def add_label_map(parameters, array, affine, name="mask"):
    from SPRRegistrationLib.scene import geometry

    node = parameters.fixedVolume.GetScene().AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    geometry.set_image(node, array, affine)
    return node


def add_segmentation(parameters, array, affine):
    import slicer

    labels = add_label_map(parameters, array, affine, "voxels")
    node = labels.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "regions")
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, node)
    labels.GetScene().RemoveNode(labels)
    return node


def add_transform(parameters, matrix, name="initial"):
    import slicer

    node = parameters.fixedVolume.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def regions():
    """Two labels; half of the image is none of them."""
    array = np.zeros(SHAPE, np.int16)
    array[3:-3, 2:9, 2:-2], array[3:-3, 9:-4, 2:-2] = 1, 2
    return array


def opened(parameters):
    """A session on what the parameters ask for, without a process between."""
    from SPRRegistrationLib.scene import inputs

    from SPRCore.live.backend import TorchBackend

    options = inputs.options_of(parameters) | {"device": "cpu"}
    segment = protocol.Segment(kind="memory", slot="c0", size=1, arrays={})
    request = protocol.Open(id=1, segment=segment, budget_ms=50.0, **options)
    return TorchBackend().open(request, inputs.arrays_of(parameters))


def cold(parameters, init, **masks):
    """What `SPRCore.register` makes of the same."""
    from SPRRegistrationLib.parameters import setting_of

    from SPRCore import BetaPrior, register

    images = [Volume(blob(FIXED, (1, 0, 0), 1), FIXED), Volume(blob(MOVING, (3, 2, -1), 2), MOVING)]
    prior = BetaPrior(**setting_of(parameters))
    return register(*images, prior=prior, init=init, annotations=masks, device="cpu")


def test_masks_and_initial_transform_give_what_the_engine_gives(parameters):
    parameters.fixedMask = add_segmentation(parameters, regions(), FIXED)
    moving_mask = (blob(MOVING, (3, 2, -1), 2) > 8).astype(np.int16) * 7
    parameters.movingMask = add_label_map(parameters, moving_mask, MOVING)
    parameters.initialTransform = add_transform(parameters, PUSH)
    with opened(parameters) as session:
        session.update()
        seen = session.commit()
        assert session.pair.alignment.mode == "given"
    masks = {"fixed_mask": Volume((regions() > 0).astype(np.uint8), FIXED), "moving_mask": Volume(moving_mask, MOVING)}
    expected = cold(parameters, np.linalg.inv(PUSH), **masks)
    np.testing.assert_allclose(seen.displacement.array, expected.displacement.array, atol=0.05)
    np.testing.assert_allclose(seen.inverse.array, expected.inverse.array, atol=0.05)
    without = cold(parameters, np.linalg.inv(PUSH))
    assert np.abs(without.displacement.array - expected.displacement.array).max() > 0.3, "the masks have an effect"


def test_similarity_and_second_channels_reach_the_engine(parameters):
    from SPRRegistrationLib.parameters import SimilarityChoice
    from SPRRegistrationLib.scene import inputs

    before = inputs.opening_of(parameters)
    parameters.similarity = SimilarityChoice.MIND
    parameters.fixedChannel = parameters.fixedVolume
    with pytest.raises(InputError, match=r"second channel.*moving image"):
        inputs.arrays_of(parameters)
    parameters.movingChannel = parameters.movingVolume
    assert inputs.opening_of(parameters) != before
    assert inputs.options_of(parameters)["similarity"] == "mind"
    assert {"fixed_channel", "moving_channel"} <= set(inputs.arrays_of(parameters))
    with opened(parameters) as session:
        assert session.pair.similarity == "mind"
        assert session.pair.fixed.channel is not None
    parameters.method = "general-hyper-spr"
    assert inputs.options_of(parameters)["similarity"] is None


def test_a_mask_of_segments_is_all_of_them_on_the_grid_of_the_image(parameters):
    from SPRRegistrationLib.scene import inputs

    parameters.movingMask = add_segmentation(parameters, regions(), FIXED)  # drawn on the other image
    arrays = inputs.arrays_of(parameters)
    mask, affine = arrays["moving_mask"]
    assert "fixed_mask" not in arrays
    assert (mask.shape, mask.dtype, set(np.unique(mask))) == (SHAPE, np.dtype(np.uint8), {0, 1})
    np.testing.assert_allclose(affine, MOVING)


def test_an_empty_mask_is_refused_by_the_worker(parameters):
    parameters.fixedMask = add_label_map(parameters, np.zeros(SHAPE, np.int16), FIXED)
    with pytest.raises(InputError, match="fixed mask"):
        opened(parameters)


@pytest.mark.parametrize("matrix", [PUSH, PUSH @ np.diag([1.1, 0.9, 1.0, 1.0])])
def test_the_initial_transform_is_sent_as_pull_map(parameters, matrix):
    from SPRRegistrationLib.scene import inputs

    assert "init_affine" not in inputs.options_of(parameters)
    parameters.initialTransform = add_transform(parameters, matrix)
    sent = np.array(inputs.options_of(parameters)["init_affine"]).reshape(4, 4)
    np.testing.assert_allclose(sent @ matrix, np.eye(4), atol=1e-12)


def test_an_initial_transform_is_taken_with_its_parents(parameters):
    from SPRRegistrationLib.scene import inputs

    node, parent = add_transform(parameters, PUSH), add_transform(parameters, np.diag([1.1, 1.0, 1.0, 1.0]), "parent")
    node.SetAndObserveTransformNodeID(parent.GetID())
    parameters.initialTransform = node
    total = np.diag([1.1, 1.0, 1.0, 1.0]) @ PUSH
    np.testing.assert_allclose(inputs.initial_affine(parameters) @ total, np.eye(4), atol=1e-12)


def test_initial_transforms_that_cannot_be_used_are_refused_in_words(parameters):
    from SPRRegistrationLib.checks import pair_check
    from SPRRegistrationLib.scene import geometry, inputs

    grid = parameters.fixedVolume.GetScene().AddNewNodeByClass("vtkMRMLGridTransformNode", "warped")
    geometry.set_displacement(grid, np.ones((*SHAPE, 3), np.float32), FIXED)
    under = add_transform(parameters, PUSH, "parent")
    parameters.movingVolume.SetAndObserveTransformNodeID(under.GetID())
    for node, words in (
        (grid, "not linear"),
        (add_transform(parameters, np.diag([1.0, 0.0, 1.0, 1.0])), "inverted"),
        (under, "already under"),
    ):
        parameters.initialTransform = node
        with pytest.raises(InputError, match=words):
            inputs.options_of(parameters)
        assert words in " ".join(pair_check(parameters, "", None).lines)


def test_the_check_of_the_pair_takes_the_initial_transform(parameters):
    from harness import pairs
    from SPRRegistrationLib.checks import pair_check
    from SPRRegistrationLib.parameters import Alignment
    from SPRRegistrationLib.scene import inputs

    away = np.eye(4)
    away[:3, 3] = 300
    scene = parameters.fixedVolume.GetScene()
    parameters.movingVolume = pairs.add_volume(scene, "far", blob(MOVING, (3, 2, -1), 2), away @ MOVING)
    parameters.alignment = Alignment.NONE
    assert inputs.facts_of(parameters)["overlap"] == 0
    assert pair_check(parameters, "", None).can_align
    parameters.initialTransform = add_transform(parameters, np.linalg.inv(away))
    assert inputs.facts_of(parameters)["overlap"] > 0.5
    check = pair_check(parameters, "", None)
    assert not check.can_align
    assert "“initial”" in check.lines[-1]


def test_a_pair_is_opened_again_when_mask_or_initial_transform_are_edited(parameters):
    import slicer
    from SPRRegistrationLib.scene import inputs

    parameters.fixedMask = add_segmentation(parameters, regions(), FIXED)
    parameters.movingMask = add_label_map(parameters, regions(), MOVING)
    parameters.initialTransform = add_transform(parameters, PUSH)
    states = [inputs.opening_of(parameters)]
    inputs.arrays_of(parameters), inputs.options_of(parameters)
    assert inputs.opening_of(parameters) == states[0], "reading is no change"
    key = parameters.fixedMask.GetSegmentation().GetSegmentIDs()[0]
    slicer.util.arrayFromVolume(parameters.movingMask)[0] = 1
    slicer.util.arrayFromVolumeModified(parameters.movingMask)
    states.append(inputs.opening_of(parameters))
    parameters.initialTransform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4)))
    states.append(inputs.opening_of(parameters))
    part = parameters.fixedMask.GetSegmentation().GetSegment(key).GetRepresentation("Binary labelmap")
    part.GetPointData().GetScalars().Fill(1)  # as the Segment Editor changes voxels
    part.Modified()
    states.append(inputs.opening_of(parameters))
    parameters.fixedMask.GetSegmentation().RemoveSegment(key)
    states.append(inputs.opening_of(parameters))
    assert len(set(states)) == 5


def test_the_report_says_what_was_masked_and_what_it_began_with(parameters):
    from types import SimpleNamespace

    from SPRRegistrationLib.scene import inputs

    parameters.fixedMask = add_segmentation(parameters, regions(), FIXED)
    parameters.initialTransform = add_transform(parameters, PUSH)
    asked = inputs.options_of(parameters)
    opened_ = SimpleNamespace(init="given", init_reason="requested", init_mm=3.0, covered=0.9)
    result = SimpleNamespace(setting={}, warnings=(), milliseconds=1.0, metrics={})
    report = json.loads(json.dumps(inputs.report_of(parameters, asked, result, opened_)))
    assert report["masked"] == ["fixed"]
    assert report["alignment"]["mode"] == "given"
    np.testing.assert_allclose(np.array(report["init_affine"]).reshape(4, 4), np.linalg.inv(PUSH))
