"""What the slice views show, drawn off screen by Slicer's own libraries and compared by numbers.

With SPR_PICTURES=1 the pictures of the documentation are written to docs/images; they are to be looked at.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]

SIZE = (480, 480)


@pytest.fixture(scope="module")
def solved():
    """A generated chest, registered: fixed and moving image, displacement, inverse and weight."""
    import SPRCore as spr
    from SPRCore.synthetic import sliding_thorax

    phantom = sliding_thorax(shape=(72, 60, 72), spacing=(2.7, 2.7, 2.7), seed=1)
    prior = spr.BetaPrior(alpha=0.02, lambda_max=3.0)
    result = spr.register(phantom.fixed, phantom.moving, prior=prior, device="cpu")
    return SimpleNamespace(fixed=phantom.fixed, moving=phantom.moving, result=result)


@pytest.fixture
def shown(solved):
    """The registration in a scene, with one view of it."""
    from harness import core, pairs, views

    if not views.can_draw():
        pytest.skip("there is no OpenGL to draw with")
    scene, application = core.make_scene()
    import slicer

    markups = slicer.vtkSlicerMarkupsLogic()  # draws the linked cursor
    markups.SetMRMLApplicationLogic(application)
    markups.SetMRMLScene(scene)
    application.SetModuleLogic("Markups", markups)
    from SPRRegistrationLib.parameters import SPRRegistrationParameters
    from SPRRegistrationLib.scene import display, outputs

    parameters = SPRRegistrationParameters(scene.AddNode(slicer.vtkMRMLScriptedModuleNode()))
    for name in ("fixed", "moving"):
        volume = getattr(solved, name)
        node = pairs.add_volume(scene, f"CT {name}", volume.array, volume.affine)
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(0.0, 1.0)
        setattr(parameters, f"{name}Volume", node)
    result = solved.result
    fields = ((field.array, field.affine) for field in (result.displacement, result.weight, result.inverse))
    outputs.ensure(parameters)
    outputs.show_result(parameters, *fields)
    parameters.showWeight = parameters.showLegend = False
    parameters.deformedOpacity = 0.0
    parameters.gridSpacingMm = float(display.fitting_grid_mm(parameters.fixedVolume))
    view = views.SliceView(scene, application, "Green", "Coronal", SIZE)
    rest = {"application": application, "markups": markups, "solved": solved}
    yield SimpleNamespace(scene=scene, parameters=parameters, view=view, **rest)
    view.close()
    scene.Clear(True)


def picture(shown, **settings):
    """Change settings, and draw."""
    from SPRRegistrationLib.scene import display

    for name, value in settings.items():
        setattr(shown.parameters, name, value)
    display.show(shown.parameters)
    shown.view.fit()
    return shown.view.picture().astype(int)


def documented(shown, title, settings):
    """A picture with its title, and where right and left of the patient are, as Slicer shows it."""
    picture(shown, **settings)
    shown.view.fit(zoom=0.85)
    shown.view.write("", (0, 0))
    for text, place, size in ((title, (0.02, 0.94), 20), ("R", (0.015, 0.5), 18), ("L", (0.985, 0.5), 18)):
        shown.view.write(text, place, size)
    return shown.view.picture().astype(int)


def difference(first, second):
    return float(np.abs(first - second).mean())


def is_colored(image):
    """Pixels that are not gray."""
    return np.ptp(image, axis=-1) > 30


def publish(name, *rows):
    """Write rows of pictures into the documentation, if that was asked for."""
    if os.environ.get("SPR_PICTURES") != "1":
        return
    from harness import core

    lines = [np.hstack([np.pad(one, ((3, 3), (3, 3), (0, 0)), constant_values=255) for one in row]) for row in rows]
    image = np.ascontiguousarray(np.vstack(lines).astype(np.uint8))
    height, width, _ = image.shape
    raw = b"".join(b"\0" + line.tobytes() for line in image)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(raw, 9))]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in [*parts, (b"IEND", b"")]:
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    (core.ROOT / "docs" / "images" / name).write_bytes(data)


def engine_slice(shown, volume, image):
    """The gray values that a volume of the engine should have at the pixels of a picture, by its own interpolation."""
    import torch

    from SPRCore.functional import sample

    height, width, _ = image.shape
    rows, columns = np.mgrid[0:height, 0:width]
    to_ras = np.array([[shown.view.node.GetXYToRAS().GetElement(i, j) for j in range(4)] for i in range(4)])
    pixels = np.stack([columns, height - 1 - rows, 0 * rows, 0 * rows + 1], axis=-1) @ to_ras.T
    voxels = (pixels[..., :3] - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    inside = ((voxels >= 1) & (voxels <= np.array(volume.shape) - 2)).all(axis=-1)
    tensor = torch.as_tensor(volume.array[None, None].astype(np.float64))
    values = sample(tensor, torch.as_tensor(voxels.reshape(-1, 3)))[0].numpy().reshape(inside.shape)
    return np.clip(values, 0, 1) * 255, inside


def test_the_background_is_the_fixed_image_at_its_place(shown):
    image = picture(shown)
    expected, inside = engine_slice(shown, shown.solved.fixed, image)
    assert inside.mean() > 0.4
    assert np.abs(image[..., 0] - expected)[inside].mean() < 2


@pytest.mark.parametrize("live", [False, True], ids=["exact", "while sliding"])
def test_the_foreground_is_the_image_that_the_engine_warped(shown, live):
    from SPRRegistrationLib.scene import outputs

    if live:  # Slicer reslices the moving image through the transform
        result = shown.solved.result
        shown_now = ((field.array, field.affine) for field in (result.displacement, result.weight))
        outputs.show_preview(shown.parameters, *shown_now)
    image = picture(shown, deformedOpacity=1.0)
    expected, inside = engine_slice(shown, shown.solved.result.warped, image)
    moving, _ = engine_slice(shown, shown.solved.moving, image)
    error = np.abs(image[..., 0] - expected)[inside].mean()
    assert error < 2.5
    assert error < 0.3 * np.abs(moving - expected)[inside].mean()


def test_the_blend_lies_between_both(shown):
    fixed, deformed, half = (picture(shown, deformedOpacity=part) for part in (0.0, 1.0, 0.5))
    assert difference(half, (fixed + deformed) / 2) < 1.0


def test_the_deformed_image_comes_closer_to_the_fixed_one(shown):
    fixed, deformed = (picture(shown, deformedOpacity=part) for part in (0.0, 1.0))
    shown.parameters.movingVolume, shown.parameters.deformedVolume = (
        shown.parameters.fixedVolume,
        shown.parameters.movingVolume,
    )
    moving = picture(shown)
    assert difference(fixed, deformed) < 0.5 * difference(fixed, moving)


def test_the_map_of_the_stiffness_stands_out_and_leaves_stiff_anatomy_gray(shown):
    plain = picture(shown, deformedOpacity=0.5)
    assert not is_colored(plain).any()
    image = picture(shown, showWeight=True, weightLimit=0.9, weightOpacity=0.6)
    weight, inside = engine_slice(shown, shown.solved.result.weight, image)
    weight = weight / 255
    assert (inside & (weight < 0.6)).any()
    assert is_colored(image)[inside & (weight < 0.8)].mean() > 0.95
    assert not is_colored(image)[inside & (weight > 0.95)].any()
    np.testing.assert_array_equal(image[inside & (weight > 0.95)], plain[inside & (weight > 0.95)])


def test_what_is_not_known_is_hatched_in_gray_with_clear_gaps(shown):
    from SPRRegistrationLib.scene import outputs

    result = shown.solved.result
    outputs.show_preview(shown.parameters, (result.displacement.array, result.displacement.affine), None)
    plain = picture(shown, showWeight=False)
    image = picture(shown, showWeight=True, weightOpacity=0.6)
    _values, inside = engine_slice(shown, shown.solved.fixed, image)
    changed = np.abs(image - plain).max(axis=-1) > 3
    assert not is_colored(image).any()
    assert 0.05 < changed[inside].mean() < 0.35, "lines, and anatomy between them"
    with_legend = picture(shown, showLegend=True)
    assert difference(with_legend, image) > 0.1, "the legend says what the lines mean"


def test_what_is_free_is_brighter_than_what_is_stiff(shown):
    from SPRRegistrationLib.scene import geometry

    array, affine = geometry.image_of(shown.parameters.weightVolume)
    ramp = np.broadcast_to(np.linspace(0, 1, array.shape[0])[:, None, None], array.shape).astype(np.float32)
    geometry.set_image(shown.parameters.weightVolume, ramp, affine)
    image = picture(shown, showWeight=True, weightLimit=1.0, weightOpacity=1.0)
    row = image[SIZE[1] // 2].astype(float)
    across = row[np.ptp(row, axis=-1) > 20]
    brightness = across @ (0.2126, 0.7152, 0.0722)
    free_first = brightness if brightness[0] > brightness[-1] else brightness[::-1]
    assert free_first[0] > 190
    assert free_first[-1] < 30
    assert (np.diff(free_first) <= 1.5).all()


def test_the_legend_is_there_with_the_map_and_goes_with_it(shown):
    from SPRRegistrationLib.scene import colors

    without = picture(shown, showWeight=True, showLegend=False)
    image = picture(shown, showLegend=True)
    changed = np.abs(image - without).sum(axis=-1) > 60
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 1000
    assert columns.min() > SIZE[0] / 2  # in the lower right corner, beside the anatomy
    assert rows.min() > SIZE[1] / 3
    table = colors.stiffness_colors(shown.scene)
    for index in (0, colors.SIZE // 2, colors.SIZE - 1):  # its bar has the colors of the map
        color = [0.0] * 4
        table.GetColor(index, color)
        assert (np.abs(image[changed] - 255 * np.array(color[:3])).max(axis=-1) < 12).any()
    gone = picture(shown, showWeight=False)
    assert not is_colored(gone).any()


def test_grid_lines_are_thin_and_bend_with_the_deformation(shown):
    from SPRRegistrationLib.scene import geometry

    image = picture(shown, showDisplacement=True)
    lines = is_colored(image)
    assert 0.02 < lines.mean() < 0.25  # there, and the anatomy is seen between them
    parameters = shown.parameters
    field, affine = geometry.displacement_of(parameters.displacementTransform)
    geometry.set_displacement(parameters.displacementTransform, 0 * field, affine)
    straight = is_colored(picture(shown))
    assert (lines & ~straight).sum() > 0.1 * lines.sum()
    columns = straight.sum(axis=0)
    assert (columns[columns > 0] > 0.5 * SIZE[1]).any()  # without a deformation they run straight down


@pytest.mark.parametrize("style", ["ARROWS", "CONTOURS"])
def test_arrows_and_contours_are_drawn(shown, style):
    from SPRRegistrationLib.parameters import DisplacementStyle

    image = picture(shown, showDisplacement=True, displacementStyle=DisplacementStyle[style])
    assert 0.002 < is_colored(image).mean() < 0.2


def test_the_change_of_volume_is_red_where_it_grows_and_blue_where_it_shrinks(shown):
    image = picture(shown, showJacobian=True, weightOpacity=1.0)
    change, inside = engine_slice(shown, jacobian(shown), image)
    change = change / 255 * 2
    red, blue = image[..., 0] - image[..., 2], image[..., 2] - image[..., 0]
    assert (red[inside & (change > 1.25)] > 20).mean() > 0.9
    assert (blue[inside & (change < 0.75)] > 20).mean() > 0.9
    unchanged = inside & (np.abs(change - 1) < 0.05)
    assert not is_colored(image)[unchanged].any()


def jacobian(shown):
    from SPRRegistrationLib.scene import geometry

    from SPRCore.geometry import Volume

    array, affine = geometry.image_of(shown.parameters.jacobianVolume)
    return Volume(array / 2, affine)


def test_previews_show_no_change_of_volume_of_another_deformation(shown):
    from SPRRegistrationLib.scene import outputs

    result = shown.solved.result
    field = (0 * result.displacement.array, result.displacement.affine)
    outputs.show_preview(shown.parameters, field, (result.weight.array, result.weight.affine))
    assert not is_colored(picture(shown, showJacobian=True)).any()


def test_the_moving_image_is_shown_as_it_was_taken(shown):
    from harness import views
    from SPRRegistrationLib.scene import display, geometry

    other = views.SliceView(shown.scene, shown.application, "Green+", "Coronal", SIZE, group=1)
    picture(shown, originalAnatomy=True, deformedOpacity=0.5)
    assert shown.view.composite.GetBackgroundVolumeID() == shown.parameters.fixedVolume.GetID()
    assert other.composite.GetBackgroundVolumeID() == shown.parameters.movingVolume.GetID()
    other.fit()
    places = []
    cursor = display.LinkedCursor(shown.parameters, places.append)
    field, affine = geometry.displacement_of(shown.parameters.displacementTransform)
    index = np.unravel_index(np.linalg.norm(field, axis=-1).argmax(), field.shape[:3])
    place = affine[:3, :3] @ index + affine[:3, 3]
    shown.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionRAS(place)
    there = np.array(shown.parameters.linkedCursor.GetNthControlPointPositionWorld(0))
    np.testing.assert_allclose(there, place + field[index], atol=1e-3)
    np.testing.assert_allclose(places[-1], place)
    row, column = other.pixel_of(there)
    around = other.picture().astype(int)[max(row - 12, 0) : row + 13, max(column - 12, 0) : column + 13]
    assert is_colored(around).any()
    cursor.remove()
    assert not shown.parameters.linkedCursor.GetDisplayNode().GetVisibility()
    other.close()


def test_leaving_takes_off_what_could_be_taken_for_anatomy(shown):
    from SPRRegistrationLib.scene import display

    picture(shown, showWeight=True, showLegend=True, showDisplacement=True)
    display.hide(shown.parameters)
    assert not is_colored(shown.view.picture().astype(int)).any()


def test_pictures_of_the_documentation(shown):
    """They are only written on demand; that they can be drawn is tested always."""
    from SPRRegistrationLib.parameters import DisplacementStyle

    off = {"showWeight": False, "showDisplacement": False, "showJacobian": False, "showLegend": True}
    arrows = {"showDisplacement": True, "displacementStyle": DisplacementStyle.ARROWS}
    wanted = {
        "Fixed image": {"deformedOpacity": 0.0},
        "Moving image, deformed": {"deformedOpacity": 1.0},
        "Stiffness": {"showWeight": True, "weightLimit": 0.9, "deformedOpacity": 0.5},
        "Grid": {"showDisplacement": True},
        "Displacement": arrows,
        "Change of volume": {"showJacobian": True},
    }
    images = [documented(shown, title, off | settings) for title, settings in wanted.items()]
    publish("slicer-views.png", images[:3], images[3:])
    assert all(difference(one, other) > 0.2 for k, one in enumerate(images) for other in images[:k])
