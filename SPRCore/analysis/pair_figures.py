"""Figures of a saved pair: methods side by side, and the relation of weight and deformation of a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from SPRCore.analysis.figures import (
    DPI,
    FIXED_COLOR,
    MOVING_COLOR,
    draw_grid,
    draw_marks,
    draw_outlines,
    draw_weight_bar,
    gray_window,
    show_plane,
    weight_limit,
    weight_overlay,
)
from SPRCore.analysis.interpret import gradient_map, likely_weight, rank_correlation, variance_map
from SPRCore.analysis.planes import PLANES, Plane, SliceExtractor, bounding_box, center_mm, foreground
from SPRCore.analysis.saved_pairs import SavedPair, SavedResult
from SPRCore.geometry import Volume
from SPRCore.regularization.priors import make_prior

_COLUMN_INCHES = 2.3
_LENGTH_COLORS, _SPREAD_COLORS, _JUMP_COLORS = "viridis", "magma", "inferno"
_SIGNED_COLORS, _DIFFERENCE_COLORS = "RdBu_r", "magma"
_AXIS_NAMES = ("right to left", "back to front", "foot to head")


def methods_figure(kept: SavedPair, plane: Plane = PLANES[0]) -> Figure:
    """Draw a pair and the result of each method, as Figure 6 of the paper.

    Returns:
        Moving and fixed image; below them for each method the warped image, the deformation grid, the weight map and
        the absolute difference from the fixed image.
    """
    extractor = pair_extractor(kept)
    size = extractor.size_mm(plane)
    height = _COLUMN_INCHES * size[1] / size[0]
    rows = len(kept.methods)
    figure = _sheet(5, height, rows + 1, bars=1)
    grid = figure.add_gridspec(rows + 2, 5, height_ratios=[*[height] * (rows + 1), 0.12])
    before = _difference(kept.fixed, kept.moving)
    limit = float(np.percentile(before[foreground(kept.fixed)], 99.5)) or 1.0
    _image(figure.add_subplot(grid[0, 0]), extractor, plane, kept.moving, kept.moving_labels, MOVING_COLOR, "moving")
    _image(figure.add_subplot(grid[0, 1]), extractor, plane, kept.fixed, kept.fixed_labels, FIXED_COLOR, "fixed")
    panel = figure.add_subplot(grid[0, 4])
    show_plane(panel, extractor.extract(before, plane), size, cmap=_DIFFERENCE_COLORS, vmin=0, vmax=limit)
    panel.set_title("difference before", fontsize=9)
    stiffest = _stiffest(kept)
    for row, method in enumerate(kept.methods, start=1):
        panels = [figure.add_subplot(grid[row, column]) for column in range(5)]
        _draw_method(panels, method, kept, extractor, plane, (stiffest, limit))
        if row == 1:
            for panel, title in zip(panels[1:], ("warped", "deformation", "weight", "difference after"), strict=True):
                panel.set_title(title, fontsize=9)
    if any(method.weight is not None for method in kept.methods):
        draw_weight_bar(figure.add_subplot(grid[rows + 1, 3]), stiffest)
    _bar(figure, grid[rows + 1, 4], _DIFFERENCE_COLORS, Normalize(0, limit), "in units of the fixed image")
    _head(figure, kept.pair)
    return figure


def _draw_method(
    panels: list[Axes],
    method: SavedResult,
    kept: SavedPair,
    extractor: SliceExtractor,
    plane: Plane,
    limits: tuple[float, float],
) -> None:
    """Draw the result of a method; `limits` are the maxima of the scales of weight and difference."""
    size = extractor.size_mm(plane)
    _write(panels[0], method)
    _image(panels[1], extractor, plane, method.warped, method.warped_labels, MOVING_COLOR, "")
    fixed_outlines(panels[1], kept, extractor, plane)
    show_plane(panels[2], extractor.extract(kept.fixed.array, plane), size, cmap="gray", **gray_window(kept.fixed))
    draw_grid(panels[2], extractor, plane, method.displacement)
    _weight(panels[3], method, kept, extractor, plane, limits[0])
    after = _difference(kept.fixed, method.warped)
    show_plane(panels[4], extractor.extract(after, plane), size, cmap=_DIFFERENCE_COLORS, vmin=0, vmax=limits[1])


def weight_figure(kept: SavedPair, method: SavedResult, plane: Plane = PLANES[0]) -> Figure:
    """Draw weight and deformation of a method, as Figure 12 of the paper.

    Returns:
        Length of the displacement, deformation, local variance of the displacement, weight, and the weight over the
        deformation and over the variance; the rank correlation of the weight with each over the foreground.

    Raises:
        ValueError: The method has no weight.
    """
    extractor = pair_extractor(kept)
    size = extractor.size_mm(plane)
    height = _COLUMN_INCHES * size[1] / size[0]
    length = np.linalg.norm(method.displacement.array, axis=-1)
    variance = np.sqrt(variance_map(method.displacement))
    inside, weight = foreground(kept.fixed), method.weight
    if weight is None:
        raise ValueError(f"{method.method} has no weight")
    related = [rank_correlation(weight.array[inside], part[inside]) for part in (length, variance)]
    figure = _sheet(6, height, 1, bars=1)
    grid = figure.add_gridspec(2, 6, height_ratios=[height, 0.12])
    panels = [figure.add_subplot(grid[0, column]) for column in range(6)]
    norms = [Normalize(0, float(np.percentile(part[inside], 99.5)) or 1.0) for part in (length, variance)]
    limit = weight_limit(weight.array)
    show_plane(panels[0], extractor.extract(length, plane), size, cmap=_LENGTH_COLORS, norm=norms[0])
    show_plane(panels[1], extractor.extract(kept.fixed.array, plane), size, cmap="gray", **gray_window(kept.fixed))
    draw_grid(panels[1], extractor, plane, method.displacement)
    show_plane(panels[2], extractor.extract(variance, plane), size, cmap=_SPREAD_COLORS, norm=norms[1])
    _weight(panels[3], method, kept, extractor, plane, limit)
    show_plane(panels[4], weight_overlay(extractor.extract(weight.array, plane), limit), size)
    panels[4].set_facecolor("black")
    draw_grid(panels[4], extractor, plane, method.displacement, color="white")
    show_plane(panels[5], extractor.extract(variance, plane), size, cmap="gray", norm=norms[1])
    show_plane(panels[5], weight_overlay(extractor.extract(weight.array, plane), limit), size)
    for panel, title, value in zip(panels, _WEIGHT_TITLES, (related[0], None, related[1], *[None] * 3), strict=True):
        panel.set_title(title + (f"\nrank correlation {value:+.2f}" if value is not None else "\n"), fontsize=9)
        fixed_outlines(panel, kept, extractor, plane)
        draw_marks(panel, plane)
    _bar(figure, grid[1, 0], _LENGTH_COLORS, norms[0], "mm")
    _bar(figure, grid[1, 2], _SPREAD_COLORS, norms[1], "mm")
    draw_weight_bar(figure.add_subplot(grid[1, 3]), limit)
    _head(figure, f"{method.method} on {kept.pair}; correlations with the weight over the foreground")
    return figure


_WEIGHT_TITLES = (
    "length of the displacement",
    "deformation",
    "local spread of the displacement",
    "weight",
    "weight on deformation",
    "weight on spread",
)


def boundary_figure(kept: SavedPair, plane: Plane = PLANES[0]) -> Figure:
    """Draw displacement components and their spatial derivative for each method, as Figure 13 of the paper.

    Returns:
        For each method the weight, the two components in the plane and the change of the displacement per mm, with the
        boundaries of the fixed structures, in common scales.
    """
    extractor = pair_extractor(kept)
    size = extractor.size_mm(plane)
    height = _COLUMN_INCHES * size[1] / size[0]
    rows, inside = len(kept.methods), foreground(kept.fixed)
    moves = [np.abs(method.displacement.array[inside][:, (plane.across, plane.up)]) for method in kept.methods]
    signed = Normalize(*(np.array([-1, 1]) * (max(float(np.percentile(part, 99.5)) for part in moves) or 1.0)))
    jumps = [gradient_map(method.displacement) for method in kept.methods]
    jump = Normalize(0, max(float(np.percentile(part[inside], 99.5)) for part in jumps) or 1.0)
    figure = _sheet(5, height, rows, bars=1)
    grid = figure.add_gridspec(rows + 1, 5, height_ratios=[*[height] * rows, 0.12])
    for row, (method, change) in enumerate(zip(kept.methods, jumps, strict=True)):
        panels = [figure.add_subplot(grid[row, column]) for column in range(5)]
        _write(panels[0], method)
        _weight(panels[1], method, kept, extractor, plane, _stiffest(kept))
        for panel, axis in zip(panels[2:4], (plane.across, plane.up), strict=True):
            cut = extractor.extract(method.displacement.array[..., axis], plane)
            show_plane(panel, cut, size, cmap=_SIGNED_COLORS, norm=signed)
        show_plane(panels[4], extractor.extract(change, plane), size, cmap=_JUMP_COLORS, norm=jump)
        for panel in panels[1:]:
            fixed_outlines(panel, kept, extractor, plane, "black" if panel in panels[2:4] else FIXED_COLOR)
        names = [f"displacement, {_AXIS_NAMES[axis]}" for axis in (plane.across, plane.up)]
        for panel, title in zip(panels[1:], ("weight", *names, "change of displacement"), strict=True):
            panel.set_title(title if row == 0 else "", fontsize=9)
    if any(method.weight is not None for method in kept.methods):
        draw_weight_bar(figure.add_subplot(grid[rows, 1]), _stiffest(kept))
    _bar(figure, grid[rows, 2:4], _SIGNED_COLORS, signed, "mm")
    _bar(figure, grid[rows, 4], _JUMP_COLORS, jump, "mm per mm")
    _head(figure, kept.pair)
    return figure


def likely_weight_figure(kept: SavedPair, method: SavedResult) -> Figure:
    """Draw a histogram of the weight of a method and the most probable one for the same displacement under its prior.

    Raises:
        ValueError: The method has no weight.
    """
    setting = {key: value for key, value in method.setting.items() if key != "refine"}
    prior = make_prior(setting.pop("prior"), setting)
    if method.weight is None:
        raise ValueError(f"{method.method} has no weight")
    inside = foreground(kept.fixed)
    own, likely = method.weight.array[inside], likely_weight(method.displacement, prior)[inside]
    limit = max(weight_limit(own), weight_limit(likely))
    figure = Figure(figsize=(4.9, 4.3), dpi=DPI, layout="constrained")
    panel = figure.add_subplot()
    counts, *edges = np.histogram2d(likely, own, bins=60, range=[[0, limit]] * 2)
    counts[counts == 0] = np.nan
    image = panel.pcolormesh(*edges, counts.T, cmap="viridis", norm=LogNorm())
    figure.colorbar(image, ax=panel, label="voxels")
    panel.plot([0, limit], [0, limit], color="#ff3030", linewidth=1.0, linestyle="--")
    panel.set_xlabel("most probable weight for this displacement")
    panel.set_ylabel("weight of the method")
    panel.set_aspect("equal")
    related = rank_correlation(likely, own)
    words = f"mean distance {np.abs(own - likely).mean():.3f}"
    words += "" if related is None else f", rank correlation {related:+.2f}"
    panel.set_title(f"{method.method} on {kept.pair}\n{words}", fontsize=9)
    return figure


def _head(figure: Figure, words: str) -> None:
    figure.suptitle(f"{words}\n", fontsize=10)  # an empty line separates it from the titles of the panels


def _stiffest(kept: SavedPair) -> float:
    """Maximum of the common scale of all weights."""
    return max((weight_limit(m.weight.array) for m in kept.methods if m.weight is not None), default=1.0)


def _write(panel: Axes, method: SavedResult) -> None:
    panel.axis("off")
    panel.text(0.02, 0.5, _words(method), va="center", fontsize=9, transform=panel.transAxes)


def _sheet(columns: int, height: float, rows: int, bars: int) -> Figure:
    size = (columns * (_COLUMN_INCHES + 0.1), rows * (height + 0.06) + 0.5 * bars + 0.75)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    return figure


def pair_extractor(kept: SavedPair) -> SliceExtractor:
    """Return the slices of a pair through the center of its labels, with a margin of half their size."""
    anatomy, labels = foreground(kept.fixed), kept.fixed_labels
    target = anatomy if labels is None or not labels.array.any() else labels.array != 0
    box = bounding_box(anatomy)
    if target is not anatomy:
        low, high = bounding_box(target).T
        wide = high - low
        box = np.stack([np.maximum(low - wide // 2, box[:, 0]), np.minimum(high + wide // 2, box[:, 1])], axis=1)
    return SliceExtractor(kept.fixed.grid, center_mm(target, kept.fixed.affine), box)


def _difference(fixed: Volume, other: Volume) -> np.ndarray:
    return np.abs(other.array.astype(np.float32) - fixed.array.astype(np.float32))


def _image(
    panel: Axes, extractor: SliceExtractor, plane: Plane, image: Volume, labels: Volume | None, color: str, title: str
) -> None:
    size = extractor.size_mm(plane)
    show_plane(panel, extractor.extract(image.array, plane), size, cmap="gray", **gray_window(image))
    if labels is not None:
        draw_outlines(panel, extractor.extract(labels.array, plane), size, color)
    draw_marks(panel, plane)
    if title:
        panel.set_title(title, fontsize=9)


def fixed_outlines(
    panel: Axes, kept: SavedPair, extractor: SliceExtractor, plane: Plane, color: str = FIXED_COLOR
) -> None:
    """Draw the outlines of the fixed labels, if any."""
    if kept.fixed_labels is not None:
        draw_outlines(panel, extractor.extract(kept.fixed_labels.array, plane), extractor.size_mm(plane), color)


def _weight(
    panel: Axes, method: SavedResult, kept: SavedPair, extractor: SliceExtractor, plane: Plane, limit: float
) -> None:
    size = extractor.size_mm(plane)
    show_plane(panel, extractor.extract(kept.fixed.array, plane), size, cmap="gray", **gray_window(kept.fixed))
    if method.weight is None:
        panel.text(0.5, 0.5, "no weight", ha="center", color="white", fontsize=9, transform=panel.transAxes)
        return
    show_plane(panel, weight_overlay(extractor.extract(method.weight.array, plane), limit), size)


def _bar(figure: Figure, cell: Any, colors: str, norm: Normalize, words: str) -> None:
    bar = figure.add_subplot(cell)
    scale = figure.colorbar(ScalarMappable(norm, colors), cax=bar, orientation="horizontal")
    scale.set_label(words, fontsize=8)
    bar.tick_params(labelsize=8, length=2)


def _words(method: SavedResult) -> str:
    after = method.metrics.get("after", {})
    parts: list[tuple[str, str, Callable[[Any], str]]] = [
        ("Dice", "dice_mean", "{:.3f}".format),
        ("LNCC", "lncc", "{:.3f}".format),
        ("folding", "folding_percent", _percent),
        ("NDV", "ndv_percent", _percent),
    ]
    lines = [f"{title} {write(after[key])}" for title, key, write in parts if after.get(key) is not None]
    return "\n".join([method.method, "", *lines])


def _percent(value: float) -> str:
    return "<0.001 %" if 0 < value < 0.001 else f"{value:.2g} %"
