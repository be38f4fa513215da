"""Sliding in 3-D: models of the segments with the slide in mm at their points, made in another process."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

if importlib.util.find_spec("slicer") is None:
    pytest.skip("slicer-core is not installed", allow_module_level=True)

import slicer
from harness import core

core.install()

from SPRRegistrationLib.scene import geometry, outputs, sliding  # noqa: E402
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from SPRCore.errors import InputError  # noqa: E402

pytestmark = pytest.mark.slicer

SLIDE_MM = 6.0


@pytest.fixture
def slid(scene):
    """A registration whose label "organ", below x = 15 voxels, slides by 6 mm along the second axis."""
    from harness import pairs

    parameters = pairs.add_registration(scene, "A")
    shape = (30, 26, 24)
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, 3] = (10.0, 20.0, -5.0)
    x = np.indices(shape)[0]
    for field in ("fixedVolume", "movingVolume"):
        geometry.set_image(getattr(parameters, field), x.astype(np.float32), affine)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    geometry.set_image(labels, (x < 15).astype(np.int16), affine)
    parameters.fixedLabels = labels
    outputs.ensure(parameters)
    displacement = np.zeros((*shape, 3), dtype=np.float32)
    displacement[..., 1] = SLIDE_MM * (x >= 15)
    geometry.set_displacement(parameters.displacementTransform, displacement, affine)
    return parameters


def models(scene):
    found = slicer.util.getNodesByClass("vtkMRMLModelNode", scene)
    return [node for node in found if "sliding" in node.GetName()]


def test_each_segment_becomes_a_model_with_the_slide_and_a_second_time_replaces_it(slid):
    scene = slid.fixedVolume.GetScene()
    sliding.show_sliding(slid, sys.executable)
    (model,) = sliding.show_sliding(slid, sys.executable)
    assert models(scene) == [model]
    surface = model.GetPolyData()
    values = vtk_to_numpy(surface.GetPointData().GetArray(sliding.SCALAR))
    assert np.nanmedian(values) == pytest.approx(SLIDE_MM, rel=0.05)
    points = vtk_to_numpy(surface.GetPoints().GetData())
    np.testing.assert_allclose(points[:, 0], 10.0 - 2.0 * 14.5, atol=0.2)  # RAS mm
    display = model.GetDisplayNode()
    assert display.GetActiveScalarName() == sliding.SCALAR
    assert display.GetScalarVisibility()
    assert display.GetScalarRange()[1] == pytest.approx(SLIDE_MM, rel=0.1)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(display)
    assert "mm" in legend.GetTitleText()


def test_without_segments_there_is_nothing_and_a_failure_is_one_line(slid):
    with pytest.raises(InputError, match="sliding"):
        sliding.show_sliding(slid, "false")
    slid.fixedLabels = None
    assert sliding.show_sliding(slid, sys.executable) == []
