"""The uncertainty in the scene: its map, hatching, values at points, segments, landmarks and deformed copies."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from SPRCore.live import protocol

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

MAP_AFFINE = np.diag([7.0, 10.0, 13.5, 1.0])
"""A coarse grid over the images of `pairs`: 3 x 3 x 3 voxels, whose corner voxels are those of the images."""


def ramp():
    """1 mm at the first slice along x to 5 mm at the last."""
    return np.broadcast_to(np.array([1.0, 3.0, 5.0], np.float32)[:, None, None], (3, 3, 3)).copy()


@pytest.fixture
def begun(scene):
    """A registration with a preview of the setting alpha 0.2, and its played worker."""
    from harness import pairs
    from SPRRegistrationLib.session import RegistrationSession

    parameters, worker = pairs.add_registration(scene), pairs.PlayedWorker()
    parameters.showUncertainty = True
    session = RegistrationSession(parameters, worker, ["worker"], lambda one: None)
    worker.session = session
    session.open()
    worker.greet()
    worker.answer_open()
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id)
    yield session, worker, parameters
    session.close()
    worker.close()


def estimated(worker, id_, exact=False, fine=False, **setting):
    """Let the worker send an uncertainty."""
    summary = {"median": 3.0, "p95": 4.9, "max": 5.0}
    metrics = {"uncertainty_mm": summary, "landmarks": [{"error_mm": 2.0, "uncertainty_mm": 3.0}]}
    facts = {"setting": {"alpha": 0.2, "lambda_max": 1.0} | setting, "exact": exact, "fine": fine}
    worker.uncertainty(id_, ramp(), MAP_AFFINE, metrics, **facts)


def shown_layers(parameters):
    """The nodes of the layers of the map and of the hatching in a slice view."""
    from SPRRegistrationLib.scene import display

    scene = parameters.fixedVolume.GetScene()
    composite, _view = next(display.slice_views(scene))
    found = [composite.GetNthLayerVolumeID(layer) for layer in (display.MAP_LAYER, display.HATCHING_LAYER)]
    return [None if name is None else scene.GetNodeByID(name) for name in found]


def test_the_map_is_shown_with_its_colors_and_its_legend_in_mm(begun, with_views):
    import slicer.util
    from SPRRegistrationLib.scene import display, uncertainty

    session, worker, parameters = begun
    display.show(parameters)
    assert shown_layers(parameters)[0] is None
    estimated(worker, worker.last(protocol.Update).id)
    volume = parameters.uncertaintyVolume
    assert shown_layers(parameters) == [volume, None]
    assert np.array_equal(slicer.util.arrayFromVolume(volume).transpose(2, 1, 0), ramp())
    assert volume.GetName() == "moving A on fixed A (uncertainty, mm)"
    assert volume.GetDisplayNode().GetColorNode() is parameters.uncertaintyColors
    assert volume.GetDisplayNode().GetWindowLevelMax() == 5.0
    legend = legend_of(parameters)
    assert legend.GetTitleText() == "Preview:\nUncertainty\n(± mm)"
    assert uncertainty.is_preview(parameters)
    assert session.uncertainty.exact is False
    parameters.showUncertainty = False
    display.show(parameters)
    assert shown_layers(parameters)[0] is not volume


@pytest.fixture
def with_views(begun):
    """A slice view in the scene of the registration."""
    import slicer

    scene = begun[2].fixedVolume.GetScene()
    if scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode") == 0:
        view = slicer.vtkMRMLSliceNode()
        view.SetLayoutName("Red")
        view.SetSingletonTag("Red")
        scene.AddNode(view)
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetLayoutName("Red")
        scene.AddNode(composite)


def legend_of(parameters):
    import slicer

    carrier = parameters.fixedVolume.GetScene().GetSingletonNode("SPRUncertaintyLegend", "vtkMRMLModelNode")
    return slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(carrier.GetDisplayNode())


def test_it_is_removed_when_the_setting_changes_and_stays_for_the_exact_result(begun, with_views):
    from SPRRegistrationLib.scene import uncertainty

    session, worker, parameters = begun
    number = worker.last(protocol.Update).id
    estimated(worker, number)
    session.commit({"alpha": 0.2, "lambda_max": 1.0})
    worker.result(worker.last(protocol.Commit).id, final=True, place=1)
    assert uncertainty.has_map(parameters), "the setting is the same"
    assert session.awaits_uncertainty, "the fine one"
    estimated(worker, worker.last(protocol.Commit).id, exact=True, fine=True)
    assert not session.awaits_uncertainty
    assert not uncertainty.is_preview(parameters)
    after = json.loads(parameters.report)["metrics"]["after"]
    assert after["uncertainty_mm"]["median"] == 3.0
    assert after["landmarks"] == [{"error_mm": 2.0, "uncertainty_mm": 3.0}]
    assert after["lncc"] == 0.45, "the rest of the report stays"
    from SPRRegistrationLib import verdict

    facts = verdict.of_report(parameters.quality, parameters.report, None)
    text = "± 3.0 mm (median), 95 % below ± 4.9 mm"
    assert ("Uncertainty of the displacement", text) in verdict.badge(facts).details
    session.shown.setting["alpha"] = 0.9  # as if that had been shown
    session.uncertainty.setting["alpha"] = 0.9
    session.preview({"alpha": 0.2})
    worker.result(worker.last(protocol.Update).id, place=2)
    assert not uncertainty.has_map(parameters)
    assert session.uncertainty is None
    assert shown_layers(parameters)[0] is None


@pytest.mark.parametrize("late", ["other setting", "older than the cancel"])
def test_a_late_map_is_not_shown(begun, late):
    from SPRRegistrationLib.scene import uncertainty

    session, worker, parameters = begun
    number = worker.last(protocol.Update).id
    if late == "other setting":
        estimated(worker, number, alpha=0.5)
    else:
        session.cancel()
        estimated(worker, number)
    assert not uncertainty.has_map(parameters)
    assert session.uncertainty is None


def test_a_changed_stiffness_removes_it(begun):
    from SPRRegistrationLib.scene import uncertainty

    session, worker, parameters = begun
    estimated(worker, worker.last(protocol.Update).id)
    session.paint(None)
    assert not uncertainty.has_map(parameters)


def test_values_are_interpolated_inside_the_image_only(begun):
    from SPRRegistrationLib.scene import uncertainty

    _session, worker, parameters = begun
    assert np.isnan(uncertainty.values_mm(parameters, [(0, 0, 0)])).all()
    estimated(worker, worker.last(protocol.Update).id)
    points = [(0, 0, 0), (3.5, 5, 5), (7, 5, 5), (14, 0, 0), (50, 0, 0), (10.5, 20, 27)]
    found = uncertainty.values_mm(parameters, points)
    assert found[[0, 1, 2, 3, 5]] == pytest.approx([1.0, 2.0, 3.0, 5.0, 4.0])
    assert np.isnan(found[4])


def test_it_is_hatched_above_a_limit(begun, with_views):
    import slicer.util
    from SPRRegistrationLib.scene import display, geometry, uncertainty

    _session, worker, parameters = begun
    estimated(worker, worker.last(protocol.Update).id)
    assert uncertainty.hatching(parameters) is None
    counts = []
    for limit in (2.0, 4.0, 6.0):
        parameters.hatchAboveMm = limit
        display.show(parameters)
        hatched = shown_layers(parameters)[1]
        lines = slicer.util.arrayFromVolume(hatched).transpose(2, 1, 0)
        points = np.argwhere(lines) @ geometry.affine_of(hatched)[:3, :3].T + geometry.affine_of(hatched)[:3, 3]
        counts.append(len(points))
        assert (uncertainty.values_mm(parameters, points) > limit).all()
    assert counts[0] > counts[1] > counts[2] == 0
    assert legend_of(parameters).GetTitleText().endswith("lines: above\n6 mm")
    assert hatched.GetDisplayNode().GetColorNode().GetColorName(1) == "Uncertainty above 6 mm"
    parameters.showUncertainty = False
    display.show(parameters)
    assert shown_layers(parameters)[1] is None


def test_segments_and_landmarks_are_listed_with_it(begun, scene):
    from SPRRegistrationLib.scene import charts, geometry

    _session, worker, parameters = begun
    labels = np.zeros((8, 9, 10), np.int16)
    labels[:2], labels[6:] = 1, 2
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    geometry.set_image(node, labels, np.diag([2.0, 2.5, 3.0, 1.0]))
    parameters.fixedLabels = node
    for name, shift in (("fixedLandmarks", 0.0), ("movingLandmarks", 2.0)):
        points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for x in (0.0, 7.0):
            points.AddControlPoint(x + shift, 5.0, 5.0, f"P{x:g}")
        setattr(parameters, name, points)
    charts.update_segment_table(parameters)
    charts.update_landmark_table(parameters)
    titles = [parameters.segmentTable.GetColumnName(k) for k in range(parameters.segmentTable.GetNumberOfColumns())]
    assert "Displacement, ± mm" not in titles
    estimated(worker, worker.last(protocol.Update).id)
    assert parameters.segmentTable.GetNumberOfColumns() == len(titles), "segments are measured with exact results only"
    estimated(worker, worker.last(protocol.Update).id, exact=True)
    table, marks = (parameters.segmentTable.GetTable(), parameters.landmarkTable.GetTable())
    medians = [table.GetColumnByName("Displacement, ± mm").GetValue(row) for row in range(2)]
    assert medians == pytest.approx([np.median([1.0, 1.0 + 4 / 7]), 5 - 2 / 7])
    assert [marks.GetColumnByName("Landmark").GetValue(row) for row in range(2)] == ["P0", "P7"]
    # the played displacement is 1 mm along each axis
    apart = np.linalg.norm([1.0, -1.0, -1.0])
    assert [marks.GetColumnByName("Distance (mm)").GetValue(row) for row in range(2)] == pytest.approx([apart] * 2)
    assert [marks.GetColumnByName("± mm").GetValue(row) for row in range(2)] == pytest.approx([1.0, 3.0])


def test_the_cursor_and_the_line_of_the_panel(begun):
    from types import SimpleNamespace

    from SPRRegistrationLib import panel_state

    session, worker, parameters = begun
    controller = SimpleNamespace(parameters=parameters, session=session)
    assert panel_state.cursor_text(controller, (7.0, 5.0, 5.0)) == "stiffness 0.25, moved by 1.7 mm"
    assert panel_state.uncertainty_text(controller) == "The uncertainty is being computed."
    estimated(worker, worker.last(protocol.Update).id)
    assert panel_state.cursor_text(controller, (7.0, 5.0, 5.0)) == "stiffness 0.25, moved by 1.7 ± 3.0 mm"
    text = "Median ± 3.0 mm, 95 % of the image below ± 4.9 mm (preview)"
    assert panel_state.uncertainty_text(controller) == text
    session.opened = replace(session.opened, similarity="mind")
    assert panel_state.uncertainty_text(controller) == f"{text}; not calibrated for this similarity"
    parameters.showUncertainty = False
    assert panel_state.uncertainty_text(controller) == ""


def test_deformed_copies_have_it(begun, scene):
    import vtk
    from SPRRegistrationLib.scene import uncertainty, warping
    from vtk.util.numpy_support import vtk_to_numpy

    _session, worker, parameters = begun
    source = vtk.vtkCubeSource()
    source.SetBounds(0, 14, 0, 20, 0, 27)
    source.Update()
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "cube")
    model.SetAndObserveMesh(source.GetOutput())
    model.CreateDefaultDisplayNodes()
    marks = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "marks")
    marks.AddControlPoint(8.0, 6.0, 6.0, "P")
    estimated(worker, worker.last(protocol.Update).id)
    copies = [warping.warp(node, parameters.displacementTransform) for node in (model, marks)]
    for copy in copies:
        uncertainty.attach(parameters, copy)
    scalars = vtk_to_numpy(copies[0].GetMesh().GetPointData().GetArray(uncertainty.SCALARS))
    points = vtk_to_numpy(copies[0].GetMesh().GetPoints().GetData())
    assert scalars == pytest.approx(np.nan_to_num(uncertainty.values_mm(parameters, points)))
    assert scalars.max() > 4.0
    display = copies[0].GetDisplayNode()
    assert (display.GetActiveScalarName(), display.GetScalarVisibility()) == (uncertainty.SCALARS, 1)
    assert display.GetColorNode() is parameters.uncertaintyColors
    assert copies[1].GetNthControlPointDescription(0) == "± 3.0 mm"
    assert uncertainty.words_about(copies[1]).startswith("Uncertainty (one standard deviation): ± 3.0 mm")
    assert not uncertainty.words_about(model)


def test_outlines_of_segments_have_the_medians_in_their_description(begun, scene):
    from SPRRegistrationLib.scene import geometry, uncertainty

    _session, worker, parameters = begun
    labels = np.zeros((8, 9, 10), np.int16)
    labels[6:] = 1
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    geometry.set_image(node, labels, np.diag([2.0, 2.5, 3.0, 1.0]))
    estimated(worker, worker.last(protocol.Update).id)
    uncertainty.attach(parameters, node)
    assert "± 4.7 mm" in node.GetDescription()


def test_its_colors_are_even_and_unlike_the_others(scene):
    from SPRRegistrationLib.scene import colors

    def lab(table):
        import vtk

        found, color, values = [], [0.0] * 4, [0.0] * 3
        for index in range(table.GetNumberOfColors()):
            table.GetColor(index, color)
            vtk.vtkMath.RGBToLab(color[:3], values)
            found.append(tuple(values))
        return np.array(found)

    own, stiffness = lab(colors.uncertainty_colors(scene)), lab(colors.stiffness_colors(scene))
    steps = np.diff(own[::15, 0])  # tables hold bytes
    assert steps.min() > 0.8 * steps.mean()
    assert steps.max() < 1.2 * steps.mean()
    assert np.hypot(own[:, 1], own[:, 2]).min() > 20, "no gray"
    apart = np.linalg.norm(own[:, None] - stiffness[None], axis=-1)
    assert apart.min() > 15


def test_the_end_of_the_colors_is_a_round_number():
    from SPRRegistrationLib.scene import uncertainty

    assert [uncertainty.end_mm(value) for value in (0.2, 1.0, 4.9, 9.0, 500.0)] == [1.0, 1.0, 5.0, 10.0, 200.0]
