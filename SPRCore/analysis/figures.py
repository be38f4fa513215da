"""The figure of one registration: images, deformation grid, weight map and differences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from SPRCore.analysis.planes import PLANES, Plane, SliceExtractor, bounding_box, center_mm, foreground
from SPRCore.geometry import Field, Volume, percentiles, robust_extremes, within_extremes

DPI = 150
_WEIGHT_COLORS = "plasma_r"  # perceptually uniform; 0 is yellow, which no anatomy in grey is
FIXED_COLOR, MOVING_COLOR = "#35d0ff", "#ff9a2e"
_DIFFERENCE_COLORS = "RdBu_r"
_NO_DATA_COLOR = "#8c8c8c"  # a gray that the colors of differences do not have
_COLUMN_INCHES = 2.35
_LINES_ACROSS = 22  # of the deformation grid, over the longest side
_BAR_GREY = 0.45  # the grey on which the colors of the weight are shown in their bar


@dataclass(frozen=True, kw_only=True)
class RegistrationPicture:
    """Content of the figure of a registration, on the fixed grid.

    Args:
        fixed: Fixed image.
        moving: Moving image on the fixed grid, before the registration.
        warped: Moving image after the registration.
        displacement: Total displacement.
        weight: Weight map: 0 free, 1 as stiff as the prior allows.
        fixed_valid: Mask of the voxels of the fixed image with data; None for all.
        common: Masks of the voxels at which both images have data, before and after; None for all. Differences are
            shown there only.
        moving_window: Intensities of the moving image that are black and white, see `gray_window`; None for those of
            `moving`.
        fixed_labels: Labels of the fixed image, or None.
        moving_labels: Labels of the moving image on the fixed grid, before, or None.
        warped_labels: Labels of the moving image, after, or None.
        before: Metrics before, as in the report.
        after: Metrics after.
        title: Line above the figure.
    """

    fixed: Volume
    moving: Volume
    warped: Volume
    displacement: Field
    weight: Volume
    fixed_valid: np.ndarray | None = None
    common: tuple[np.ndarray, np.ndarray] | None = None
    moving_window: dict[str, float] | None = None
    fixed_labels: Volume | None = None
    moving_labels: Volume | None = None
    warped_labels: Volume | None = None
    before: dict[str, Any]
    after: dict[str, Any]
    title: str = ""


def registration_figure(picture: RegistrationPicture) -> Figure:
    """Draw moving, fixed and warped image, deformation grid, weight map and the difference before and after.

    Returns:
        Three orthogonal planes, one below the other, through the center of the labels or of the anatomy, in
        radiological convention and true proportions.
    """
    extractor = _extractor(picture)
    sizes = np.array([extractor.size_mm(plane) for plane in PLANES])
    inches_per_mm = _COLUMN_INCHES / sizes[:, 0].max()
    heights = np.maximum(sizes[:, 1] * inches_per_mm, 0.5)
    figure = Figure(figsize=(7 * (_COLUMN_INCHES + 0.1), heights.sum() + 1.55), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    grid = figure.add_gridspec(4, 7, height_ratios=[*heights, 0.14])
    scales = _Scales.of(picture)
    for row, plane in enumerate(PLANES):
        panels = [figure.add_subplot(grid[row, column]) for column in range(7)]
        _draw_row(panels, extractor, plane, picture, scales)
        panels[0].set_ylabel(plane.name, fontsize=9)
        if row == 0:
            for panel, title in zip(panels, _titles(picture), strict=True):
                panel.set_title(title, fontsize=9)
    _label_legend(figure, grid[3, 0:3], picture)
    draw_weight_bar(figure.add_subplot(grid[3, 4]), scales.weight)
    _draw_difference_bar(figure, grid[3, 5:7], scales.differences)
    if picture.title:
        figure.suptitle(picture.title, fontsize=10)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format of the suffix, at 150 dots per inch."""
    packed = {"pil_kwargs": {"compress_level": 1}} if Path(path).suffix.lower() == ".png" else {}  # a third of the time
    figure.savefig(path, dpi=DPI, facecolor="white", **packed)


