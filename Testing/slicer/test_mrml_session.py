"""One registration's session, against a worker that the test plays: what is asked, and what becomes of the scene."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from SPRCore.live import protocol
from SPRCore.live.arrays import PREFIX

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]


@pytest.fixture
def begin(scene):
    """Make registrations with sessions and played workers."""
    from harness import pairs

    made = []

    def make(name="A", is_open=True):
        from SPRRegistrationLib.session import RegistrationSession

        parameters, worker = pairs.add_registration(scene, name), pairs.PlayedWorker()
        told = []
        session = RegistrationSession(parameters, worker, ["worker"], lambda one: told.append(one.stage))
        worker.session, session.told = session, told
        made.append((session, worker))
        if is_open:
            session.open()
            worker.greet()
            worker.answer_open()
        return session, worker, parameters

    yield make
    for session, worker in made:
        session.close()
        worker.close()


def stage(name):
    from SPRRegistrationLib.session import SessionStage

    return SessionStage[name]


def field_of(parameters):
    from SPRRegistrationLib.scene import geometry

    return geometry.displacement_of(parameters.displacementTransform)[0]


def test_a_pair_is_opened_with_what_the_parameters_say(begin):
    session, worker, parameters = begin(is_open=False)
    parameters.alpha, parameters.refine = 0.3, 7
    assert session.stage is stage("NO_PAIR")
    session.open()
    assert (session.stage, worker.starts) == (stage("OPENING"), 1)
    worker.greet()
    request = worker.last(protocol.Open)
    assert (request.method, request.prior, request.init, request.refine) == ("instance", "beta", "auto", 7)
    assert request.setting == {"alpha": 0.3, "lambda_max": 1.0}
    assert set(request.segment.arrays) == {"fixed", "moving"}
    worker.answer_open()
    assert (session.stage, session.ranges["alpha"]) == (stage("READY"), (0.01, 0.6))


def test_a_preview_moves_the_transform_and_leaves_the_moving_image_alone(begin):
    session, worker, parameters = begin()
    before = parameters.movingVolume.GetMTime()
    session.preview({"alpha": 0.2})
    assert session.stage is stage("PREVIEWING")
    worker.result(worker.last(protocol.Update).id, 3.0, shape=(4, 5, 5))
    assert (session.stage, session.words) == (stage("READY"), "A preview is shown. Apply computes the exact result.")
    assert field_of(parameters).max() == 3.0
    deformed = parameters.deformedVolume
    assert deformed.GetImageData() is parameters.movingVolume.GetImageData()
    assert deformed.GetParentTransformNode() is parameters.displacementTransform
    assert parameters.movingVolume.GetMTime() == before
    assert parameters.movingVolume.GetParentTransformNode() is None


def test_previews_change_numbers_and_no_nodes(begin, scene):
    session, worker, parameters = begin()
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id, 1.0)
    seen = {scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())}
    transform, image = parameters.displacementTransform, parameters.weightVolume.GetImageData()
    changes = []
    parameters.parameterNode.AddObserver("ModifiedEvent", lambda *_: changes.append(1))
    for value in (2.0, 3.0, 4.0):
        session.preview({"alpha": value / 10})
        worker.result(worker.last(protocol.Update).id, value)
        assert field_of(parameters).max() == value
    assert {scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())} == seen
    assert parameters.displacementTransform is transform
    assert parameters.weightVolume.GetImageData() is image
    assert not changes  # a slider that moves is no change of the parameters


def test_a_commit_puts_everything_into_the_scene(begin):
    from SPRRegistrationLib.scene import geometry

    session, worker, parameters = begin()
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id, 1.0, shape=(4, 5, 5))
    session.commit({"alpha": 0.2})
    assert session.stage is stage("COMMITTING")
    worker.say(protocol.ProgressReport(id=worker.last(protocol.Commit).id, stage="computing", fraction=0.5))
    assert session.progress == 0.5
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    assert (session.stage, session.progress) == (stage("DONE"), None)
    deformed = parameters.deformedVolume
    assert deformed.GetParentTransformNode() is None
    assert deformed.GetImageData().GetDimensions() == parameters.fixedVolume.GetImageData().GetDimensions()
    np.testing.assert_allclose(geometry.affine_of(deformed), geometry.affine_of(parameters.fixedVolume))
    assert geometry.displacement_of(parameters.inverseTransform)[0].max() == -2.0
    assert geometry.image_of(parameters.jacobianVolume)[0].max() == pytest.approx(1.0)
    assert json.loads(parameters.quality)["similarity"] == 0.5
    assert json.loads(parameters.report)["metrics"]["after"]["dice_mean"] == 0.8


def test_after_a_commit_a_preview_is_live_again_and_its_inverse_belongs_to_it(begin):
    from SPRRegistrationLib.scene import geometry

    session, worker, parameters = begin()
    session.commit({"alpha": 0.2})
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    session.preview({"alpha": 0.4})
    worker.result(worker.last(protocol.Update).id, 1.0)
    assert parameters.deformedVolume.GetParentTransformNode() is parameters.displacementTransform
    inside = np.array([[8.0, 10.0, 12.0]])
    np.testing.assert_allclose(geometry.moved_points(parameters.inverseTransform, inside), inside - 1.0, atol=1e-3)
    assert parameters.jacobianVolume.GetImageData() is None  # that of the exact result would mislead
    session.commit({"alpha": 0.4})
    worker.result(worker.last(protocol.Commit).id, 1.5, final=True)
    np.testing.assert_allclose(geometry.moved_points(parameters.inverseTransform, inside), inside - 1.5, atol=1e-3)
    assert field_of(parameters).max() == 1.5


def test_old_answers_are_ignored(begin):
    session, worker, parameters = begin()
    session.preview({"alpha": 0.2})
    first = worker.last(protocol.Update).id
    session.preview({"alpha": 0.3})
    second = worker.last(protocol.Update).id
    worker.result(second, 2.0)
    worker.result(first, 1.0)
    assert field_of(parameters).max() == 2.0
    worker.result(second, 2.5, improvement=True)
    assert field_of(parameters).max() == 2.5


def test_what_was_cancelled_is_not_shown(begin):
    session, worker, parameters = begin()
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id, 1.0)
    session.commit({"alpha": 0.2})
    commit = worker.last(protocol.Commit).id
    session.cancel()
    assert (session.stage, "still shown" in session.words) == (stage("CANCELLED"), True)
    worker.result(commit, 9.0, final=True)
    assert field_of(parameters).max() == 1.0
    worker.say(protocol.Done(id=worker.last(protocol.Cancel).id))
    session.preview({"alpha": 0.3})
    worker.result(worker.last(protocol.Update).id, 4.0)
    assert (session.stage, field_of(parameters).max()) == (stage("READY"), 4.0)


def test_a_refusal_is_said_in_words_and_the_session_goes_on(begin):
    session, worker, _ = begin()
    session.commit({"alpha": 0.2})
    worker.say(protocol.Error(id=worker.last(protocol.Commit).id, code="memory", what="not enough memory"))
    assert session.stage is stage("FAILED")
    assert session.words.startswith("There is not enough memory.")
    session.preview({"alpha": 0.3})
    worker.result(worker.last(protocol.Update).id, 4.0)
    assert session.stage is stage("READY")


def test_a_worker_that_dies_is_started_again_with_the_same_pair(begin):
    session, worker, parameters = begin()
    session.commit({"alpha": 0.2})
    session.ended(-9)
    assert (session.stage, worker.starts) == (stage("OPENING"), 2)
    assert "memory" in session.words
    worker.greet()
    worker.answer_open()
    assert session.stage is stage("READY")
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id, 4.0)
    assert field_of(parameters).max() == 4.0


def test_a_worker_that_cannot_be_started_is_given_up_with_a_reason(begin):
    session, worker, _ = begin(is_open=False)
    session.open()
    session.feed_log(b"PythonSlicer: not found\n")
    for _ in range(5):
        session.ended(None)
    assert session.stage is stage("FAILED")
    assert "PythonSlicer: not found" in session.words
    session.open()
    worker.greet()
    worker.answer_open()
    assert session.stage is stage("READY")


def test_images_that_cannot_be_used_are_refused_before_anything_starts(begin, scene):
    session, worker, parameters = begin(is_open=False)
    parameters.movingVolume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    session.open()
    assert (session.stage, worker.starts) == (stage("FAILED"), 0)
    assert session.words.startswith("CT: an empty volume")


def test_a_scene_that_is_cleared_meanwhile_ends_the_worker_quietly(begin, scene):
    session, worker, _ = begin()
    session.preview({"alpha": 0.2})
    update = worker.last(protocol.Update).id
    scene.Clear(False)
    worker.result(update, 1.0)
    assert (session.stage, worker.kills) == (stage("NO_PAIR"), 1)
    assert scene.GetNumberOfNodesByClass("vtkMRMLGridTransformNode") == 0
    session.feed(b"{}\n")
    session.tick(1.0)
    session.ended(-9)
    assert worker.starts == 1


def test_an_image_that_is_removed_meanwhile_ends_the_worker_quietly(begin, scene):
    session, worker, parameters = begin()
    session.commit({"alpha": 0.2})
    scene.RemoveNode(parameters.fixedVolume)
    worker.result(worker.last(protocol.Commit).id, 1.0, final=True)
    assert session.stage is stage("NO_PAIR")


def test_closing_leaves_nothing_behind_and_may_be_repeated(begin):
    import tempfile
    from pathlib import Path

    session, worker, _ = begin()
    folder = Path(worker.last(protocol.Hello).folder)
    assert folder.name.startswith(PREFIX)
    session.close()
    session.close()
    assert worker.kills == 1
    assert not folder.exists()
    assert not list(Path(tempfile.gettempdir()).glob(f"{folder.name}*"))
    session.open()
    assert worker.starts == 2


def test_registrations_side_by_side_do_not_meet(begin, scene):
    several = [begin(name) for name in ("A", "BB", "CCC")]
    for value, (session, _worker, _parameters) in enumerate(several, start=1):
        session.preview({"alpha": value / 10})
    for value, (_session, worker, _parameters) in reversed(list(enumerate(several, start=1))):
        worker.result(worker.last(protocol.Update).id, float(value))
    for value, (session, _worker, parameters) in enumerate(several, start=1):
        assert field_of(parameters).max() == value
        assert session.setting["alpha"] == pytest.approx(value / 10)
    assert len({parameters.deformedVolume.GetID() for *_, parameters in several}) == 3
    assert len({parameters.weightColors.GetID() for *_, parameters in several}) == 1
    assert {parameters.deformedVolume.GetName() for *_, parameters in several} == {
        f"moving {name} on fixed {name} (deformed image)" for name in ("A", "BB", "CCC")
    }
    several[1][0].close()
    assert several[0][0].stage is stage("READY")


def test_the_settings_map_is_kept_as_a_table(begin):
    from SPRRegistrationLib.scene import charts

    session, worker, parameters = begin()
    session.sweep(True)
    assert session.sweeping
    worker.say(protocol.Done(id=worker.last(protocol.ToggleSweep).id))
    for alpha in (0.1, 0.2):
        for strength in (1.0, 2.0, 4.0):
            measures = {"min_jacobian": 0.5, "max_displacement_mm": 1.0, "weight_gap": 0.0, "folding_percent": None}
            quality = protocol.DeformationQuality(similarity=alpha * strength, **measures)
            worker.say(protocol.SweepPoint(setting={"alpha": alpha, "lambda_max": strength}, quality=quality))
    worker.say(protocol.Idle())
    assert (len(session.points), session.sweeping) == (6, False)
    assert parameters.mapTable.GetNumberOfRows() == 6
    kept = charts.saved_points(parameters)
    assert [point.setting for point in kept] == [point.setting for point in session.points]
    assert [(point.similarity, point.folding_percent) for point in kept] == [
        (p.quality.similarity, None) for p in session.points
    ]
    parameters.fixedVolume, parameters.movingVolume = parameters.movingVolume, parameters.fixedVolume
    assert charts.saved_points(parameters) == []  # of other images


def test_painted_stiffness_reaches_the_worker(begin):
    session, worker, _ = begin()
    session.paint(np.full((2, 2, 2), 10.0, dtype=np.float32), np.eye(4))
    segment = worker.last(protocol.Stiffness).segment
    assert set(segment.arrays) == {"stiffness"}
    assert session.stage is stage("READY")


def test_each_batch_is_told_once(begin):
    session, worker, _ = begin()
    session.told.clear()
    session.preview({"alpha": 0.2})
    assert session.told == [stage("PREVIEWING")]
    worker.result(worker.last(protocol.Update).id, 1.0)
    session.tick(5.0)
    assert session.told == [stage("PREVIEWING"), stage("READY")]


def layers(scene):
    from SPRRegistrationLib.scene import display

    return {composite.GetNthLayerVolumeID(display.MAP_LAYER) for composite, _view in display.slice_views(scene)}


def add_view(scene):
    """A slice view without a window."""
    import slicer

    for name, tag in (("vtkMRMLSliceNode", "Red"), ("vtkMRMLSliceCompositeNode", "Red")):
        node = getattr(slicer, name)()
        node.SetLayoutName(tag)
        node.SetSingletonTag(tag)
        scene.AddNode(node)


def test_a_map_that_is_not_known_is_hatched_until_it_is(begin, scene):
    from SPRRegistrationLib.scene import outputs, unknown

    add_view(scene)
    session, worker, parameters = begin()
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id, 1.0, known=False)
    hatching = scene.GetSingletonNode(unknown.TAG, "vtkMRMLScalarVolumeNode")
    assert parameters.weightVolume.GetImageData() is None, "a color would be read as a number"
    assert layers(scene) == {hatching.GetID()}
    session.preview({"alpha": 0.25})
    worker.result(worker.last(protocol.Update).id, 1.0, known=True)
    assert layers(scene) == {parameters.weightVolume.GetID()}
    assert outputs.is_preview(parameters)
    session.preview({"alpha": 0.3})
    worker.result(worker.last(protocol.Update).id, 1.0, known=False)
    assert layers(scene) == {hatching.GetID()}
    session.commit({"alpha": 0.3})
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    assert layers(scene) == {parameters.weightVolume.GetID()}
    assert not outputs.is_preview(parameters)


def test_the_hatching_lies_over_the_image_and_is_no_color_of_the_map(begin, scene):
    from SPRRegistrationLib.scene import colors, geometry, unknown

    _session, _worker, parameters = begin()
    node = unknown.volume_over(parameters.fixedVolume)
    assert unknown.volume_over(parameters.fixedVolume) is node
    assert not node.GetSaveWithScene()
    bounds, own = [0.0] * 6, [0.0] * 6
    parameters.fixedVolume.GetRASBounds(bounds)
    node.GetRASBounds(own)
    np.testing.assert_allclose(own, bounds, atol=1e-3)
    array, _affine = geometry.image_of(node)
    for axis in range(3):
        assert 0.08 < (array.take(array.shape[axis] // 2, axis=axis) > 0).mean() < 0.25
    assert int(node.GetDisplayNode().GetLowerThreshold()) > 0, "rounded as VTK does, the gaps stay clear"
    color, table = [0.0] * 4, colors.stiffness_colors(scene)
    node.GetDisplayNode().GetColorNode().GetColor(1, color)
    assert max(color[:3]) - min(color[:3]) < 0.01
    for index in range(table.GetNumberOfColors()):
        table.GetColor(index, color)
        assert max(color[:3]) - min(color[:3]) > 0.1, "no gray is a stiffness"


def test_the_second_pair_has_the_window_of_its_own_image(begin, scene):
    from harness import pairs

    session, worker, parameters = begin()
    parameters.movingVolume.GetDisplayNode().AutoWindowLevelOff()
    parameters.movingVolume.GetDisplayNode().SetWindowLevelMinMax(-1000.0, 400.0)
    session.commit({"alpha": 0.2})
    worker.result(worker.last(protocol.Commit).id, 1.0, final=True)
    look = parameters.deformedVolume.GetDisplayNode()
    assert (look.GetWindowLevelMin(), look.GetWindowLevelMax()) == (-1000.0, 400.0)
    look.SetWindowLevelMinMax(-200.0, 200.0)  # what the user chose
    session.preview({"alpha": 0.3})
    worker.result(worker.last(protocol.Update).id, 1.0)
    assert look.GetWindowLevelMax() == 200.0
    other = pairs.add_registration(scene, "heart").movingVolume
    other.GetDisplayNode().AutoWindowLevelOff()
    other.GetDisplayNode().SetWindowLevelMinMax(0.0, 30000.0)
    parameters.movingVolume = other
    session.open()
    worker.answer_open()
    session.commit({"alpha": 0.2})
    worker.result(worker.last(protocol.Commit).id, 1.0, final=True)
    assert (look.GetWindowLevelMin(), look.GetWindowLevelMax()) == (0.0, 30000.0)


def add_points(scene, parameters, count=3):
    for side in ("fixed", "moving"):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{side} points")
        for index in range(count):
            node.AddControlPoint(8.0 + index, 10.0, 12.0)
        setattr(parameters, f"{side}Landmarks", node)


def test_landmarks_are_measured_with_without_opening_the_pair_anew(begin, scene):
    session, worker, parameters = begin()
    session.commit({"alpha": 0.2})
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    asked = len(worker.requests)
    add_points(scene, parameters)
    session.remeasure()
    worker.read()
    assert [request.verb for request in worker.requests[asked:] if request.verb != "release"] == ["annotate", "commit"]
    assert sorted(worker.last(protocol.Annotate).segment.arrays) == ["fixed_points", "moving_points"]
    worker.say(protocol.Done(id=worker.last(protocol.Annotate).id))
    assert session.shown is not None, "what was measured stays until it is measured anew"
    session.remeasure()
    worker.read()
    assert worker.requests[-1].verb == "commit", "nothing has changed since"


def test_landmarks_that_do_not_pair_leave_the_registration_alone(begin, scene):
    session, worker, parameters = begin()
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id, 1.0)
    add_points(scene, parameters)
    parameters.movingLandmarks.AddControlPoint(1, 2, 3)
    session.remeasure()
    assert session.stage is stage("READY")
    assert "andmarks: 3 in the fixed and 4 in the moving image" in session.words
    assert worker.last(protocol.Annotate).segment is None


def test_the_report_says_what_was_aligned_and_what_is_doubtful(begin):
    from SPRRegistrationLib import checks

    session, worker, parameters = begin(is_open=False)
    session.open()
    worker.greet()
    said = checks.pair_check(parameters, "", None)
    assert (said.level, said.can_align) == ("plain", False)
    worker.answer_open(init="affine", init_reason="overlap 82 %, centers 39.0 mm apart", covered=0.97)
    assert "aligned affinely first: overlap 82 %" in checks.pair_check(parameters, "", session.opened).lines[-1]
    session.commit({"alpha": 0.2})
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True, warnings=("The images hardly overlap.",))
    report = json.loads(parameters.report)
    assert report["alignment"]["mode"] == "affine"
    assert report["alignment"]["reason"] == "overlap 82 %, centers 39.0 mm apart"
    assert (report["covered"], report["warnings"]) == (0.97, ["The images hardly overlap."])
    assert report["versions"] == {"SPRCore": "0", "torch": ""}
    fixed = report["inputs"]["fixed"]
    assert (fixed["shape"], fixed["spacing_mm"], len(fixed["sha256_voxels"])) == ([8, 9, 10], [2.0, 2.5, 3.0], 64)
    assert fixed["sha256_voxels"] != report["inputs"]["moving"]["sha256_voxels"]


def test_labels_of_another_grid_are_told_before_anything_is_registered(begin, scene):
    from SPRRegistrationLib import checks
    from SPRRegistrationLib.scene import geometry

    _session, _worker, parameters = begin(is_open=False)
    array, affine = geometry.image_of(parameters.fixedVolume)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "heart")
    parameters.fixedLabels = labels
    for shift, level, part in (
        (0.0, "plain", ""),
        (4.0, "check", "another grid"),
        (900.0, "check", "are outside of it"),
    ):
        there = affine.copy()
        there[0, 3] += shift
        geometry.set_image(labels, np.ones(array.shape, dtype=np.int16), there)
        said = checks.pair_check(parameters, "", None)
        assert said.level == level
        assert part in said.lines[0]


def test_the_table_of_the_segments_follows_the_exact_result(begin, scene):
    from SPRRegistrationLib.scene import charts, geometry

    session, worker, parameters = begin()
    array, affine = geometry.image_of(parameters.fixedVolume)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "organs")
    geometry.set_image(labels, np.ones(array.shape, dtype=np.int16), affine)
    parameters.fixedLabels = labels
    session.commit({"alpha": 0.2})
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    charts.update_segment_table(parameters)
    table = parameters.segmentTable
    column, before = table.GetColumnIndex("Displacement, largest (mm)"), table.GetMTime()
    assert float(table.GetCellText(0, column)) == pytest.approx(2.0 * 3**0.5)
    session.commit({"alpha": 0.3})
    worker.result(worker.last(protocol.Commit).id, 4.0, final=True)
    assert float(table.GetCellText(0, column)) == pytest.approx(4.0 * 3**0.5)
    assert table.GetMTime() > before
