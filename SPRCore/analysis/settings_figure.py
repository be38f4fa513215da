"""Figure of one pair at a grid of settings: weights and deformations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from SPRCore.analysis.figures import (
    DPI,
    draw_grid,
    draw_weight_bar,
    gray_window,
    grid_step_mm,
    show_plane,
    weight_limit,
    weight_overlay,
)
from SPRCore.analysis.pair_figures import fixed_outlines, pair_extractor
from SPRCore.analysis.planes import PLANES, Plane, SliceExtractor
from SPRCore.analysis.saved_pairs import SavedPair, SavedResult
from SPRCore.analysis.surfaces import SYMBOLS
from SPRCore.errors import InputError
from SPRCore.regularization.hyperparameters import BY_KEY, LEAST

_CELL_INCHES = 0.95
_BEYOND = "\N{DAGGER}"
_LINES = 16  # of the deformation grid over the longest side, few because the panels are small


def settings_figure(kept: SavedPair, plane: Plane = PLANES[0], trained: Mapping[str, float] | None = None) -> Figure:
    """Draw one method on one pair at every setting of a grid, as Figure 11 of the paper.

    Args:
        kept: The pair with the method at each setting.
        plane: Plane of the panels.
        trained: Largest value of each hyperparameter in the training of the model, beyond which settings are marked.

    Returns:
        Weights and deformation grids side by side, the first hyperparameter to the right and the second upward; above
        each deformation the mean Dice, if there are labels, and folding above 0.

    Raises:
        InputError: Several methods, or not one or two hyperparameters that vary.
    """
    names = _varying(kept.methods)
    found = {tuple(method.setting[name] for name in names): method for method in kept.methods}
    columns = sorted({values[0] for values in found})
    rows = sorted({values[1:] for values in found}, reverse=True)
    extractor, weighted = pair_extractor(kept), any(method.weight is not None for method in kept.methods)
    figure, grid = _sheet(extractor.size_mm(plane), len(columns), len(rows), 2 if weighted else 1)
    limit = max((weight_limit(method.weight.array) for method in kept.methods if method.weight is not None), default=1)
    for block in range(2 if weighted else 1):
        is_weight, left = weighted and block == 0, block * (len(columns) + 1)
        for row, column in np.ndindex(len(rows), len(columns)):
            panel = figure.add_subplot(grid[row, left + column])
            method = found.get((columns[column], *rows[row]))
            if method is None:
                panel.axis("off")
                continue
            (_draw_weight if is_weight else _draw_deformation)(panel, method, kept, extractor, plane, limit)
            if row == len(rows) - 1:
                words = _words(names[0]) if column == len(columns) // 2 else ""
                panel.set_xlabel(f"{_written(names[0], columns[column], trained)}\n{words}", fontsize=8)
            if left + column == 0 and len(names) > 1:
                words = _words(names[1]) if row == len(rows) // 2 else ""
                panel.set_ylabel(f"{words}\n{_written(names[1], *rows[row], trained)}", fontsize=8)
        _finish(figure.add_subplot(grid[len(rows), left : left + len(columns)]), is_weight, limit, extractor, plane)
    last = {name: max(method.setting[name] for method in kept.methods) for name in names}
    note = f"; {_BEYOND} beyond the training" if any(_is_beyond(*item, trained) for item in last.items()) else ""
    figure.suptitle(f"{kept.methods[0].method} on {kept.pair}{note}", fontsize=10)
    return figure


def _sheet(size_mm: tuple[float, float], columns: int, rows: int, blocks: int) -> tuple[Figure, GridSpec]:
    height = _CELL_INCHES * size_mm[1] / size_mm[0]
    size = (blocks * columns * (_CELL_INCHES + 0.04) + 0.7, rows * (height + 0.2) + 1.4)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    widths = [1.0] * columns + ([0.12] + [1.0] * columns) * (blocks - 1)
    heights = [height] * rows + [0.08]
    return figure, figure.add_gridspec(rows + 1, len(widths), width_ratios=widths, height_ratios=heights)


def _finish(bar: Axes, is_weight: bool, limit: float, extractor: SliceExtractor, plane: Plane) -> None:
    """Add the caption of a block."""
    if is_weight:
        draw_weight_bar(bar, limit)
        bar.set_xlabel("weight", fontsize=9)
        return
    bar.axis("off")
    step = grid_step_mm(max(extractor.size_mm(plane)), _LINES)
    bar.text(0.5, 0.0, f"deformation, lines {step:g} mm apart", ha="center", va="top", fontsize=9)


def _written(name: str, value: float, trained: Mapping[str, float] | None) -> str:
    mark = f" {_BEYOND}" if _is_beyond(name, value, trained) else ""
    return f"{SYMBOLS[name]} {0.0 if value <= LEAST else value:.2g}{mark}"


def _is_beyond(name: str, value: float, trained: Mapping[str, float] | None) -> bool:
    return trained is not None and name in trained and value > trained[name] * (1 + 1e-9)


def _words(name: str) -> str:
    return f"{BY_KEY[name].label} \N{RIGHTWARDS ARROW}"


def _varying(methods: Sequence[SavedResult]) -> list[str]:
    if len({method.method for method in methods}) != 1:
        raise InputError("panels", got=f"{len(methods)} methods", expected="one method at several settings")
    settings = [{name: value for name, value in method.setting.items() if name in SYMBOLS} for method in methods]
    names = [name for name in SYMBOLS if len({setting.get(name) for setting in settings}) > 1]
    if len(names) not in (1, 2):
        expected = "one or two"
        raise InputError("panels", got=f"{len(names)} hyperparameters that vary", expected=expected)
    return names


def _draw_weight(
    panel: Axes, method: SavedResult, kept: SavedPair, extractor: SliceExtractor, plane: Plane, limit: float
) -> None:
    size = extractor.size_mm(plane)
    show_plane(panel, extractor.extract(kept.fixed.array, plane), size, cmap="gray", **gray_window(kept.fixed))
    if method.weight is not None:
        show_plane(panel, weight_overlay(extractor.extract(method.weight.array, plane), limit), size)
        panel.set_title(f"mean {method.weight.array.mean():.2f}", fontsize=7, pad=2)
    fixed_outlines(panel, kept, extractor, plane)


def _draw_deformation(
    panel: Axes, method: SavedResult, kept: SavedPair, extractor: SliceExtractor, plane: Plane, limit: float
) -> None:
    size = extractor.size_mm(plane)
    show_plane(panel, extractor.extract(kept.fixed.array, plane), size, cmap="gray", **gray_window(kept.fixed))
    panel.images[0].set_alpha(0.6)  # behind the lines
    panel.set_facecolor("black")
    draw_grid(panel, extractor, plane, method.displacement, _LINES)
    panel.set_title(_quality(method.metrics.get("after", {})), fontsize=7, pad=2)


def _quality(after: Mapping[str, float]) -> str:
    parts = [f"Dice {after['dice_mean']:.3f}"] if after.get("dice_mean") is not None else []
    parts += [f"folds {after['folding_percent']:.2g} %"] if after.get("folding_percent") else []
    return ", ".join(parts)