def show_plane(panel: Axes, picture: np.ndarray, size_mm: tuple[float, float], **options: Any) -> Any:
    """Show a slice with true proportions and no axes; `options` are passed to `imshow`."""
    panel.set_xticks([])
    panel.set_yticks([])
    for edge in panel.spines.values():
        edge.set_visible(False)
    return panel.imshow(picture, origin="lower", extent=(0, size_mm[0], 0, size_mm[1]), aspect="equal", **options)


def draw_marks(panel: Axes, plane: Plane) -> None:
    """Write the side of the patient at each edge of a slice."""
    left, right, top, bottom = plane.marks
    style: dict[str, Any] = {
        "transform": panel.transAxes,
        "color": "white",
        "fontsize": 7,
        "fontweight": "bold",
        "path_effects": [withStroke(linewidth=1.5, foreground="black")],
    }
    panel.text(0.02, 0.5, left, ha="left", va="center", **style)
    panel.text(0.98, 0.5, right, ha="right", va="center", **style)
    panel.text(0.5, 0.98, top, ha="center", va="top", **style)
    panel.text(0.5, 0.02, bottom, ha="center", va="bottom", **style)


def weight_limit(weight: np.ndarray) -> float:
    """Return the maximum of the color scale of a weight: 1, or more for priors that allow it."""
    return max(1.0, float(np.ceil(percentiles(weight, [99.9])[0] * 10) / 10))


def weight_overlay(weight: np.ndarray, limit: float) -> np.ndarray:
    """Color a weight map as RGBA (..., 4), opacity 0.85 at 0 (free) to 0.15 at the maximum `limit` > 0 (stiff)."""
    stiffness = np.clip(weight / limit, 0, 1)
    colors = _colormap(_WEIGHT_COLORS)(stiffness)
    colors[..., 3] = 0.7 - 0.55 * stiffness
    return colors


def draw_weight_bar(bar: Axes, limit: float) -> None:
    """Draw the color scale of the weight into its own axes."""
    colors = weight_overlay(np.linspace(0, limit, 256), limit)
    opacity = colors[:, 3:]
    shown = np.hstack([colors[:, :3] * opacity + _BAR_GREY * (1 - opacity), np.ones((256, 1))])
    mappable = ScalarMappable(Normalize(0, limit), ListedColormap(shown))
    scale = bar.figure.colorbar(mappable, cax=bar, orientation="horizontal", ticks=[0, limit / 2, limit])
    scale.ax.set_xticklabels(["0\nfree", f"{limit / 2:.3g}", f"{limit:.3g}\nstiff"])
    _finish_bar(scale.ax)


def _finish_bar(bar: Axes) -> None:
    """Keep the outer numbers of a color bar within its width."""
    bar.tick_params(labelsize=8, length=2)
    first, *_, last = bar.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


def _colormap(name: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name]


def _extractor(picture: RegistrationPicture) -> SliceExtractor:
    anatomy = foreground(picture.fixed, picture.fixed_valid)
    labels = picture.fixed_labels
    target = anatomy if labels is None or not labels.array.any() else labels.array != 0
    return SliceExtractor(picture.fixed.grid, center_mm(target, picture.fixed.affine), bounding_box(anatomy))


def _differences(picture: RegistrationPicture) -> tuple[np.ndarray, np.ndarray, float]:
    """Difference to the fixed image before and after, on the intensity scale of the fixed image, and its limit.

    Both use one gain and offset, fitted after the registration, so that they are comparable. NaN without data.
    """
    everywhere = np.ones(picture.fixed.shape, dtype=bool)
    shown, chosen = picture.common or (everywhere, everywhere)
    chosen = chosen if chosen.any() else everywhere
    fixed, warped = (within_extremes(image.array, image.array[chosen]) for image in (picture.fixed, picture.warped))
    moving = within_extremes(picture.moving.array, picture.warped.array[chosen])
    mean = warped[chosen].mean()
    spread = float(((warped[chosen] - mean) ** 2).mean())
    gain = float(((warped[chosen] - mean) * fixed[chosen]).mean()) / spread if spread > 0 else 1.0
    offset = float(fixed[chosen].mean()) - gain * float(mean)
    before = np.where(shown, gain * moving + offset - fixed, np.nan)
    after = np.where(chosen, gain * warped + offset - fixed, np.nan)
    known = before[shown] if shown.any() else after[chosen]
    limit = percentiles(np.abs(known), [99.5])[0] or 1.0
    return before, after, limit


