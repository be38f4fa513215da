"""The figure of the uncertainty of one registration, in mm."""

from __future__ import annotations

from dataclasses import dataclass

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
_COLORS = ("viridis", UNCERTAINTY_COLORS)
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
    maps = _Maps.of(displacement, uncertainty, anatomy)
    window = gray_window(warped, valid)
    for row, plane in enumerate(PLANES):
        panels = [figure.add_subplot(grid[row, column]) for column in range(3)]
        for panel in panels:
            gray = extractor.extract(warped.array, plane)
            show_plane(panel, gray, extractor.size_mm(plane), cmap="gray", **window)
        _draw_maps(panels, extractor, plane, maps, labels)
        panels[0].set_ylabel(plane.name, fontsize=9)
        if row == 0:
            for panel, words in zip(panels, _titles(maps, anatomy, labels), strict=True):
                panel.set_title(words, fontsize=9)
    for column, (colors, scale) in enumerate(zip(_COLORS, maps.scales, strict=True), start=1):
        axes, mappable = figure.add_subplot(grid[3, column]), ScalarMappable(scale, colors)
        bar = figure.colorbar(mappable, cax=axes, orientation="horizontal", extend="max")
        bar.ax.tick_params(labelsize=8, length=2)
        bar.set_label("mm", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


@dataclass(frozen=True)
class _Maps:
    """Length of the displacement and uncertainty in mm, their color scales, and the hatched end of the second."""

    length: np.ndarray
    deviation: np.ndarray
    scales: tuple[Normalize, Normalize]
    hatched: float

    @classmethod
    def of(cls, displacement: Field, uncertainty: Volume, anatomy: np.ndarray) -> _Maps:
        length, deviation = np.linalg.norm(displacement.array, axis=-1), uncertainty.array
        inside = deviation[anatomy]
        # Surroundings without structure are so uncertain that they would take the whole scale.
        highest = min(float(np.percentile(inside, 99)), _LARGEST * float(np.median(inside)))
        ends = float(np.percentile(length[anatomy], 99)), highest
        scales = Normalize(0, ends[0] or 1.0), Normalize(0, ends[1] or 1.0)
        return cls(length, deviation, scales, float(np.percentile(inside, 90)))


def _draw_maps(panels: list[Axes], extractor: SliceExtractor, plane: Plane, maps: _Maps, labels: Volume | None) -> None:
    """Draw both maps over the second and third panel, and outlines over the first."""
    size = extractor.size_mm(plane)
    cuts = [extractor.extract(part, plane) for part in (maps.length, maps.deviation)]
    for panel, cut, colors, scale in zip(panels[1:], cuts, _COLORS, maps.scales, strict=True):
        show_plane(panel, cut, size, cmap=colors, norm=scale, alpha=_OPACITY)
    _hatch(panels[2], cuts[1], size, maps.hatched)
    if labels is not None:
        _outlines(panels[0], extractor, plane, labels, cuts[1], maps.scales[1])
    for panel in panels:
        draw_marks(panel, plane)


def _titles(maps: _Maps, anatomy: np.ndarray, labels: Volume | None) -> list[str]:
    length, deviation = maps.length[anatomy], maps.deviation[anatomy]
    outlines = "" if labels is None else "outlines colored by uncertainty"
    median, p95 = np.percentile(deviation, (50, 95))
    return [
        f"Warped image\n{outlines}",
        f"Displacement\nmedian {np.median(length):.1f} mm, largest {length.max():.1f} mm",
        f"Uncertainty, 1 SD\nmedian {median:.1f} mm, 95th percentile {p95:.1f} mm\n"
        f"hatched: above {maps.hatched:.1f} mm",
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
