"""Pictures of sliding phantoms: what was there, what was found, how stiff it was, and the motion across the wall."""

from __future__ import annotations

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from SPRCore.analysis.figures import DPI, draw_weight_bar, show_plane, weight_overlay

_CUTS = {"thorax": 1, "cylinder": 2, "plates": 2}  # axis cut through, so that the wall is seen from its side
_WALL, _LINE, _COLORS = "#35d0ff", "#111111", {0: ("#1b7f5c", "-"), 1: ("#d1495b", "--")}
_REACH_VOXELS = 16


def draw(contenders):
    """Draw a row for each phantom.

    Args:
        contenders: By name of the phantom the phantom and two registrations by name of their setting, displacement and
            weight each: a setting and the uniform strength beside it.
    """
    figure = Figure(figsize=(16.5, 2.75 * len(contenders) + 0.7), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(
        len(contenders) + 1, 6, width_ratios=[1, 1, 1, 1, 1, 1.35], height_ratios=[*[1] * len(contenders), 0.05]
    )
    limit = 1.05 * max(_largest(phantom) for phantom, _ in contenders.values())
    for row, (name, (phantom, found)) in enumerate(contenders.items()):
        _draw_row(figure, grid, row, name, phantom, found, limit)
    bar = figure.add_subplot(grid[-1, 1:4])
    figure.colorbar(ScalarMappable(Normalize(-limit, limit), "RdBu_r"), cax=bar, orientation="horizontal")
    bar.set_xlabel("displacement in the direction of the jump, voxels", fontsize=8)
    bar.tick_params(labelsize=8)
    draw_weight_bar(figure.add_subplot(grid[-1, 4]), 1.0)
    return figure


def _draw_row(figure, grid, row, name, phantom, found, limit):
    point, axis, direction = steepest(phantom, _CUTS[name])
    cut = _Cut(phantom, _CUTS[name], point)

    def along(field):
        return field.array @ direction / min(phantom.fixed.spacing)

    panels = [figure.add_subplot(grid[row, column]) for column in range(6)]
    cut.show(panels[0], phantom.fixed.array, cmap="gray", vmin=0, vmax=1)
    cut.line(panels[0], axis)
    panels[0].set_ylabel(name, fontsize=11)
    titles = ["fixed image", "true motion", *found, f"weight of {next(iter(found))}"]
    motions = [phantom.displacement, *(field for field, _ in found.values())]
    for panel, field in zip(panels[1:4], motions, strict=True):
        cut.show(panel, along(field), cmap="RdBu_r", vmin=-limit, vmax=limit)
    cut.show(panels[4], phantom.fixed.array, cmap="gray", vmin=0, vmax=1, wall=False)
    panels[4].imshow(
        weight_overlay(cut.of(next(iter(found.values()))[1].array), 1.0), origin="lower", extent=cut.extent
    )
    for panel, title in zip(panels, titles, strict=False):
        panel.set_title(title, fontsize=9)
    _draw_profile(panels[5], phantom, found, point, axis, along)


class _Cut:
    """A plane through a point, two axes of the grid across and up."""

    def __init__(self, phantom, normal, point):
        self.normal, self.point = normal, point
        self.across, self.up = (axis for axis in range(3) if axis != normal)
        self.size = [phantom.fixed.shape[axis] * phantom.fixed.spacing[axis] for axis in (self.across, self.up)]
        self.extent, self.spacing = (0, self.size[0], 0, self.size[1]), phantom.fixed.spacing
        self.wall = self.of(phantom.boundary.array)

    def of(self, array):
        return np.take(array, self.point[self.normal], axis=self.normal).T

    def show(self, panel, array, wall=True, **options):
        show_plane(panel, self.of(array), self.size, **options)
        if wall:
            steps = [(np.arange(n) + 0.5) * s / n for n, s in zip(self.wall.shape[::-1], self.size, strict=True)]
            panel.contour(*steps, self.wall, levels=[0.0], colors=_WALL, linewidths=0.8)

    def line(self, panel, axis):
        ends = [np.array(self.point, dtype=float) for _ in range(2)]
        for end, sign in zip(ends, (-1, 1), strict=True):
            end[axis] += sign * _REACH_VOXELS
        mm = np.array([(end + 0.5) * self.spacing for end in ends])
        panel.plot(mm[:, self.across], mm[:, self.up], color="#ffe14d", linewidth=1.4)
        panel.set_xlim(0, self.size[0])
        panel.set_ylim(0, self.size[1])


def steepest(phantom, normal):
    """Where, along which axis of a cut and in which direction the truth jumps most, straight across the wall.

    Args:
        phantom: A phantom with a wall.
        normal: Axis that the cut is across.

    Returns:
        Voxel index of one side of the wall, axis of the line across it, and unit vector of the jump.
    """
    u, wall = phantom.displacement.array, phantom.boundary.array
    best = (-1.0,)
    for axis in (axis for axis in range(3) if axis != normal):
        crosses = np.diff(wall < 0, axis=axis)
        jump = np.where(crosses, np.linalg.norm(np.diff(u, axis=axis), axis=-1), 0.0)
        # Between two voxels straight across the wall the signed distance changes by their own distance.
        jump *= np.abs(np.diff(wall, axis=axis)) / phantom.fixed.spacing[axis]
        inner = np.zeros_like(crosses)
        reach = [(_REACH_VOXELS if other == axis else jump.shape[other] // 4) for other in range(3)]
        inner[tuple(slice(n, -n) for n in reach)] = True
        index = np.unravel_index(np.argmax(np.where(inner, jump, -1.0)), jump.shape)
        if jump[index] > best[0]:
            best = (float(jump[index]), tuple(int(i) for i in index), axis)
    _, point, axis = best
    beyond = tuple(value + (other == axis) for other, value in enumerate(point))
    change = u[beyond] - u[point]
    return point, axis, change / np.linalg.norm(change)


def _largest(phantom):
    return float(np.percentile(np.linalg.norm(phantom.displacement.array, axis=-1), 99.9)) / min(phantom.fixed.spacing)


def _draw_profile(axes, phantom, found, point, axis, along):
    indices = np.arange(
        max(point[axis] - _REACH_VOXELS, 0), min(point[axis] + _REACH_VOXELS + 2, phantom.fixed.shape[axis])
    )
    index = tuple(indices if other == axis else point[other] for other in range(3))
    distance = indices - point[axis] - 0.5
    truth = along(phantom.displacement)[index]
    left = distance < 0
    for part in (left, ~left):
        axes.plot(distance[part], truth[part], color=_LINE, linewidth=2.2, label="truth" if part is left else None)
    for number, (name, (field, _)) in enumerate(found.items()):
        color, style = _COLORS[number]
        axes.plot(distance, along(field)[index], color=color, linestyle=style, linewidth=1.8, label=name)
    axes.axvline(0.0, color=_WALL, linewidth=1.2)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.set_title("motion on the yellow line, voxels from the wall", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
