"""Box plots of rows: Dice by structure, and weight, displacement and Jacobian by structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from SPRCore.analysis.figures import DPI
from SPRCore.analysis.rows import BenchmarkRow, label_order

PALETTE = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c564b", "#332288", "#999933")
"""Colors that are distinguishable with color blindness (Okabe and Ito); the first is for the state before."""

_INITIAL = "before"
_BOXES_A_ROW = 84
_HATCHES = ("", "////", "....")


def _colors_of(methods: Sequence[str]) -> dict[str, str]:
    """Return a color for each method, in their order; they repeat after nine, see `_hatches_of`."""
    return {method: PALETTE[1 + number % (len(PALETTE) - 1)] for number, method in enumerate(methods)}


def _hatches_of(colors: Mapping[str, str]) -> dict[str, str]:
    """Return a hatch for each method, which differs where a color repeats."""
    used: list[str] = []
    hatches = {}
    for method, color in colors.items():
        hatches[method] = _HATCHES[used.count(color) % len(_HATCHES)]
        used.append(color)
    return hatches


def quiet(axes: Axes) -> None:
    """Remove the upper and right edges, and draw thin horizontal grid lines."""
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def dice_figure(rows: Sequence[BenchmarkRow], names: Mapping[str, str] | None = None) -> Figure | None:
    """Draw box plots of Dice by structure and method, as Figures A.15, B.17 and C.19 of the paper; None without labels.

    Boxes from the lower to the upper quartile with the median, whiskers to the last value within 1.5 times their
    distance, all others as points.
    """
    methods = list(dict.fromkeys(row.method for row in rows if row.failed is None))
    first = list({row.pair: row for row in rows if row.before}.values())
    scores = {_INITIAL: [row.before.get("dice") or {} for row in first]}
    scores |= {name: [row.after.get("dice") or {} for row in rows if row.method == name] for name in methods}
    labels = sorted({label for part in scores.values() for score in part for label in score}, key=label_order)
    if not labels:
        return None
    values = {
        name: [[score[label] for score in part if score.get(label) is not None] for label in labels]
        for name, part in scores.items()
    }
    colors = {_INITIAL: PALETTE[0]} | _colors_of(methods)
    return _boxes(values, [(names or {}).get(label, label) for label in labels], colors, "Dice")


def weights_figure(rows: Sequence[BenchmarkRow], names: Mapping[str, str] | None = None) -> Figure | None:
    """Draw mean weight, mean displacement and median Jacobian of each structure over all pairs; None without them.

    Args:
        rows: One row for each method and pair.
        names: Names of labels; "0" is the rest of the foreground.
    """
    rows = [row for row in rows if row.failed is None and row.maps.get("structures")]
    measures = {
        "mean weight": ("weight", "mean"),
        "mean displacement, mm": ("displacement_mm", "mean"),
        "median Jacobian determinant": ("jacobian", "median"),
    }
    labels = sorted({label for row in rows for label in row.maps["structures"]}, key=label_order)
    if not labels:
        return None
    methods = list(dict.fromkeys(row.method for row in rows))
    colors = _colors_of(methods)
    shown = [{"0": "rest", **(names or {})}.get(label, label) for label in labels]
    figure = Figure(figsize=(_width(len(labels), len(methods)), 7.5), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(measures), 1, sharex=True)
    for panel, (title, path) in zip(panels, measures.items(), strict=True):
        values = {
            name: [_collected([row for row in rows if row.method == name], label, path) for label in labels]
            for name in methods
        }
        _draw_boxes(panel, {name: part for name, part in values.items() if any(part)}, shown, colors)
        panel.set_ylabel(title, fontsize=9)
    _legend(figure, colors)
    return figure


def _collected(rows: Sequence[BenchmarkRow], label: str, path: tuple[str, str]) -> list[float]:
    parts = [row.maps["structures"].get(label, {}).get(path[0], {}).get(path[1]) for row in rows]
    return [part for part in parts if part is not None]


def _boxes(
    values: Mapping[str, Sequence[Sequence[float]]], labels: Sequence[str], colors: Mapping[str, str], title: str
) -> Figure:
    """Boxes of all methods side by side for each label, on as many rows as necessary."""
    count = -(-len(labels) * len(values) // _BOXES_A_ROW)
    parts = np.array_split(np.arange(len(labels)), count)
    width = _width(len(parts[0]), len(values))
    figure = Figure(figsize=(width, 0.7 + 3.1 * len(parts)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(parts), 1, squeeze=False)[:, 0]
    lowest = min(min(part, default=1.0) for groups in values.values() for part in groups)
    for panel, part in zip(panels, parts, strict=True):
        _draw_boxes(panel, {k: [v[i] for i in part] for k, v in values.items()}, [labels[i] for i in part], colors)
        panel.set_ylabel(title, fontsize=9)
        panel.set_ylim(max(0.0, np.floor(lowest * 10) / 10), 1.0)
    _legend(figure, colors)
    return figure


def _draw_boxes(
    panel: Axes, values: Mapping[str, Sequence[Sequence[float]]], labels: Sequence[str], colors: Mapping[str, str]
) -> None:
    quiet(panel)
    wide, hatches = 0.8 / max(len(values), 1), _hatches_of(colors)
    for number, (name, groups) in enumerate(values.items()):
        at = np.arange(len(labels)) + (number - (len(values) - 1) / 2) * wide
        panel.boxplot(
            [list(group) for group in groups],
            positions=at,
            widths=0.85 * wide,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black", "linewidth": 1.0},
            whiskerprops={"color": colors[name], "linewidth": 0.9},
            capprops={"color": colors[name], "linewidth": 0.9},
            boxprops=_face(colors[name], hatches[name]) | {"linewidth": 0.8},
            flierprops={"marker": ".", "markersize": 3, "markerfacecolor": colors[name], "markeredgecolor": "none"},
        )
    panel.set_xlim(-0.5, len(labels) - 0.5)
    many = len(labels) > 8 and max(map(len, labels)) > 3
    panel.set_xticks(
        range(len(labels)), labels, rotation=60 if many else 0, ha="right" if many else "center", fontsize=8
    )


def _face(color: str, hatch: str) -> dict[str, Any]:
    """Return the style of a box; a hatch has the color of the edge."""
    return {"facecolor": color, "edgecolor": "black" if hatch else color, "hatch": hatch, "alpha": 0.75}


def _legend(figure: Figure, colors: Mapping[str, str]) -> None:
    hatches = _hatches_of(colors)
    handles = [Patch(**_face(color, hatches[name]), label=name) for name, color in colors.items()]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=max(1, int(figure.get_figwidth() / 1.7)),
        fontsize=8,
        frameon=False,
    )


def _width(labels: int, methods: int) -> float:
    return float(np.clip(1.2 + 0.16 * labels * (methods + 1), 5.0, 16.0))
