"""Pictures of a run: registered pairs, and curves of loss and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from SPRCore.functional import warp
from SPRCore.networks import RegistrationOutput
from SPRCore.training.batches import Batch
from SPRCore.training.validate import PairMetrics
from SPRCore.typing import Tensor

FIXED_COLOR, MOVING_COLOR, _GRID_COLOR = "#35d0ff", "#ff9a2e", "#ffe14d"
_WEIGHT_COLORS = "plasma_r"  # as in the figures of results: bright where the deformation is free
_TITLES = (
    "Moving",
    "Fixed",
    "Warped",
    "Deformation grid",
    "Weight: bright is free",
    "Before: moving - fixed",
    "After: warped - fixed",
)
_LOSSES = {name: name.replace("_", " ") for name in ("loss", "similarity", "smoothness", "prior", "dice_loss")}
_LOSSES |= {"landmark_loss": "landmark loss", "map_pull": "pull to the MAP weight"}
_SCORES = {"dice": "Dice", "dice_before": "Dice before", "lncc": "LNCC", "map_gap": "|w - w*|"}
_ERRORS = {"tre_mm": "landmark error", "tre_before_mm": "before"}
_INCHES, _DPI = 2.1, 110
_LINES_ACROSS = 16
_MAX_SMOOTHING = 15  # rows


def pairs_figure(shown: Sequence[tuple[Batch, RegistrationOutput, PairMetrics]], title: str) -> Figure:
    """Draw pairs, one below the other, in a slice across their coarsest axis through the center of the labels.

    Slices are in array orientation and true proportions. `shown` has pairs with the output of the network and the
    metrics, on the CPU.
    """
    has_weight = any(output.weight is not None for _, output, _ in shown)
    columns = [column for column in range(len(_TITLES)) if has_weight or "Weight" not in _TITLES[column]]
    cuts = [_Cut(pair) for pair, _, _ in shown]
    heights = [cut.height / cut.width for cut in cuts]
    size = (_INCHES * len(columns), _INCHES * sum(heights) + 0.35 * len(shown) + 0.75)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0.0, hspace=0.0)
    axes = figure.subplots(len(shown), len(columns), squeeze=False, height_ratios=heights)
    for row, cut, (pair, output, metrics) in zip(axes, cuts, shown, strict=True):
        _draw_row([row[columns.index(column)] if column in columns else None for column in range(7)], cut, pair, output)
        row[0].set_ylabel(_caption(pair, metrics), fontsize=6)
    for panel, column in zip(axes[0], columns, strict=True):
        panel.set_title(_TITLES[column], fontsize=8)
    outlines = [Line2D([], [], color=FIXED_COLOR, label="labels of fixed")]
    outlines.append(Line2D([], [], color=MOVING_COLOR, label="labels of moving"))
    if any(pair.fixed_labels is not None for pair, _, _ in shown):
        figure.legend(handles=outlines, loc="outside lower left", ncols=2, fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9)
    return figure


def curves_figure(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw parts of the loss, metrics of the validation and landmark error, if any, over the steps of a run."""
    train = [row for row in rows if row.get("kind") == "train"]
    measured = [row for row in rows if row.get("kind") == "validation"]
    panels = [
        ("training: parts of the loss", train, _LOSSES, 0),
        ("validation: mean of the pairs", measured, _SCORES, 1),
    ]
    if any("tre_mm" in row for row in measured):
        panels.append(("validation: landmark error in mm", measured, _ERRORS, 1))
    figure = Figure(figsize=(4.3 * len(panels), 3.4), dpi=_DPI, layout="constrained")
    for panel, (words, found, names, marked) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for name, label in names.items():
            _draw_curve(panel, found, name, label, bool(marked))
        panel.set_title(words, fontsize=9)
        panel.set_xlabel("steps", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=7)
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_curve(panel: Axes, rows: list[dict[str, Any]], name: str, words: str, marked: bool) -> None:
    found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    if not found:
        return
    steps, values = np.array(found, dtype=float).T
    if "before" in name:
        panel.axhline(values[0], color="gray", linestyle="--", linewidth=1, label=words)
        return
    window = 1 if marked else min(_MAX_SMOOTHING, max(1, len(values) // 8))
    smooth = np.convolve(values, np.ones(window) / window, mode="valid")
    panel.plot(steps[window - 1 :], smooth, label=words, linewidth=1.2, marker="o" if marked else "", markersize=2.5)


class _Cut:
    """A slice across the coarsest axis, through the center of the labels or of the grid."""

    def __init__(self, pair: Batch) -> None:
        self.axis = int(np.argmax(pair.spacing)) if len(set(pair.spacing)) > 1 else 2
        self.across, self.up = (axis for axis in range(3) if axis != self.axis)
        shape = pair.fixed.shape[2:]
        self.index = shape[self.axis] // 2
        if pair.fixed_labels is not None and bool((pair.fixed_labels != 0).any()):
            indices = (pair.fixed_labels[0, 0] != 0).nonzero()[:, self.axis]
            self.index = int(indices.double().mean().round())
        self.width, self.height = (shape[axis] * pair.spacing[axis] for axis in (self.across, self.up))
        self.spacing = pair.spacing

    def of(self, image: Tensor, channel: int = 0) -> np.ndarray:
        """Return the slice of an image, shape (1, C, X, Y, Z), first row at the bottom."""
        return image[0, channel].select(self.axis, self.index).float().numpy().T

    def show(self, panel: Axes, picture: np.ndarray, **options: Any) -> None:
        """Draw a slice."""
        panel.imshow(picture, origin="lower", extent=(0, self.width, 0, self.height), aspect="equal", **options)

    def centers(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the voxel centers across and up, in mm."""
        steps = [self.spacing[axis] for axis in (self.across, self.up)]
        counts = [round(extent / step) for extent, step in zip((self.width, self.height), steps, strict=True)]
        across, up = ((np.arange(count) + 0.5) * step for count, step in zip(counts, steps, strict=True))
        return across, up


def _draw_row(panels: list[Axes | None], cut: _Cut, pair: Batch, output: RegistrationOutput) -> None:
    for panel in panels:
        if panel is not None:
            panel.set_xticks([])
            panel.set_yticks([])
    warped = warp(pair.moving, output.displacement)
    fixed = cut.of(pair.fixed)
    gray = {"cmap": "gray", "vmin": 0.0, "vmax": max(float(fixed.max()), 1e-3)}
    for panel, image in zip(panels[:4], (pair.moving, pair.fixed, warped, pair.fixed), strict=True):
        cut.show(panel, cut.of(image), **gray)
    _draw_outlines(panels, cut, pair, output)
    _draw_grid(panels[3], cut, output.displacement)
    if output.weight is not None and panels[4] is not None:
        cut.show(
            panels[4], cut.of(output.weight), cmap=_WEIGHT_COLORS, vmin=0.0, vmax=max(1.0, float(output.weight.max()))
        )
        weight = output.weight
        words = f"{float(weight.min()):.2g} to {float(weight.max()):.2g}, mean {float(weight.mean()):.2g}"
        panels[4].set_xlabel(words, fontsize=6.5)
    before, after = cut.of(pair.moving) - fixed, cut.of(warped) - fixed
    limit = max(float(np.percentile(np.abs(before), 99)), 1e-3)
    for panel, difference in zip(panels[5:], (before, after), strict=True):
        cut.show(panel, difference, cmap="RdBu_r", vmin=-limit, vmax=limit)


def _draw_outlines(panels: list[Axes | None], cut: _Cut, pair: Batch, output: RegistrationOutput) -> None:
    if pair.fixed_labels is None or pair.moving_labels is None:
        return
    moved = warp(pair.moving_labels.float(), output.displacement.float(), mode="nearest")
    for panel, labels, color in (
        (panels[0], pair.fixed_labels, FIXED_COLOR),
        (panels[0], pair.moving_labels, MOVING_COLOR),
        (panels[1], pair.fixed_labels, FIXED_COLOR),
        (panels[2], pair.fixed_labels, FIXED_COLOR),
        (panels[2], moved, MOVING_COLOR),
    ):
        picture = cut.of(labels)
        for label in np.unique(picture[picture != 0]):
            panel.contour(*cut.centers(), picture == label, levels=[0.5], colors=color, linewidths=0.7)


def _draw_grid(panel: Axes, cut: _Cut, displacement: Tensor) -> None:
    """Draw the deformed lines of a regular grid of the moving image."""
    across, up = cut.centers()
    step = max(cut.width, cut.height) / _LINES_ACROSS
    for axis, at in ((cut.across, across[None, :]), (cut.up, up[:, None])):
        coordinate = at + cut.of(displacement, axis) * cut.spacing[axis]
        levels = np.arange(np.floor(coordinate.min() / step), np.ceil(coordinate.max() / step) + 1) * step
        panel.contour(across, up, coordinate, levels=levels, colors=_GRID_COLOR, linewidths=0.5, alpha=0.85)


def _caption(pair: Batch, metrics: PairMetrics) -> str:
    moving, fixed = pair.names[0]
    parts = [moving, f"→ {fixed}"]
    if "dice" in metrics:
        parts.append(f"Dice {metrics['dice_before']:.3f} → {metrics['dice']:.3f}")
    if "tre_mm" in metrics:
        parts.append(f"TRE {metrics['tre_before_mm']:.2f} → {metrics['tre_mm']:.2f} mm")
    return "\n".join([*parts, f"folding {metrics['folding_percent']:.2g} %"])
