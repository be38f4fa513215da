"""Slide of phantoms, valleys of the stiffness, statistics, and the VTK file."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.analysis.warnings import OPENING_MM, change_warnings
from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume
from SPRCore.geometry.mesh import Mesh
from SPRCore.io.meshes import write_mesh
from SPRCore.metrics.jump import Jump
from SPRCore.metrics.sliding import (
    SlidingSurface,
    result_sliding,
    segment_sliding,
    sliding_metrics,
    valley_sliding,
    weight_valleys,
)
from SPRCore.synthetic import sliding_cylinder, sliding_plates, sliding_thorax
from SPRCore.synthetic.cylinder import CylinderMotion

SPACING = (3.0, 3.0, 3.0)
PLATES = {"shape": (64, 52, 64), "spacing": SPACING, "noise": 0.0}
CYLINDER = {"shape": (64, 64, 52), "spacing": SPACING, "noise": 0.0}


def wall_slide(phantom, displacement=None):
    """Slide at the sliding wall of a phantom, of its true displacement if none is given."""
    inside = phantom.fixed.with_array((phantom.boundary.array < 0).astype(np.uint8))
    return segment_sliding(displacement or phantom.displacement, inside)["1"]


def test_the_cylinder_slides_as_its_closed_form_says():
    phantom = sliding_cylinder(**CYLINDER)
    found = wall_slide(phantom)
    half = tuple(0.5 * n * s for n, s in zip(CYLINDER["shape"], SPACING, strict=True))
    moved = np.stack(CylinderMotion(half, 10.0, 6.0).moved(tuple(found.surface.points.T)), axis=-1)
    jump = found.surface.points - moved  # the block rests, the cylinder moves
    along = jump - (jump * found.surface.normals).sum(axis=1, keepdims=True) * found.surface.normals
    truth = np.linalg.norm(along, axis=1)
    known = np.isfinite(found.jump.slide)
    areas = found.surface.areas[known]
    assert areas @ found.jump.slide[known] / areas.sum() == pytest.approx(areas @ truth[known] / areas.sum(), rel=0.03)
    assert np.median(np.abs(found.jump.slide - truth)[known]) < 0.1 * SPACING[0]


def test_plates_slide_by_their_slip_where_it_is_full():
    found = wall_slide(sliding_plates(**PLATES))
    full = np.abs(found.surface.points[:, 2]) < 0.4 * 96.0
    slide = found.jump.slide[full & np.isfinite(found.jump.slide)]
    assert slide.mean() == pytest.approx(10.0, rel=0.04)
    assert abs(found.summary()["opening"]["mean"]) < 0.3


@pytest.mark.parametrize(
    "phantom",
    [sliding_plates(**PLATES, slip_mm=0.0), sliding_cylinder(**CYLINDER, slip_mm=0.0, degrees=0.0)],
    ids=["plates", "cylinder"],
)
def test_a_phantom_that_bends_without_sliding_reports_none(phantom):
    summary = wall_slide(phantom).summary()
    assert summary["slide"]["p95"] < 0.3 * SPACING[0]
    assert abs(summary["opening"]["mean"]) < 0.3 * SPACING[0]
    assert summary["measured_percent"] > 80


def test_the_thorax_slides_along_the_pleura_and_lungs_do_not_slide_on_the_liver():
    phantom = sliding_thorax(shape=(64, 52, 64), spacing=SPACING, noise=0.0)
    found = segment_sliding(phantom.displacement, phantom.fixed_labels)
    assert {"1", "2", "3", "4", "5", "6"} <= set(found)
    summary = found["2"].summary()
    assert 2.5 < summary["slide"]["mean"] < 4.0
    assert summary["slide"]["p95"] > 8.0
    dome = found["2"].surface.normals[:, 2] < -0.9  # the lung rests on the liver
    assert np.nanmedian(found["2"].jump.slide[dome]) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("make", "options"), [(sliding_plates, {}), (sliding_cylinder, {})])
def test_the_slide_of_a_registration_with_a_chosen_setting_is_within_15_percent(make, options):
    from SPRCore import api

    phantom = make(**options)
    result = api.register(phantom.fixed, phantom.moving, prior="auto")
    found, truth = wall_slide(phantom, result.displacement).summary(), wall_slide(phantom).summary()
    assert found["slide"]["mean"] == pytest.approx(truth["slide"]["mean"], rel=0.15)


@pytest.mark.slow
def test_a_registration_without_sliding_reports_none():
    from SPRCore import api

    phantom = sliding_plates(slip_mm=0.0)
    result = api.register(phantom.fixed, phantom.moving, prior="auto")
    assert wall_slide(phantom, result.displacement).summary()["slide"]["mean"] < 0.3 * min(phantom.fixed.spacing)


def valley(affine=None, depth=0.1):
    """Weight with a valley at x = 19.3 voxels, and a displacement that slides there."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine
    x = np.indices((40, 30, 30))[0]
    weight = 1.0 - (1.0 - depth) * np.exp(-0.5 * ((x - 19.3) / 1.5) ** 2)
    field = np.zeros((40, 30, 30, 3))
    field[..., 1] = 6.0 / (1.0 + np.exp(-(x - 19.3) / 0.8))
    return Volume(weight.astype(np.float32), affine), Field(field.astype(np.float32), affine)


