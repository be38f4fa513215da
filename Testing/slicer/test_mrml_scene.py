"""A scene that was saved and loaded again has every setting and every result; snapshots, tables, inputs of a scene."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from SPRCore.errors import InputError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

KINDS = ("Volume", "Transform", "Table", "ColorTable", "ProceduralColor")
"""What has a file of its own, of what a registration makes."""

FINAL = {"displacement": 2.0, "weight": 0.25}


def filled(scene, name="A"):
    """A registration with an exact result, a table, a chart and a snapshot."""
    from harness import pairs
    from SPRRegistrationLib.scene import charts, display, outputs, snapshots

    parameters = pairs.add_registration(scene, name)
    shown = pairs.PlayedWorker().arrays(FINAL["displacement"], final=True)
    outputs.ensure(parameters)
    outputs.show_result(parameters, *(shown[key] for key in ("displacement", "weight", "inverse")))
    parameters.alpha, parameters.lambdaMax, parameters.weightLimit, parameters.showJacobian = 0.3, 2.5, 0.7, True
    parameters.quality, parameters.report = json.dumps({"similarity": 0.5}), json.dumps({"metrics": {}})
    snapshots.record(parameters)
    snapshots.keep(parameters, "B", {"lncc": 0.5})
    charts.update_histogram(parameters)
    display.show(parameters)
    return parameters


def save(scene, folder):
    """Save a scene as the application does: every node that has a file of its own, then the scene."""
    scene.SetRootDirectory(str(folder))
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if not node.IsA("vtkMRMLStorableNode") or not node.GetSaveWithScene() or node.GetHideFromEditors():
            continue
        if node.GetStorageNode() is None and not node.AddDefaultStorageNode():
            continue
        storage = node.GetStorageNode()
        if storage is None or not any(node.IsA(f"vtkMRML{kind}Node") for kind in KINDS):
            continue
        storage.SetFileName(str(folder / f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"))
        assert storage.WriteData(node), node.GetName()
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Commit()


def load(folder):
    from harness import core

    scene, application = core.make_scene()
    scene.SetRootDirectory(str(folder))
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Connect()
    return scene, application


def test_save_and_restore_bring_back_every_setting_and_result(scene, tmp_path):
    from harness import pairs
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.scene import geometry, snapshots

    before = filled(scene)
    settings = {
        name: getattr(before, name)
        for name, kind in SPRRegistrationParameters.__annotations__.items()
        if "vtkMRML" not in str(kind) and str(kind) != "Labels"
    }
    nodes = [name for name in SPRRegistrationParameters.__annotations__ if name not in settings]
    names = {name: getattr(before, name).GetName() for name in nodes if getattr(before, name) is not None}
    assert len(names) >= 12
    save(scene, tmp_path)
    restored, application = load(tmp_path)
    after = SPRRegistrationParameters(restored.GetFirstNodeByClass("vtkMRMLScriptedModuleNode"))
    assert {name: getattr(after, name) for name in settings} == settings
    assert {name: getattr(after, name).GetName() for name in names} == names
    points = np.array([[4.0, 5.0, 6.0]])
    np.testing.assert_allclose(geometry.moved_points(after.displacementTransform, points), points + 2, atol=1e-3)
    np.testing.assert_allclose(geometry.moved_points(after.inverseTransform, points), points - 2, atol=1e-3)
    np.testing.assert_allclose(geometry.affine_of(after.weightVolume), pairs.AFFINE, atol=1e-6)
    assert np.unique(geometry.image_of(after.weightVolume)[0]) == [FINAL["weight"]]
    np.testing.assert_array_equal(
        geometry.image_of(after.deformedVolume)[0], geometry.image_of(before.deformedVolume)[0]
    )
    assert dict(snapshots.snapshots_of(after)["B"].setting) == {"alpha": 0.3, "lambda_max": 2.5}
    del application


def test_a_restored_scene_can_be_shown_and_gone_on_with(scene, tmp_path):
    from harness import pairs
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.scene import colors, display, geometry, outputs, snapshots

    filled(scene)
    save(scene, tmp_path)
    restored, application = load(tmp_path)
    parameters = SPRRegistrationParameters(restored.GetFirstNodeByClass("vtkMRMLScriptedModuleNode"))
    count = restored.GetNumberOfNodesByClass("vtkMRMLVolumeNode")
    outputs.ensure(parameters)
    display.show(parameters)
    shown = pairs.PlayedWorker().arrays(3.0)
    outputs.show_preview(parameters, shown["displacement"], shown["weight"])
    assert restored.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == count
    assert parameters.weightColors.GetNumberOfColors() == colors.SIZE
    assert restored.GetNumberOfNodesByClass("vtkMRMLModelNode") <= 3 + 2  # legends are made anew, not loaded twice
    assert snapshots.recall(parameters, "B") == {"alpha": 0.3, "lambda_max": 2.5}
    assert geometry.displacement_of(parameters.displacementTransform)[0].max() == 2.0
    del application


def test_a_loaded_deformation_is_interpolated_as_before(scene, tmp_path):
    from harness import pairs
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.scene import geometry, outputs

    before = filled(scene)
    field = np.random.default_rng(3).normal(scale=2.0, size=(*pairs.SHAPE, 3)).astype(np.float32)
    geometry.set_displacement(before.displacementTransform, field, pairs.AFFINE)
    points = np.random.default_rng(4).uniform(1, 12, (50, 3))
    expected = geometry.moved_points(before.displacementTransform, points)
    save(scene, tmp_path)
    restored, application = load(tmp_path)
    after = SPRRegistrationParameters(restored.GetFirstNodeByClass("vtkMRMLScriptedModuleNode"))
    outputs.ensure(after)
    np.testing.assert_allclose(geometry.moved_points(after.displacementTransform, points), expected, atol=1e-3)
    del application


def test_names_follow_the_images_unless_the_user_gave_one(scene):
    from SPRRegistrationLib.scene import outputs

    parameters = filled(scene)
    parameters.weightVolume.SetName("mine")
    parameters.fixedVolume.SetName("planning CT")
    outputs.ensure(parameters)
    assert parameters.weightVolume.GetName() == "mine"
    assert parameters.deformedVolume.GetName() == "moving A on planning CT (deformed image)"


def test_a_result_that_was_removed_is_made_again(scene):
    from SPRRegistrationLib.scene import outputs

    parameters = filled(scene)
    scene.RemoveNode(parameters.weightVolume)
    outputs.ensure(parameters)
    assert parameters.weightVolume.GetScene() is scene
    assert parameters.weightVolume.GetDisplayNode().GetColorNode() is parameters.weightColors


def test_undo_and_redo_go_back_and_forth(scene):
    from SPRRegistrationLib.scene import snapshots

    parameters = filled(scene)
    parameters.alpha = 0.5
    snapshots.record(parameters)
    snapshots.record(parameters)  # twice the same is one step
    assert snapshots.step(parameters, -1) == {"alpha": 0.3, "lambda_max": 2.5}
    assert parameters.alpha == 0.3
    assert snapshots.step(parameters, -1) is None
    assert snapshots.step(parameters, 1)["alpha"] == 0.5
    assert snapshots.step(parameters, 1) is None
    snapshots.step(parameters, -1)
    parameters.alpha = 0.1
    snapshots.record(parameters)
    assert not snapshots.history_of(parameters).can_redo


def test_two_snapshots_are_compared_in_mm(scene):
    from harness import pairs
    from SPRRegistrationLib.scene import geometry, outputs, snapshots

    parameters = filled(scene)
    shown = pairs.PlayedWorker().arrays(5.0, shape=(4, 5, 5), affine=pairs.AFFINE @ np.diag([2, 2, 2, 1]))
    outputs.show_preview(parameters, shown["displacement"], shown["weight"])
    snapshots.keep(parameters, "C", {})
    volume = snapshots.difference_mm(parameters, "B", "C")
    np.testing.assert_allclose(geometry.image_of(volume)[0], 3 * np.sqrt(3), atol=1e-5)
    assert snapshots.difference_mm(parameters, "A", "B") is None
    assert snapshots.recall(parameters, "A") is None


def test_a_kept_deformation_is_small_and_stays_at_its_place():
    from harness import core

    core.install()
    from SPRRegistrationLib.scene import snapshots

    field = np.zeros((160, 96, 130, 3), dtype=np.float32)
    field[..., 0] = np.arange(160)[:, None, None]
    thin, affine = snapshots.thinned(field, np.diag([1.5, 1.0, 2.0, 1.0]))
    assert np.prod(thin.shape[:3]) <= snapshots.MOST_VECTORS
    index = (5, 2, 3)
    place = affine @ (*index, 1)
    assert thin[index][0] == field[tuple(np.rint(place[:3] / (1.5, 1.0, 2.0)).astype(int))][0]


def test_text_that_is_broken_loses_the_snapshots_and_nothing_else(scene):
    from SPRRegistrationLib.scene import snapshots

    parameters = filled(scene)
    parameters.snapshots, parameters.history = "{", "[]"
    assert snapshots.snapshots_of(parameters) == {}
    assert not snapshots.history_of(parameters).can_undo


def test_a_histogram_says_how_much_is_how_stiff(scene):
    parameters = filled(scene)
    table = parameters.histogramTable
    rows = {table.GetCellText(row, 0): float(table.GetCellText(row, 1)) for row in range(table.GetNumberOfRows())}
    assert sum(rows.values()) == pytest.approx(100)
    assert rows["0.25"] == pytest.approx(100)


def with_segments(parameters, side, names):
    """Give an image a segmentation of slabs along the first axis."""
    import slicer

    volume = getattr(parameters, f"{side}Volume")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    from harness import pairs
    from SPRRegistrationLib.scene import geometry

    array = np.zeros(pairs.SHAPE, dtype=np.int16)
    for number in range(1, len(names) + 1):
        array[2 * number - 1 : 2 * number + 1] = number
    geometry.set_image(labels, array, geometry.affine_of(volume))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ImportLabelmapToSegmentationNode(labels, segmentation)
    for number, name in enumerate(names):
        segmentation.GetSegmentation().GetNthSegment(number).SetName(name)
    slicer.mrmlScene.RemoveNode(labels)
    setattr(parameters, f"{side}Labels", segmentation)
    return segmentation, array


def test_segments_belong_to_each_other_by_name(scene):
    from SPRRegistrationLib.scene import inputs

    parameters = filled(scene)
    _, array = with_segments(parameters, "fixed", ["liver", "lung"])
    with_segments(parameters, "moving", ["lung", "liver"])
    arrays = inputs.arrays_of(parameters)
    np.testing.assert_array_equal(arrays["fixed_labels"][0], array)
    swapped = np.array([0, 2, 1])[array]
    np.testing.assert_array_equal(arrays["moving_labels"][0], swapped)
    np.testing.assert_allclose(arrays["fixed_labels"][1], arrays["fixed"][1])


def test_the_table_of_segments_says_how_stiff_each_came_out(scene):
    from SPRRegistrationLib.scene import charts

    parameters = filled(scene)
    with_segments(parameters, "fixed", ["liver", "lung"])
    parameters.report = json.dumps({"metrics": {"after": {"dice": {"1": 0.9}}}})
    before = scene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode")
    charts.update_segment_table(parameters)
    table = parameters.segmentTable
    rows = [[table.GetCellText(row, column) for column in range(8)] for row in range(table.GetNumberOfRows())]
    assert [row[0] for row in rows] == ["liver", "lung"]
    values = np.array([[float(text) for text in row[1:]] for row in rows])
    voxels = 2 * 9 * 10 * 2.0 * 2.5 * 3.0 / 1000
    expected = [voxels, 0.25, 2 * np.sqrt(3), 2 * np.sqrt(3), 1.0, 0.0]
    np.testing.assert_allclose(values[:, :6], [expected, expected], rtol=1e-4)
    assert (values[0, 6], np.isnan(values[1, 6])) == (0.9, True)
    assert scene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode") == before


def test_segments_are_painted_stiff(scene):
    from SPRRegistrationLib.scene import inputs

    parameters = filled(scene)
    assert inputs.painted_stiffness(parameters) is None
    segmentation, array = with_segments(parameters, "fixed", ["bone", "air"])
    parameters.stiffnessSegments = segmentation
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    parameters.stiffnessFactors = json.dumps({ids[0]: 10.0, ids[1]: 1.0})
    stiffness, _affine = inputs.painted_stiffness(parameters)
    np.testing.assert_array_equal(stiffness, np.where(array == 1, 10, 1))
    parameters.stiffnessFactors = json.dumps({ids[0]: 0.0})
    with pytest.raises(InputError, match="factor of 0"):
        inputs.painted_stiffness(parameters)


def test_landmarks_must_come_in_pairs(scene):
    from SPRRegistrationLib.scene import inputs

    parameters = filled(scene)
    for side, count in (("fixed", 2), ("moving", 3)):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        for number in range(count):
            node.AddControlPoint(float(number), 0.0, 0.0)
        setattr(parameters, f"{side}Landmarks", node)
    with pytest.raises(InputError, match="2 in the fixed and 3 in the moving"):
        inputs.arrays_of(parameters)
    parameters.movingLandmarks.RemoveNthControlPoint(0)
    assert inputs.arrays_of(parameters)["moving_points"][0].tolist() == [[1, 0, 0], [2, 0, 0]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (np.eye(4), {"overlap": 1.0, "angle_degrees": 0.0, "spacing_ratio": 1.0}),
        (np.diag([-1.0, 1.0, 1.0, 1.0]), {"overlap": 0.0, "angle_degrees": 0.0}),
        (np.diag([4.0, 4.0, 4.0, 1.0]), {"spacing_ratio": 4.0, "thickest_mm": 12.0}),
        (np.array([[0, -1, 0, 20.0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), {"angle_degrees": 0.0}),
    ],
    ids=["same", "mirrored", "coarse", "turned by a right angle"],
)
def test_facts_of_a_pair(scene, change, expected):
    from harness import pairs
    from SPRRegistrationLib.scene import inputs

    parameters = pairs.add_registration(scene)
    moving = pairs.add_volume(scene, "other", np.zeros(pairs.SHAPE, np.float32), change @ pairs.AFFINE)
    parameters.movingVolume = moving
    facts = inputs.facts_of(parameters)
    for name, value in expected.items():
        assert facts[name] == pytest.approx(value, abs=0.12 if name == "overlap" else 1e-5)
