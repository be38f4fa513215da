"""Errors at a sliding wall, the line across it, and the figure of the demonstration."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from SPRCore.analysis.sliding import NEAR_VOXELS, ComparedResult, error_map, wall_errors, wall_profile
from SPRCore.analysis.sliding_figure import sliding_figure
from SPRCore.cli import demo
from SPRCore.geometry import Field
from SPRCore.synthetic import sliding_thorax

ROOT = Path(__file__).resolve().parents[2]
PHANTOM = sliding_thorax(shape=(48, 40, 48), spacing=(4.0, 4.0, 4.0))
NAMES = ("Uniform 0.1", "Uniform 1", "Varying (SPR)")


def shifted(offsets, affine=PHANTOM.fixed.affine):
    """The true displacement and an error of its own for each voxel."""
    return Field((PHANTOM.displacement.array + offsets).astype(np.float32), affine)


def test_the_truth_has_no_error_and_no_displacement_has_all_of_it():
    assert wall_errors(PHANTOM, PHANTOM.displacement) == {"near": 0.0, "away": 0.0}
    np.testing.assert_array_equal(error_map(PHANTOM, None), np.linalg.norm(PHANTOM.displacement.array, axis=-1))
    before = wall_errors(PHANTOM, None)
    assert before["near"] > before["away"] > 0  # lungs move most, and most of the body is no lung


@given(st.tuples(*[st.floats(-50, 50, width=32)] * 3))
def test_a_constant_error_is_found_in_both_places(offset):
    length = float(np.linalg.norm(offset))
    assert wall_errors(PHANTOM, shifted(np.array(offset))) == pytest.approx(
        {"near": length, "away": length}, rel=1e-4, abs=1e-4
    )


def test_places_are_told_apart_by_the_distance_to_the_wall_and_air_does_not_count():
    distance = np.abs(PHANTOM.boundary.array) / 4.0
    air = PHANTOM.fixed_labels.array == 0
    error = np.where(air, 99.0, np.where(distance <= NEAR_VOXELS, 3.0, 5.0))
    errors = wall_errors(PHANTOM, shifted(error[..., None] * np.array([0.0, 0.6, 0.8])))
    assert errors == pytest.approx({"near": 3.0, "away": 5.0}, rel=1e-5)


def test_the_line_crosses_the_wall_once_where_the_truth_jumps():
    profile = wall_profile(PHANTOM)
    truth, wall = profile.along(PHANTOM.displacement), PHANTOM.boundary.array
    inside = profile.distance_mm < 0
    np.testing.assert_array_equal(wall[profile.voxels, profile.index[1], profile.index[2]] < 0, inside)
    edge = np.flatnonzero(np.diff(inside.astype(int)))
    assert len(edge) == 1
    steps = np.abs(np.diff(truth))
    assert steps.argmax() == edge[0]
    assert steps.max() > 5.0  # of 10 mm


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    contenders = [
        ComparedResult(
            name=name,
            displacement=shifted(scale * rng.standard_normal((*PHANTOM.fixed.shape, 3))),
            weight=PHANTOM.fixed.with_array(rng.uniform(0.1, 1, PHANTOM.fixed.shape).astype(np.float32)),
            strength=20.0,
            seconds=1.0,
        )
        for name, scale in zip(NAMES, (0.5, 1.0, 0.2), strict=True)
    ]
    figure = sliding_figure(PHANTOM, contenders, "a note below")
    figure.draw_without_rendering()
    return contenders, figure


def panel(figure, title):
    (found,) = (axes for axes in figure.axes if axes.get_title().strip() == title)
    return found


def test_error_maps_share_one_scale_in_mm_and_the_bars_tell_the_errors(drawn):
    contenders, figure = drawn
    limits = {panel(figure, f"{name}: error").images[0].get_clim() for name in NAMES}
    assert len(limits) == 1
    (bar,) = (axes for axes in figure.axes if axes.get_xlabel().startswith("distance of the displacement"))
    assert bar.get_xlabel().endswith("[mm]")
    assert bar.get_xlim() == limits.pop()
    bars = panel(figure, "Mean error over all voxels of the body")
    heights = [[patch.get_height() for patch in container] for container in bars.containers]
    assert heights == [list(wall_errors(PHANTOM, contender.displacement).values()) for contender in contenders]


def test_curves_are_the_displacements_across_the_wall(drawn):
    contenders, figure = drawn
    axes, profile = panel(figure, "Motion along the wall, on a line across it"), wall_profile(PHANTOM)
    order = np.argsort(profile.distance_mm)
    lines = {line.get_label(): line for line in axes.lines}
    for contender in contenders:
        np.testing.assert_allclose(lines[contender.name].get_ydata(), profile.along(contender.displacement)[order])
    inner, outer = [line for line in axes.lines if to_hex(line.get_color()) == "#000000"]
    assert inner.get_xdata().max() < 0 < outer.get_xdata().min()  # nothing is drawn where the truth jumps
    found = [lines[name] for name in NAMES]
    assert len({to_hex(line.get_color()) for line in found}) == len({line.get_linestyle() for line in found}) == 3


def test_images_have_true_proportions_and_no_words_overlap(drawn):
    _, figure = drawn
    images = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert len(images) == 6
    for axes in images:
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(1.0, rel=0.01)  # the phantom is as wide as it is high
    texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    boxes = [text.get_window_extent() for text in [*texts, *figure.texts] if text.get_text().strip()]
    assert len(boxes) > 15
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(0 <= box.x0 and box.x1 <= figure.bbox.width and 0 <= box.y0 for box in boxes)


def test_the_uniform_strengths_shown_are_the_best_that_were_measured():
    """What the demonstration says of its choice, in the rows of docs/results/demo."""
    rows = json.loads((ROOT / "docs" / "results" / "demo" / "rows.json").read_text(encoding="utf-8"))
    rows = {name.partition("|")[2]: row for name, row in rows.items()}
    strengths = {prior.strength for key, prior in demo.COMPARED_PRIORS.items() if key != "spr"}
    uniform = {name: row for name, row in rows.items() if name.startswith("uniform") and name.endswith("@search")}
    assert len(uniform) == 9
    best = {min(uniform, key=lambda name: uniform[name][place]) for place in ("near", "away")}
    assert best == {f"uniform:{strength:g}@search" for strength in strengths}
    spr = demo.COMPARED_PRIORS["spr"]
    own = rows[f"beta:{spr.alpha:g},{spr.lambda_max:g}@search"]
    for place in ("near", "away"):
        assert own[place] < min(row[place] for name, row in rows.items() if name.startswith("uniform"))