def test_valleys_of_the_stiffness_have_their_area_and_slide():
    weight, field = valley()
    found = valley_sliding(field, weight)
    np.testing.assert_allclose(found.surface.points[:, 0], 38.6, atol=0.3)
    assert found.surface.areas.sum() == pytest.approx(60.0 * 60.0, rel=0.02)
    summary = found.summary()
    assert summary["slide"]["mean"] == pytest.approx(6.0, rel=0.05)
    assert abs(summary["opening"]["mean"]) < 0.1
    assert set(result_sliding(field, None, weight, valleys=True)) == {"stiffness_valley"}
    assert result_sliding(field, None, weight) == {}


@pytest.mark.parametrize("depth", [0.8, 1.0])
def test_a_shallow_or_uniform_stiffness_has_no_valley(depth):
    assert weight_valleys(valley(depth=depth)[0]) is None


def test_statistics_are_weighted_by_area_and_leave_out_what_was_not_measured():
    count = 4
    surface = Mesh(
        points=np.zeros((count, 3)),
        normals=np.zeros((count, 3)),
        areas=np.array([1.0, 1.0, 2.0, 4.0]),
        triangles=np.zeros((0, 3), dtype=int),
    )
    jump = Jump(
        slide=np.array([0.0, 4.0, 6.0, np.nan]),
        opening=np.array([0.0, -2.0, 1.0, np.nan]),
        smooth=np.array([True, False, False, False]),
    )
    summary = SlidingSurface(surface=surface, jump=jump).summary()
    assert summary == {
        "area_mm2": 8.0,
        "measured_percent": 50.0,
        "sliding_percent": 75.0,
        "slide": {"mean": 4.0, "p95": 6.0},
        "opening": {"mean": 0.0, "p05": -2.0, "p95": 1.0},
    }
    nothing = Jump(slide=jump.slide * np.nan, opening=jump.opening, smooth=jump.smooth)
    lost = SlidingSurface(surface=surface, jump=nothing)
    assert lost.summary()["slide"] is None
    assert change_warnings({"after": {"sliding_mm": sliding_metrics({"3": lost})}}) == []


def test_openings_of_a_stated_size_are_warned_of_in_words():
    part = {"opening": {"mean": 0.0, "p05": -OPENING_MM - 1, "p95": OPENING_MM + 2}}
    quiet = {"opening": {"mean": 0.0, "p05": -OPENING_MM, "p95": OPENING_MM}}
    found = change_warnings({"after": {"sliding_mm": {"2": part, "stiffness_valley": quiet}}})
    assert found == [
        "a gap opens at the surface of label 2: 7.0 mm or more on 5 % of the area that was measured",
        "the two sides overlap at the surface of label 2: 6.0 mm or more on 5 % of the area that was measured",
    ]


