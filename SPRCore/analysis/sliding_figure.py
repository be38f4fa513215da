"""Figure of the demonstration: uniform and spatially varying regularization at a sliding wall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D

from SPRCore.analysis.figures import DPI, draw_marks, draw_weight_bar, show_plane, weight_limit, weight_overlay
from SPRCore.analysis.planes import PLANES, SliceExtractor
from SPRCore.analysis.sliding import (
    NEAR_VOXELS,
    ComparedResult,
    WallProfile,
    error_map,
    plane_point_mm,
    wall_errors,
    wall_profile,
)
from SPRCore.geometry import Volume
from SPRCore.synthetic import Phantom

_CORONAL = PLANES[1]
_WALL_COLOR = "#35d0ff"
_PROFILE_COLOR = "#ffe14d"
_LINES = (("#d1495b", "--"), ("#30638e", "-."), ("#1b7f5c", "-"))  # distinguishable by their style, too
_ERROR_COLORS = "magma"
_TITLE, _TEXT, _SMALL = 12, 11, 10  # font sizes in points, on a figure that is 15 inches wide


def sliding_figure(phantom: Phantom, contenders: Sequence[ComparedResult], note: str = "") -> Figure:
    """Draw three registrations of a sliding phantom side by side, the last one with varying stiffness.

    Above the images with the wall, the stiffness and the displacement across the wall; below the error maps in one
    scale, and the mean errors near the wall and away from it; at the bottom the note.
    """
    profile = wall_profile(phantom)
    view = _View(phantom, profile)
    height = 3.1 * view.size[1] / view.size[0]
    figure = Figure(figsize=(15.0, 2 * height + 2.8), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05, wspace=0.0, hspace=0.0)
    grid = figure.add_gridspec(4, 4, width_ratios=[1, 1, 1, 1.6], height_ratios=[height, 0.13, height, 0.13])
    _draw_images(figure, grid, view, profile)
    _draw_stiffness(figure, grid, view, contenders[-1])
    _draw_errors(figure, grid, view, contenders)
    _draw_profile(figure.add_subplot(grid[0:2, 3]), phantom, contenders, profile)
    _draw_bars(figure.add_subplot(grid[2:4, 3]), phantom, contenders)
    figure.suptitle("A lung slides along the chest wall: does the registration let it?", fontsize=15)
    if note:
        figure.supxlabel(note, fontsize=_SMALL)
    return figure


class _View:
    """Coronal slice through the line of a profile."""

    def __init__(self, phantom: Phantom, profile: WallProfile) -> None:
        self.phantom = phantom
        self._extractor = SliceExtractor(phantom.fixed.grid, plane_point_mm(phantom, profile))
        self.size = self._extractor.size_mm(_CORONAL)

    def extract(self, array: np.ndarray) -> np.ndarray:
        return self._extractor.extract(array, _CORONAL)

    def centers(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the voxel centers of a slice across and up, in mm."""
        rows, columns = picture.shape
        return (np.arange(columns) + 0.5) * self.size[0] / columns, (np.arange(rows) + 0.5) * self.size[1] / rows

    def gray(self, panel: Axes, image: Volume, title: str) -> None:
        show_plane(panel, self.extract(image.array), self.size, cmap="gray", vmin=0, vmax=1)
        draw_marks(panel, _CORONAL)
        panel.set_title(title, fontsize=_TITLE)

    def wall(self, panel: Axes) -> None:
        assert self.phantom.boundary is not None
        distance = self.extract(self.phantom.boundary.array)
        panel.contour(*self.centers(distance), distance, levels=[0.0], colors=_WALL_COLOR, linewidths=0.8)

    def line(self, panel: Axes, profile: WallProfile) -> None:
        """Draw the line of a profile, located by slicing a mask of it."""
        mark = np.zeros(self.phantom.fixed.shape, dtype=bool)
        mark[profile.voxels, profile.index[1], profile.index[2]] = True
        picture = self.extract(mark)
        across, up = self.centers(picture)
        rows, columns = np.nonzero(picture)
        panel.plot(across[columns], up[rows], color=_PROFILE_COLOR, linewidth=2.0)


def _draw_images(figure: Figure, grid: GridSpec, view: _View, profile: WallProfile) -> None:
    fixed, moving = (figure.add_subplot(grid[0, column]) for column in range(2))
    view.gray(fixed, view.phantom.fixed, "Fixed: breathed out")
    view.gray(moving, view.phantom.moving, "Moving: breathed in")
    view.wall(fixed)
    view.line(fixed, profile)
    legend = figure.add_subplot(grid[1, 0:2])
    legend.axis("off")
    handles = [
        Line2D([], [], color=_WALL_COLOR, linewidth=2, label="sliding wall"),
        Line2D([], [], color=_PROFILE_COLOR, linewidth=2, label="line of the curves on the right"),
    ]
    legend.legend(handles=handles, loc="upper center", ncols=2, fontsize=_SMALL, frameon=False)


