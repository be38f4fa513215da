"""Labels of the fixed image that are made stiffer or freer in the Explorer, and the names and colors of labels."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from SPRCore.errors import InputError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]


@pytest.fixture
def parameters(scene):
    """A registration of the sample pair, with the labels of its organs."""
    import slicer
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.scene import samples

    made = SPRRegistrationParameters(scene.AddNode(slicer.vtkMRMLScriptedModuleNode()))
    for field, node in samples.load().items():
        setattr(made, field, node)
    return made


def test_labels_have_names_and_factors(parameters):
    from SPRRegistrationLib.scene import painting

    rows = painting.table(parameters)
    assert [(row["label"], row["name"]) for row in rows] == [
        (1, "lungs"),
        (2, "liver"),
        (3, "heart"),
        (4, "spine and ribs"),
    ]
    assert {row["factor"] for row in rows} == {1.0}


def test_what_is_painted_reaches_the_voxels_of_the_label_alone(parameters):
    import slicer
    from SPRRegistrationLib.scene import inputs, painting

    painting.paint(parameters, 4, 10.0)
    painting.paint(parameters, 1, 0.3)
    labels = slicer.util.arrayFromVolume(parameters.fixedLabels).transpose(2, 1, 0)
    stiffness, _affine = inputs.painted_stiffness(parameters)
    np.testing.assert_allclose(stiffness, np.select([labels == 4, labels == 1], [10.0, 0.3], 1.0), rtol=1e-6)
    assert [row["factor"] for row in painting.table(parameters)] == [0.3, 1.0, 1.0, 10.0]
    painting.paint(parameters, 4, 1.0)
    painting.paint(parameters, 1, 1.0)
    assert inputs.painted_stiffness(parameters) is None


def test_what_no_list_offers_is_refused(parameters):
    from SPRRegistrationLib.scene import painting

    for label, factor in (
        (9, 10.0),
        ([1], 10.0),
        (None, 10.0),
        ("lungs", 10.0),
        (1, 1e9),
        (1, "10"),
        (1, None),
        (1, float("nan")),
    ):
        with pytest.raises(InputError):
            painting.paint(parameters, label, factor)
    assert {row["factor"] for row in painting.table(parameters)} == {1.0}
    parameters.fixedLabels = None
    with pytest.raises(InputError, match="no segments"):
        painting.paint(parameters, 1, 10.0)


def test_what_was_painted_goes_with_its_labels(parameters):
    from SPRRegistrationLib.scene import painting

    painting.paint(parameters, 4, 10.0)
    segments = parameters.stiffnessSegments
    painting.forget(parameters)
    assert parameters.stiffnessSegments is None
    assert parameters.stiffnessFactors == ""
    assert segments.GetScene() is None


def test_colors_of_labels_differ_and_nothing_is_transparent(parameters):
    table = parameters.fixedLabels.GetDisplayNode().GetColorNode()
    found = []
    for number in range(5):
        color = [0.0] * 4
        table.GetColor(number, color)
        found.append(tuple(round(part, 3) for part in color))
    assert len(set(found)) == 5
    assert [color[3] for color in found] == [0.0, 1.0, 1.0, 1.0, 1.0]
