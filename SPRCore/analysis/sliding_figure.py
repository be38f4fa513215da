"""The figure of the demonstration: what a sliding wall does to a uniform and to a spatially varying regularization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from SPRCore.analysis.figures import DPI, draw_marks, draw_weight_bar, show_plane, weight_limit, weight_overlay
from SPRCore.analysis.planes import PLANES, Cutter
from SPRCore.analysis.sliding import (
    Contender,
    Profile,
    error_map,
    landmark_errors,
    plane_point_mm,
    wall_profile,
)
from SPRCore.geometry import Volume
from SPRCore.synthetic import Phantom

_CORONAL = PLANES[1]
_WALL_COLOR = "#35d0ff"
_PROFILE_COLOR = "#ffe14d"
_LINE_COLORS = ("#d1495b", "#1b7f5c")  # one for each contender; told apart by their line style too
_ERROR_COLORS = "magma"


def sliding_figure(phantom: Phantom, contenders: Sequence[Contender]) -> Figure:
    """Draw two registrations of a sliding phantom side by side.

    Args:
        phantom: The phantom.
        contenders: Two registrations of it; the second is the one that the reader should look at.

    Returns:
        The images with the wall; for each registration its error map and weight map; the displacement across the wall.
    """
    profile = wall_profile(phantom)
    cutter = Cutter(phantom.fixed.grid, plane_point_mm(phantom, profile))
    size = cutter.size_mm(_CORONAL)
    height = 3.0 * size[1] / size[0]
    figure = Figure(figsize=(15.0, 2 * height + 2.3), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.04, wspace=0.0, hspace=0.0)
    grid = figure.add_gridspec(3, 4, width_ratios=[1, 1, 1, 1.5], height_ratios=[height, height, 0.14])
    _draw_images(figure, grid, cutter, phantom, profile)
    errors = [error_map(phantom, contender.displacement) for contender in contenders]
    limit = max(float(np.percentile(error, 99.9)) for error in errors)
    stiffest = max(contender.strength * weight_limit(contender.weight.array) for contender in contenders)
    for row, (contender, error) in enumerate(zip(contenders, errors, strict=True)):
        panel = figure.add_subplot(grid[row, 1])
        show_plane(panel, cutter.cut(error, _CORONAL), size, cmap=_ERROR_COLORS, vmin=0, vmax=limit)
        _finish(panel, cutter, phantom)
        near = landmark_errors(phantom, contender.displacement)["near"]["mm"]
        panel.set_title(f"{contender.name}\nerror of the displacement; {near:.2f} mm at the wall", fontsize=9)
        panel = figure.add_subplot(grid[row, 2])
        _draw_stiffness(panel, cutter, phantom, contender, stiffest)
    _draw_error_bar(figure.add_subplot(grid[2, 1]), limit)
    draw_weight_bar(figure.add_subplot(grid[2, 2]), stiffest)
    _draw_profile(figure.add_subplot(grid[0:2, 3]), phantom, contenders, profile)
    figure.suptitle("A lung that slides along the chest wall: does the registration let it?", fontsize=12)
    return figure


def _draw_images(figure: Figure, grid: object, cutter: Cutter, phantom: Phantom, profile: Profile) -> None:
    size = cutter.size_mm(_CORONAL)
    for row, (name, image) in enumerate(
        (("Fixed: breathed out", phantom.fixed), ("Moving: breathed in", phantom.moving))
    ):
        panel = figure.add_subplot(grid[row, 0])
        show_plane(panel, cutter.cut(image.array, _CORONAL), size, cmap="gray", vmin=0, vmax=1)
        draw_marks(panel, _CORONAL)
        panel.set_title(f"{name}\n", fontsize=9)
        if row == 0:
            _draw_wall(panel, cutter, phantom)
            across, up = _place(cutter, phantom.fixed, profile)
            panel.plot(across, up, color=_PROFILE_COLOR, linewidth=1.4)
    legend = figure.add_subplot(grid[2, 0])
    legend.axis("off")
    handles = [
        Line2D([], [], color=_WALL_COLOR, label="sliding wall"),
        Line2D([], [], color=_PROFILE_COLOR, label="line of the profile"),
    ]
    legend.legend(handles=handles, loc="upper center", ncols=2, fontsize=8, frameon=False)


def _finish(panel: Axes, cutter: Cutter, phantom: Phantom) -> None:
    _draw_wall(panel, cutter, phantom)
    draw_marks(panel, _CORONAL)


def _draw_wall(panel: Axes, cutter: Cutter, phantom: Phantom) -> None:
    assert phantom.boundary is not None
    distance = cutter.cut(phantom.boundary.array, _CORONAL)
    size = cutter.size_mm(_CORONAL)
    across = (np.arange(distance.shape[1]) + 0.5) * size[0] / distance.shape[1]
    up = (np.arange(distance.shape[0]) + 0.5) * size[1] / distance.shape[0]
    panel.contour(across, up, distance, levels=[0.0], colors=_WALL_COLOR, linewidths=0.8)


def _place(cutter: Cutter, image: Volume, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Find the line of a profile in the coronal cut by cutting a mark of it."""
    mark = np.zeros(image.shape, dtype=bool)
    mark[profile.voxels, profile.index[1], profile.index[2]] = True
    rows, columns = np.nonzero(cutter.cut(mark, _CORONAL))
    spacing = cutter.spacing
    return (columns + 0.5) * spacing[_CORONAL.across], (rows + 0.5) * spacing[_CORONAL.up]