def _draw_stiffness(figure: Figure, grid: GridSpec, view: _View, contender: ComparedResult) -> None:
    panel, bar = figure.add_subplot(grid[0, 2]), figure.add_subplot(grid[1, 2])
    stiffest = contender.strength * weight_limit(contender.weight.array)
    view.gray(panel, view.phantom.fixed, f"{contender.name}: stiffness found")
    show_plane(panel, weight_overlay(contender.strength * view.extract(contender.weight.array), stiffest), view.size)
    draw_weight_bar(bar, stiffest)
    bar.tick_params(labelsize=_SMALL)


def _draw_errors(figure: Figure, grid: GridSpec, view: _View, contenders: Sequence[ComparedResult]) -> None:
    errors = [error_map(view.phantom, contender.displacement) for contender in contenders]
    limit = float(np.ceil(max(np.percentile(error, 99.5) for error in errors)))
    for column, (contender, error) in enumerate(zip(contenders, errors, strict=True)):
        panel = figure.add_subplot(grid[2, column])
        show_plane(panel, view.extract(error), view.size, cmap=_ERROR_COLORS, vmin=0, vmax=limit)
        view.wall(panel)
        draw_marks(panel, _CORONAL)
        panel.set_title(f"{contender.name}: error", fontsize=_TITLE)
    bar = figure.add_subplot(grid[3, 0:3])
    scale = ScalarMappable(Normalize(0, limit), _ERROR_COLORS)
    figure.colorbar(scale, cax=bar, orientation="horizontal", extend="max", extendfrac=0.02)
    bar.tick_params(labelsize=_SMALL)
    bar.set_xlabel("distance of the displacement found from the true one [mm]", fontsize=_TEXT)


def _draw_profile(axes: Axes, phantom: Phantom, contenders: Sequence[ComparedResult], profile: WallProfile) -> None:
    order = np.argsort(profile.distance_mm)
    distance, truth = profile.distance_mm[order], profile.along(phantom.displacement)[order]
    for side, label in ((distance < 0, "truth"), (distance > 0, None)):  # discontinuous at the wall
        axes.plot(distance[side], truth[side], color="black", linewidth=3.0, label=label)
    for contender, (color, style) in zip(contenders, _LINES, strict=True):
        found = profile.along(contender.displacement)[order]
        axes.plot(distance, found, color=color, linestyle=style, linewidth=2.0, label=contender.name)
    axes.axvline(0.0, color=_WALL_COLOR, linewidth=1.5, zorder=0)
    for x, words, side in ((-0.8, "lung", "right"), (0.8, "chest wall", "left")):
        axes.annotate(words, (x, 1.01), xycoords=axes.get_xaxis_transform(), ha=side, va="bottom", fontsize=_SMALL)
    axes.set_xlabel("distance to the sliding wall [mm]", fontsize=_TEXT)
    axes.set_ylabel("displacement toward the head [mm]", fontsize=_TEXT)
    axes.set_title("Motion along the wall, on a line across it", fontsize=_TITLE, pad=24)
    _finish(axes)
    axes.legend(fontsize=_TEXT, loc="best", frameon=False)


def _draw_bars(axes: Axes, phantom: Phantom, contenders: Sequence[ComparedResult]) -> None:
    width = 0.8 / len(contenders)
    for number, (contender, (color, _)) in enumerate(zip(contenders, _LINES, strict=True)):
        errors = wall_errors(phantom, contender.displacement)
        centers = np.arange(len(errors)) + (number - (len(contenders) - 1) / 2) * width
        bars = axes.bar(centers, list(errors.values()), 0.92 * width, color=color, label=contender.name)
        axes.bar_label(bars, fmt="%.2f", fontsize=_TEXT, padding=2)
    axes.set_xticks([0, 1], [f"near the wall\n(up to {NEAR_VOXELS} voxels)", "away from it\n(rest of the body)"])
    axes.set_ylabel("mean error [mm]", fontsize=_TEXT)
    axes.set_title("Mean error over all voxels of the body", fontsize=_TITLE)
    axes.margins(y=0.12)
    _finish(axes)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", labelsize=_TEXT, length=0)
    axes.legend(fontsize=_TEXT, loc="upper right", frameon=False)


def _finish(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=_SMALL)
    axes.grid(alpha=0.3, linewidth=0.5)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