@dataclass(frozen=True)
class _Scales:
    """Common scales of all planes: gray windows, maximum of the weight, differences."""

    fixed: dict[str, float]
    moving: dict[str, float]
    weight: float
    differences: tuple[np.ndarray, np.ndarray, float]

    @classmethod
    def of(cls, picture: RegistrationPicture) -> _Scales:
        return cls(
            fixed=gray_window(picture.fixed, picture.fixed_valid),
            moving=picture.moving_window or gray_window(picture.moving),
            weight=weight_limit(picture.weight.array),
            differences=_differences(picture),
        )


def _draw_row(
    panels: list[Axes],
    extractor: SliceExtractor,
    plane: Plane,
    picture: RegistrationPicture,
    scales: _Scales,
) -> None:
    size = extractor.size_mm(plane)
    fixed_window, moving_window = scales.fixed, scales.moving
    fixed_cut = extractor.extract(picture.fixed.array, plane)
    show_plane(panels[0], extractor.extract(picture.moving.array, plane), size, cmap="gray", **moving_window)
    show_plane(panels[1], fixed_cut, size, cmap="gray", **fixed_window)
    show_plane(panels[2], extractor.extract(picture.warped.array, plane), size, cmap="gray", **moving_window)
    for panel in panels[3:5]:
        show_plane(panel, fixed_cut, size, cmap="gray", **fixed_window)
    draw_grid(panels[3], extractor, plane, picture.displacement)
    weight = picture.weight.array
    show_plane(panels[4], weight_overlay(extractor.extract(weight, plane), scales.weight), size)
    *differences, limit = scales.differences
    for panel, difference in zip(panels[5:7], differences, strict=True):
        panel.set_facecolor(_NO_DATA_COLOR)  # visible where the difference is NaN
        show_plane(panel, extractor.extract(difference, plane), size, cmap=_DIFFERENCE_COLORS, vmin=-limit, vmax=limit)
    for panel, labels, color in (
        (panels[0], picture.moving_labels, MOVING_COLOR),
        (panels[0], picture.fixed_labels, FIXED_COLOR),
        (panels[1], picture.fixed_labels, FIXED_COLOR),
        (panels[2], picture.warped_labels, MOVING_COLOR),
        (panels[2], picture.fixed_labels, FIXED_COLOR),
    ):
        if labels is not None:
            draw_outlines(panel, extractor.extract(labels.array, plane), size, color)
    for panel in panels:
        draw_marks(panel, plane)


def gray_window(image: Volume, valid: np.ndarray | None = None) -> dict[str, float]:
    """Return the intensities of black and white (`vmin`, `vmax`) over voxels with data, without effect of outliers."""
    low, high = percentiles(image.array[foreground(image, valid)], (0.5, 99.5))
    lowest, _ = robust_extremes(image.array if valid is None else image.array[valid])
    return {"vmin": min(low, lowest), "vmax": high}


