"""A stiffness map without contrast: both faces say so at rest, and offer the setting that restores it."""

from __future__ import annotations

import pytest
import test_two_faces
from test_two_faces import Panel, state_of

from SPRCore.live import protocol
from SPRCore.regularization.contrast import WeightContrast

pytestmark = pytest.mark.slicer
face = test_two_faces.face


def contrast_of(face):
    """The text that is shown, and whether a button is."""
    if isinstance(face, Panel):
        label, button = face.ui.contrastLabel, face.ui.contrastButton
        return label.text if label.visible else "", bool(button.visible)
    shown = state_of(face.controller)
    return shown.contrast, shown.can_restore


def restore_contrast(face):
    if isinstance(face, Panel):
        face.ui.contrastButton.click()
    else:
        face.controller.restore_contrast()


def without_contrast(**facts):
    numbers = {"maximum_percent": 97.0, "zero_percent": 0.0, "p05": 1.0, "median": 1.0, "p95": 1.0}
    return WeightContrast(**{"verdict": "stiff", **numbers, "move": {"alpha": 0.05}} | facts)


def test_a_map_without_contrast_is_told_at_rest_with_the_setting_that_restores_it(face):
    face.begin()
    assert contrast_of(face) == ("", False), "nothing is told about a preview"
    face.controller.apply()
    face.worker.result(face.worker.last(protocol.Commit).id, 2.0, final=True, contrast=without_contrast())
    line, can_restore = contrast_of(face)
    assert line.startswith("The stiffness map says little: 97 % of the anatomy is as stiff as possible.")
    assert "Lower evenness (alpha) from 0.2 to about 0.05" in line
    assert can_restore
    restore_contrast(face)
    assert face.parameters.alpha == pytest.approx(0.05)
    assert face.parameters.prior.value == "beta"
    assert face.worker.last(protocol.Update).setting["alpha"] == pytest.approx(0.05)
    face.answer(1.0)
    assert contrast_of(face) == ("", False)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"verdict": "uniform", "move": {}}, "says nothing: with this kind of stiffness it is the same everywhere"),
        (
            {"verdict": "free", "maximum_percent": 0.0, "zero_percent": 96.0, "p05": 0.0, "p95": 0.01, "move": {}},
            "96 % of the anatomy is entirely free.",
        ),
        ({"maximum_percent": 40.0, "p05": 0.92, "p95": 0.99}, "90 % of the anatomy lies between 0.92 and 0.99."),
        ({"move": {"alpha": 0.5}}, "Raise evenness (alpha) from 0.2 to about 0.5"),
    ],
)
def test_what_a_map_without_contrast_is_like_is_said(face, facts, said):
    face.begin()
    face.controller.apply()
    face.worker.result(face.worker.last(protocol.Commit).id, 2.0, final=True, contrast=without_contrast(**facts))
    line, can_restore = contrast_of(face)
    assert said in line
    assert can_restore == bool(without_contrast(**facts).move)


def test_a_map_with_contrast_is_not_commented_and_the_legend_follows(face):
    from SPRRegistrationLib.scene import outputs

    face.begin()
    face.controller.apply()
    face.worker.result(face.worker.last(protocol.Commit).id, 2.0, final=True, contrast=without_contrast())
    assert not outputs.has_contrast(face.parameters)
    face.controller.apply()
    good = without_contrast(verdict="informative", move={})
    face.worker.result(face.worker.last(protocol.Commit).id, 2.0, final=True, contrast=good)
    assert outputs.has_contrast(face.parameters)
    assert contrast_of(face) == ("", False)
