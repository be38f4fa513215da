"""The figure of the uncertainty of one registration, in mm."""

from __future__ import annotations

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from SPRCore.analysis.figures import (
    DPI,
    draw_marks,
    gray_window,
    show_plane,
)
from SPRCore.analysis.planes import PLANES, Plane, SliceExtractor, bounding_box, center_mm, foreground
from SPRCore.geometry import Field, Volume

UNCERTAINTY_COLORS = "cividis"
_LENGTH_COLORS = "viridis"
_COLUMN_INCHES = 2.6
_OPACITY = 0.75
_LARGEST = 4.0  # end of the color scale, in medians


def uncertainty_figure(
    warped: Volume,
    displacement: Field,
    uncertainty: Volume,
    *,
    labels: Volume | None = None,
    valid: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw warped image, displacement and uncertainty in three planes; hatched is the most uncertain tenth.

    Args:
        warped: Moving image on the fixed grid.
        displacement: Total displacement on the fixed grid, RAS mm.
        uncertainty: One standard deviation of the displacement, mm.
        labels: Labels whose outlines are drawn on the warped image, colored by their uncertainty; None for none.
        valid: Voxels with data; None for all.
        title: Title of the figure.
    """
    anatomy = foreground(warped, valid)
    target = anatomy if labels is None or not labels.array.any() else labels.array != 0
    extractor = SliceExtractor(warped.grid, center_mm(target, warped.affine), bounding_box(anatomy))
    sizes = np.array([extractor.size_mm(plane) for plane in PLANES])
    heights = np.maximum(sizes[:, 1] * _COLUMN_INCHES / sizes[:, 0].max(), 0.5)
    figure = Figure(figsize=(3 * (_COLUMN_INCHES + 0.15), heights.sum() + 1.5), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(4, 3, height_ratios=[*heights, 0.12])
    length = np.linalg.norm(displacement.array, axis=-1)
    deviation = uncertainty.array
    # Surroundings without structure are so uncertain that they would take the whole scale.
    highest = min(float(np.percentile(deviation[anatomy], 99)), _LARGEST * float(np.median(deviation[anatomy])))
    scales = [Normalize(0, float(np.percentile(length[anatomy], 99)) or 1.0), Normalize(0, highest or 1.0)]
    limit = float(np.percentile(deviation[anatomy], 90))
    for row, plane in enumerate(PLANES):
        panels = [figure.add_subplot(grid[row, column]) for column in range(3)]
        size = extractor.size_mm(plane)
        cut = {name: extractor.extract(part, plane) for name, part in (("u", length), ("sd", deviation))}
        for panel in panels:
            show_plane(panel, extractor.extract(warped.array, plane), size, cmap="gray", **gray_window(warped, valid))
        for panel, name, colors, scale in zip(
            panels[1:], cut, (_LENGTH_COLORS, UNCERTAINTY_COLORS), scales, strict=True
        ):
            show_plane(panel, cut[name], size, cmap=colors, norm=scale, alpha=_OPACITY)
        _hatch(panels[2], cut["sd"], size, limit)
        if labels is not None:
            _outlines(panels[0], extractor, plane, labels, cut["sd"], scales[1])
        for panel in panels:
            draw_marks(panel, plane)
        panels[0].set_ylabel(plane.name, fontsize=9)
        if row == 0:
            for panel, words in zip(panels, _titles(length[anatomy], deviation[anatomy], limit, labels), strict=True):
                panel.set_title(words, fontsize=9)
    for column, colors, scale in ((1, _LENGTH_COLORS, scales[0]), (2, UNCERTAINTY_COLORS, scales[1])):
        bar = figure.colorbar(
            ScalarMappable(scale, colors),
            cax=figure.add_subplot(grid[3, column]),
            orientation="horizontal",
            extend="max",
        )
        bar.ax.tick_params(labelsize=8, length=2)
        bar.set_label("mm", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _titles(length: np.ndarray, deviation: np.ndarray, limit: float, labels: Volume | None) -> list[str]:
    outlines = "" if labels is None else "outlines colored by uncertainty"
    median, p95 = np.percentile(deviation, (50, 95))
    return [
        f"Warped image\n{outlines}",
        f"Displacement\nmedian {np.median(length):.1f} mm, largest {length.max():.1f} mm",
        f"Uncertainty, 1 SD\nmedian {median:.1f} mm, 95th percentile {p95:.1f} mm\nhatched: above {limit:.1f} mm",
    ]


def _hatch(panel: Axes, deviation: np.ndarray, size_mm: tuple[float, float], limit: float) -> None:
    if min(deviation.shape) >= 2 and deviation.max() > limit:
        extent = (0, size_mm[0], 0, size_mm[1])
        levels = [limit, float(deviation.max()) * 1.001 + 1e-6]
        marks = panel.contourf(deviation, levels=levels, hatches=["////"], colors="none", extent=extent)
        marks.set_edgecolor("white")
        marks.set_linewidth(0.0)


def _outlines(
    panel: Axes, extractor: SliceExtractor, plane: Plane, labels: Volume, deviation: np.ndarray, scale: Normalize
) -> None:
    size, cut = extractor.size_mm(plane), extractor.extract(labels.array, plane)
    rows, columns = deviation.shape
    if min(cut.shape) < 2:
        return
    ticks = (np.arange(columns) + 0.5) * size[0] / columns, (np.arange(rows) + 0.5) * size[1] / rows
    lines_of = (contour_generator(*ticks, cut == label).lines(0.5) for label in np.unique(cut[cut != 0]))
    for points in (line for lines in lines_of for line in lines):
        middle = 0.5 * (points[:-1] + points[1:])
        across = np.clip((middle[:, 0] / size[0] * columns).astype(int), 0, columns - 1)
        up = np.clip((middle[:, 1] / size[1] * rows).astype(int), 0, rows - 1)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        lines = LineCollection(segments, cmap=UNCERTAINTY_COLORS, norm=scale, linewidths=1.6)
        lines.set_array(deviation[up, across])
        panel.add_collection(lines)
