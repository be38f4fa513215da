"""The uncertainty in a slice view of a heart, drawn off screen by Slicer's own libraries.

With SPR_PICTURES=1 the picture of the documentation is written to docs/images; it is to be looked at.
"""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from test_pictures import SIZE, difference, documented, engine_slice, is_colored, picture, publish

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]


@pytest.fixture(scope="module")
def estimated():
    """A generated heart, registered in a live session, with its uncertainty."""
    from SPRCore.live import LiveSession
    from SPRCore.regularization import BetaPrior
    from SPRCore.synthetic import beating_heart

    phantom = beating_heart(shape=(64, 64, 24))
    with LiveSession.open(phantom.fixed, phantom.moving, prior=BetaPrior(alpha=0.1, lambda_max=2.0)) as live:
        live.update()
        reply = live.commit()
        return SimpleNamespace(fixed=phantom.fixed, moving=phantom.moving, result=reply, found=live.uncertainty())


@pytest.fixture
def shown(estimated):
    """The registration in a scene, with one view of it."""
    from harness import core, pairs, views

    if not views.can_draw():
        pytest.skip("there is no OpenGL to draw with")
    scene, application = core.make_scene()
    import slicer
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.scene import outputs, uncertainty

    parameters = SPRRegistrationParameters(scene.AddNode(slicer.vtkMRMLScriptedModuleNode()))
    for name in ("fixed", "moving"):
        volume = getattr(estimated, name)
        node = pairs.add_volume(scene, f"MR {name}", volume.array, volume.affine)
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(float(volume.array.min()), float(volume.array.max()))
        setattr(parameters, f"{name}Volume", node)
    result, found = estimated.result, estimated.found
    outputs.ensure(parameters)
    fields = ((field.array, field.affine) for field in (result.displacement, result.weight, result.inverse))
    outputs.show_result(parameters, *fields)
    p95_mm = found.metrics["uncertainty_mm"]["p95"]
    uncertainty.show(parameters, found.uncertainty.array, found.uncertainty.affine, p95_mm, exact=True)
    parameters.showWeight = parameters.showLegend = False
    parameters.deformedOpacity = 0.0
    view = views.SliceView(scene, application, "Red", "Axial", SIZE)
    yield SimpleNamespace(scene=scene, parameters=parameters, view=view, application=application, estimated=estimated)
    view.close()
    scene.Clear(True)


def map_of(shown, image):
    """The uncertainty in mm at the pixels of a picture, and where that is inside."""
    from SPRCore.geometry import Volume

    found, longest = shown.estimated.found.uncertainty, float(shown.estimated.found.uncertainty.array.max())
    values, inside = engine_slice(shown, Volume(found.array / longest, found.affine), image)
    return values / 255 * longest, inside


def test_the_map_covers_the_image_in_its_own_colors(shown):
    assert not is_colored(picture(shown)).any()
    image = picture(shown, showUncertainty=True, uncertaintyOpacity=1.0)
    values, inside = map_of(shown, image)
    assert is_colored(image)[inside].mean() > 0.99
    brightness = image.sum(axis=-1)
    low, high = (np.percentile(values[inside], part) for part in (20, 80))
    assert brightness[inside & (values > high)].mean() > brightness[inside & (values < low)].mean() + 50
    assert difference(image, picture(shown, uncertaintyOpacity=0.3)) > 5


def test_lines_are_drawn_above_the_limit_alone(shown):
    bare = picture(shown, showUncertainty=True, uncertaintyOpacity=0.0)
    values, inside = map_of(shown, bare)
    limit = float(np.median(values[inside]))
    changed = np.abs(picture(shown, hatchAboveMm=limit) - bare).max(axis=-1) > 20
    assert changed[inside & (values > 1.1 * limit)].mean() > 0.05
    assert changed[inside & (values < 0.9 * limit)].mean() < 0.005
    assert not (np.abs(picture(shown, hatchAboveMm=0.0) - bare) > 0).any()


def test_the_picture_of_the_documentation(shown):
    """It is only written on demand; that it can be drawn is tested always."""
    p95_mm = shown.estimated.found.metrics["uncertainty_mm"]["p95"]
    off = {"showUncertainty": False, "showLegend": True, "deformedOpacity": 1.0, "hatchAboveMm": 0.0}
    wanted = {
        "Moving image, deformed": {},
        "Uncertainty": {"showUncertainty": True, "uncertaintyOpacity": 0.6},
        "Hatched where it is large": {
            **{"showUncertainty": True, "uncertaintyOpacity": 0.0},
            "hatchAboveMm": round(0.6 * p95_mm, 1),
        },
    }
    images = [documented(shown, title, off | settings) for title, settings in wanted.items()]
    publish("slicer-uncertainty.png", images)
    assert all(difference(one, other) > 0.2 for k, one in enumerate(images) for other in images[:k])
