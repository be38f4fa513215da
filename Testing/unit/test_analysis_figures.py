"""Figures: scales that are common, numbers in titles, and the shapes that are hard to draw."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from SPRCore.analysis import figures
from SPRCore.analysis.figures import (
    RegistrationPicture,
    grid_step_mm,
    registration_figure,
    save_figure,
    weight_limit,
    weight_overlay,
)
from SPRCore.geometry import Field, Volume

METRICS = {"before": {"lncc": 0.25}, "after": {"lncc": 0.75, "folding_percent": 0.5, "displacement_mm": {"max": 7.25}}}


def picture(shape: tuple[int, int, int], spacing: tuple[float, float, float], labels: bool) -> RegistrationPicture:
    rng, affine = np.random.default_rng(0), np.diag([*spacing, 1.0])
    images = [Volume(rng.random(shape, dtype=np.float32), affine) for _ in range(4)]
    maps = [Volume((image.array > 0.5).astype(np.uint8), affine) for image in images[:3]] if labels else [None] * 3
    return RegistrationPicture(
        fixed=images[0],
        moving=images[1],
        warped=images[2],
        weight=images[3],
        displacement=Field(rng.standard_normal((*shape, 3), dtype=np.float32), affine),
        fixed_labels=maps[0],
        moving_labels=maps[1],
        warped_labels=maps[2],
        before=METRICS["before"],
        after=METRICS["after"],
        title="a test",
    )


@pytest.mark.parametrize(
    ("shape", "spacing", "labels"),
    [
        ((16, 14, 12), (1.0, 1.0, 1.0), True),
        ((24, 20, 4), (1.5, 1.5, 10.0), False),
        ((4, 30, 30), (3.0, 1.0, 1.0), True),
    ],
)
def test_the_figure_draws_and_nothing_overlaps(shape, spacing, labels, tmp_path):
    figure = registration_figure(picture(shape, spacing, labels))
    save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 20_000
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.axison]
    for place, box in enumerate(boxes):
        for other in boxes[place + 1 :]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            up = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(across, up) <= 1, "two panels overlap by more than a pixel"


def test_titles_hold_the_numbers():
    figure = registration_figure(picture((12, 12, 12), (1, 1, 1), False))
    titles = " ".join(axes.get_title() for axes in figure.axes)
    for words in ("LNCC 0.250", "LNCC 0.750", "folding 0.5 %", "max 7.2 mm"):
        assert words in titles


@pytest.mark.parametrize(("verdict", "is_said"), [("stiff", True), ("informative", False)])
def test_a_map_without_contrast_is_named_as_such(verdict, is_said):
    shown = picture((20, 20, 12), (1.0, 1.0, 1.0), labels=False)
    shown = dataclasses.replace(shown, after={**shown.after, "weight": {"verdict": verdict}})
    titles = " ".join(axes.get_title() for axes in registration_figure(shown).axes)
    assert ("says little" in titles) == is_said


def test_both_differences_have_one_symmetric_scale():
    figure = registration_figure(picture((12, 12, 12), (1, 1, 1), False))
    panels = [axes for axes in figure.axes if "minus fixed" in axes.get_title()]
    limits = {axes.images[0].get_clim() for axes in panels}
    assert len(panels) == 2
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0


def test_panels_keep_the_proportions_of_the_patient(tmp_path):
    figure = registration_figure(picture((24, 20, 4), (1.5, 1.5, 10.0), False))
    save_figure(figure, tmp_path / "figure.png")
    axial, coronal = (next(a for a in figure.axes if a.get_ylabel() == name) for name in ("Axial", "Coronal"))
    for axes, ratio in ((axial, 36 / 30), (coronal, 36 / 40)):
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(ratio, rel=0.02)


def test_free_is_opaque_and_stiff_lets_the_anatomy_through():
    colors = weight_overlay(np.array([0.0, 0.5, 1.0, 3.0]), 1.0)
    assert (np.diff(colors[:3, 3]) < 0).all()
    assert 0.6 < colors[0, 3] < 0.8  # stands out, and the anatomy is still there
    assert colors[2, 3] < 0.2
    np.testing.assert_array_equal(colors[2], colors[3])
    assert colors[0, :3] @ [0.3, 0.6, 0.1] > colors[2, :3] @ [0.3, 0.6, 0.1], "free must be the brighter one"


@pytest.mark.parametrize(("largest", "limit"), [(0.2, 1.0), (1.0, 1.0), (1.55, 1.6)])
def test_the_scale_of_the_weight_holds_all_weights(largest, limit):
    assert weight_limit(np.linspace(0, largest, 10_000)) == pytest.approx(limit)


@pytest.mark.parametrize("extent_mm", [3.0, 40.0, 192.0, 384.0, 2000.0])
def test_grid_lines_are_a_round_distance_apart(extent_mm):
    step = grid_step_mm(extent_mm)
    assert step / 10 ** np.floor(np.log10(step)) == pytest.approx(round(step / 10 ** np.floor(np.log10(step))))
    assert 11 <= extent_mm / step <= 44


def test_where_an_image_has_no_data_no_difference_is_shown_and_none_rules_the_others():
    whole = picture((12, 12, 12), (1, 1, 1), False)
    known = np.zeros((12, 12, 12), dtype=bool)
    known[:8] = True
    padded = {
        "moving": whole.moving.with_array(np.where(known, 2.0 * whole.fixed.array + 5.0, -3024.0)),
        "warped": whole.warped.with_array(np.where(known, 2.0 * whole.fixed.array + 5.0, -3024.0)),
    }
    shown = registration_figure(dataclasses.replace(whole, **padded, common=(known, known)))
    differences = [image for axes in shown.axes for image in axes.images if image.cmap.name == "RdBu_r"]
    assert len(differences) == 6  # before and after, in three planes
    for image in differences:
        drawn = image.get_array()
        np.testing.assert_allclose(drawn.compressed(), 0.0, atol=1e-5)
        assert image.norm.vmax < 1e-4
    assert any(np.ma.getmaskarray(image.get_array()).any() for image in differences)
    drawn = registration_figure(dataclasses.replace(whole, common=(known, known)))
    labels = [text.get_text() for axes in drawn.axes for text in axes.get_xticklabels()]
    assert any("gray: no data" in text for text in labels)
    plain = [text.get_text() for axes in registration_figure(whole).axes for text in axes.get_xticklabels()]
    assert not any("no data" in text for text in plain)


def test_padding_and_spikes_do_not_decide_what_is_black_and_white():
    image = picture((12, 12, 12), (1, 1, 1), False).fixed
    window = figures.gray_window(image)
    array, known = image.array.copy(), np.ones((12, 12, 12), dtype=bool)
    array[10:], known[10:], array[3, 3, 3] = -3024.0, False, 1e6
    found = figures.gray_window(image.with_array(array), known)
    assert found == {key: pytest.approx(value, abs=0.05) for key, value in window.items()}