def _draw_stiffness(panel: Axes, cutter: Cutter, phantom: Phantom, contender: Contender, stiffest: float) -> None:
    size = cutter.size_mm(_CORONAL)
    show_plane(panel, cutter.cut(phantom.fixed.array, _CORONAL), size, cmap="gray", vmin=0, vmax=1)
    stiffness = contender.strength * cutter.cut(contender.weight.array, _CORONAL)
    show_plane(panel, weight_overlay(stiffness, stiffest), size)
    draw_marks(panel, _CORONAL)
    mean = contender.strength * float(contender.weight.array.mean())
    panel.set_title(f"{contender.name}\nstiffness, on average {mean:.2f}", fontsize=9)


def _draw_error_bar(bar: Axes, limit: float) -> None:
    mappable = ScalarMappable(Normalize(0, limit), _ERROR_COLORS)
    scale = bar.figure.colorbar(mappable, cax=bar, orientation="horizontal", ticks=[0, limit / 2, limit])
    scale.ax.set_xticklabels(["0", f"{limit / 2:.1f}", f"{limit:.1f} mm"])
    scale.ax.tick_params(labelsize=8, length=2)
    first, *_, last = scale.ax.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


def _draw_profile(axes: Axes, phantom: Phantom, contenders: Sequence[Contender], profile: Profile) -> None:
    order = np.argsort(profile.distance_mm)
    distance = profile.distance_mm[order]
    axes.plot(distance, profile.along(phantom.displacement)[order], color="black", linewidth=2.2, label="truth")
    for contender, color, style in zip(contenders, _LINE_COLORS, ("--", "-"), strict=False):
        found = profile.along(contender.displacement)[order]
        axes.plot(distance, found, color=color, linestyle=style, linewidth=1.8, label=contender.name)
    axes.axvline(0.0, color=_WALL_COLOR, linewidth=1.2)
    axes.text(-1.0, 1.0, "inside the lung ", ha="right", va="bottom", fontsize=8, transform=axes.get_xaxis_transform())
    axes.text(1.0, 1.0, " chest wall", ha="left", va="bottom", fontsize=8, transform=axes.get_xaxis_transform())
    axes.set_xlabel("distance to the sliding wall [mm]", fontsize=9)
    axes.set_ylabel("displacement toward the head [mm]", fontsize=9)
    axes.set_title("Displacement across the wall\n", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.legend(fontsize=9, loc="best", frameon=False)