def _centers(picture: np.ndarray, size_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of voxel centers across and up, in mm from the lower left corner."""
    rows, columns = picture.shape[:2]
    return (np.arange(columns) + 0.5) * size_mm[0] / columns, (np.arange(rows) + 0.5) * size_mm[1] / rows


def draw_outlines(panel: Axes, labels: np.ndarray, size_mm: tuple[float, float], color: str) -> None:
    """Draw the outline of every label of a slice in one color."""
    if min(labels.shape) < 2:
        return
    across, up = _centers(labels, size_mm)
    for label in np.unique(labels[labels != 0]):
        panel.contour(across, up, labels == label, levels=[0.5], colors=color, linewidths=0.8)


def draw_grid(
    panel: Axes,
    extractor: SliceExtractor,
    plane: Plane,
    displacement: Field,
    lines: int = _LINES_ACROSS,
    color: str = "#ffe14d",
) -> None:
    """Draw a regular grid of the moving image, deformed to the fixed image."""
    size = extractor.size_mm(plane)
    step = grid_step_mm(max(size), lines)
    for coordinate in extractor.coordinates(displacement.array, plane):
        if min(coordinate.shape) < 2:
            continue
        levels = np.arange(np.floor(coordinate.min() / step), np.ceil(coordinate.max() / step) + 1) * step
        across, up = _centers(coordinate, size)
        panel.contour(across, up, coordinate, levels=levels, colors=color, linewidths=0.45, alpha=0.8)


def grid_step_mm(extent_mm: float, lines: int = _LINES_ACROSS) -> float:
    """Return a round distance (1, 2 or 5 times a power of ten) for about `lines` grid lines over an extent in mm."""
    rough = extent_mm / lines
    power = 10.0 ** np.floor(np.log10(rough))
    return float(power * min((1, 2, 5, 10), key=lambda factor: abs(np.log(factor * power / rough))))


def _titles(picture: RegistrationPicture) -> list[str]:
    before, after = picture.before, picture.after
    largest = after.get("displacement_mm", {}).get("max")
    folding = after.get("folding_percent")
    grid = [f"folding {folding:.2g} %" if folding is not None else "", f"max {largest:.1f} mm" if largest else ""]
    weight = picture.weight.array
    weights = f"median {np.median(weight):.2g}, least {weight.min():.2g}"
    if after.get("weight", {}).get("verdict", "informative") != "informative":
        weights += "; says little"
    return [
        "Moving (before)\n" + _quality(before),
        "Fixed\n",
        "Warped (after)\n" + _quality(after),
        "Deformation grid\n" + ", ".join(part for part in grid if part),
        "Weight of the regularization\n" + weights,
        "Before: moving minus fixed\n",
        "After: warped minus fixed\n",
    ]


def _quality(metrics: dict[str, Any]) -> str:
    parts = [f"LNCC {metrics['lncc']:.3f}"] if "lncc" in metrics else []
    parts += [f"Dice {metrics['dice_mean']:.3f}"] if "dice_mean" in metrics else []
    parts += [f"TRE {metrics['tre_mm']['mean']:.2f} mm"] if "tre_mm" in metrics else []
    return ", ".join(parts)


def _label_legend(figure: Figure, cell: Any, picture: RegistrationPicture) -> None:
    if picture.fixed_labels is None and picture.moving_labels is None:
        return
    axes = figure.add_subplot(cell)
    axes.axis("off")
    handles = [Line2D([], [], color=FIXED_COLOR, label="labels of the fixed image")]
    if picture.moving_labels is not None:
        handles.append(Line2D([], [], color=MOVING_COLOR, label="labels of the moving image"))
    axes.legend(handles=handles, loc="upper center", ncols=2, fontsize=8, frameon=False)


def _draw_difference_bar(figure: Figure, cell: Any, differences: tuple[np.ndarray, np.ndarray, float]) -> None:
    *pictures, limit = differences
    gray = "; gray: no data" if any(np.isnan(picture).any() for picture in pictures) else ""
    mappable = ScalarMappable(Normalize(-limit, limit), _DIFFERENCE_COLORS)
    bar = figure.add_subplot(cell)
    scale = figure.colorbar(mappable, cax=bar, orientation="horizontal", ticks=[-limit, 0, limit])
    scale.ax.set_xticklabels([f"{-limit:.3g}", f"0\nin units of the fixed image{gray}", f"{limit:.3g}"])
    _finish_bar(scale.ax)