def test_other_grids_and_labels_that_are_not_whole_are_refused():
    field = Field(np.zeros((20, 20, 20, 3), dtype=np.float32), np.eye(4))
    with pytest.raises(InputError, match="grid"):
        segment_sliding(field, Volume(np.zeros((20, 20, 21), dtype=np.uint8), np.eye(4)))
    with pytest.raises(InputError, match="whole numbers"):
        segment_sliding(field, Volume(np.zeros((20, 20, 20)), np.eye(4)))
    with pytest.raises(InputError, match="grid"):
        valley_sliding(field, Volume(np.zeros((20, 21, 20)), np.eye(4)))


def test_tiny_labels_and_labels_that_fill_the_grid_are_left_out():
    field = Field(np.zeros((20, 20, 20, 3), dtype=np.float32), np.eye(4))
    array = np.ones((20, 20, 20), dtype=np.uint8)
    assert segment_sliding(field, Volume(array, np.eye(4))) == {}
    array[10, 10, 10] = 9
    assert "9" not in segment_sliding(field, Volume(array, np.eye(4)))


@pytest.mark.parametrize("triangles", [np.array([[0, 1, 2]]), np.zeros((0, 3), dtype=int)])
def test_the_file_is_read_by_vtk_with_points_in_lps(tmp_path, triangles):
    vtk = pytest.importorskip("vtkmodules.vtkIOLegacy")
    mesh = Mesh(points=np.arange(9.0).reshape(3, 3), normals=np.eye(3), areas=np.ones(3), triangles=triangles)
    path = tmp_path / "sliding.vtk"
    write_mesh(mesh, path, {"slide_mm": np.array([0.5, 1.5, np.nan]), "label": np.full(3, 2.0)})
    reader = vtk.vtkPolyDataReader()
    reader.SetFileName(str(path))
    reader.ReadAllScalarsOn()
    reader.Update()
    data = reader.GetOutput()
    assert "SPACE=LPS" in reader.GetHeader()
    assert [data.GetPoint(index) for index in range(3)] == [(0, -1, 2), (-3, -4, 5), (-6, -7, 8)]
    assert data.GetNumberOfPolys() == len(triangles)
    assert data.GetNumberOfVerts() == (0 if len(triangles) else 3)
    slide = data.GetPointData().GetArray("slide_mm")
    assert [slide.GetValue(0), slide.GetValue(1)] == [0.5, 1.5]
    assert np.isnan(slide.GetValue(2))
    assert data.GetPointData().GetScalars().GetName() == "slide_mm"


def test_the_command_reports_the_slide_of_labels_and_writes_their_surfaces(tmp_path, capsys):
    import json

    from SPRCore.cli import main
    from SPRCore.io import write_volume

    phantom = sliding_plates(shape=(32, 28, 32), spacing=(5.0, 5.0, 5.0), noise=0.0)
    files = {}
    for part in ("fixed", "moving", "fixed_labels", "moving_labels"):
        files[part] = tmp_path / f"{part}.nii.gz"
        write_volume(getattr(phantom, part), files[part])
    options = ["--fixed-labels", files["fixed_labels"], "--moving-labels", files["moving_labels"], "--sliding"]
    words = ["register", files["fixed"], files["moving"], "--out", tmp_path / "out", "--device", "cpu", *options]
    assert main([str(word) for word in words]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    found = report["metrics"]["after"]["sliding_mm"]
    assert {"1", "2"} <= set(found) <= {"1", "2", "stiffness_valley"}
    assert set(found["2"]) == {"area_mm2", "measured_percent", "sliding_percent", "slide", "opening"}
    assert found["2"]["slide"]["p95"] >= found["2"]["slide"]["mean"] > 0
    assert "sliding.vtk" in report["files"]
    assert "label 2" in capsys.readouterr().out
    surface = (tmp_path / "out" / "sliding.vtk").read_bytes()
    assert b"SCALARS slide_mm float" in surface
    assert b"SCALARS label float" in surface


def test_without_labels_and_without_the_option_nothing_is_measured():
    from SPRCore import api
    from SPRCore.registration import InstanceConfig

    phantom = sliding_plates(shape=(16, 16, 16), spacing=(10.0, 10.0, 10.0), noise=0.0)
    quick = api.RegistrationOptions(config=InstanceConfig(steps=(1, 0, 0, 0)))
    result = api.register(phantom.fixed, phantom.moving, options=quick)
    assert result.sliding == {}
    assert "sliding_mm" not in result.report["metrics"]["after"]
