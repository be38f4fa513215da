"""Figures of sweeps: curves over one hyperparameter, surfaces over two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from SPRCore.analysis.figures import DPI
from SPRCore.analysis.plots import PALETTE, quiet
from SPRCore.analysis.rows import SurfacePoint
from SPRCore.errors import InputError
from SPRCore.regularization.hyperparameters import BY_KEY

SYMBOLS = {key: item.symbol for key, item in BY_KEY.items()}
"""Hyperparameters as the paper writes them."""

BAND = 0.005
"""Difference in Dice to the best setting at which another one counts as equally good."""

_COLORS = "viridis"
_MAPS = ("dice_mean", "tre_mm", "lncc", "folding_percent", "weight_mean")
_VALUES: dict[str, tuple[str, int, Callable[[SurfacePoint], float | None]]] = {
    "dice_mean": ("mean Dice", 1, lambda point: point.dice_mean),
    "tre_mm": ("mean landmark error, mm", -1, lambda point: point.tre_mm),
    "lncc": ("LNCC", 1, lambda point: point.lncc),
    "folding_percent": ("folded voxels, %", -1, lambda point: point.folding_percent),
    "ndv_percent": ("non-diffeomorphic volume, %", -1, lambda point: point.ndv_percent),
    "weight_mean": ("mean weight", 0, lambda point: point.weight_mean),
    "map_gap": ("distance from the most probable weight", 0, lambda point: point.map_gap),
}


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A measure over hyperparameters, the mean over pairs.

    Attributes:
        names: The one or two hyperparameters that vary.
        axes: Their values, rising.
        values: Means, an axis for each hyperparameter; NaN for settings not measured on every pair.
        pairs: Number of pairs.
        title: Title of the measure.
        better: 1 if higher is better, -1 if lower is, 0 if neither.
    """

    names: tuple[str, ...]
    axes: tuple[np.ndarray, ...]
    values: np.ndarray
    pairs: int
    title: str
    better: int

    @property
    def best(self) -> tuple[int, ...]:
        """Index of the best value, the first of equal ones."""
        signed = np.where(np.isnan(self.values), -np.inf, self.values * (self.better or 1))
        return tuple(int(i) for i in np.unravel_index(int(signed.argmax()), signed.shape))

    @property
    def is_flat(self) -> bool:
        """Whether it is constant."""
        return bool(np.nanmin(self.values) == np.nanmax(self.values))


def surface_of(points: Sequence[SurfacePoint], measure: str = "dice_mean") -> Surface | None:
    """Collect points of one model into a surface; of duplicate points the last counts.

    Args:
        points: Points of one model.
        measure: "dice_mean", "tre_mm", "lncc", "folding_percent", "ndv_percent", "weight_mean" or "map_gap".

    Returns:
        The surface, or None without this measure.

    Raises:
        InputError: More than two hyperparameters vary, or there are several models.
    """
    title, better, read = _VALUES[measure]
    if len({(point.method, point.model) for point in points}) > 1:
        raise InputError("points", got="those of several models", expected="one model")
    found = {
        (point.pair, tuple(sorted(point.setting.items()))): value
        for point in points
        if point.failed is None and (value := read(point)) is not None
    }
    if not found:
        return None
    known = sorted({name for _, setting in found for name, _ in setting}, key=list(SYMBOLS).index)
    columns = {name: np.array(sorted({dict(setting)[name] for _, setting in found})) for name in known}
    names = tuple(name for name in known if len(columns[name]) > 1) or (known[0],)
    if len(names) > 2:
        raise InputError("points", got=f"{len(names)} hyperparameters that vary", expected="one or two")
    axes = tuple(columns[name] for name in names)
    pairs = len({pair for pair, _ in found})
    sums, counts = (np.zeros([len(axis) for axis in axes]) for _ in range(2))
    for (_, setting), value in found.items():
        index = tuple(int(np.searchsorted(axis, dict(setting)[name])) for axis, name in zip(axes, names, strict=True))
        sums[index] += value
        counts[index] += 1
    values = np.where(counts == pairs, sums / np.maximum(counts, 1), np.nan)
    return Surface(names=names, axes=axes, values=values, pairs=pairs, title=title, better=better)


def sweep_figure(points: Sequence[SurfacePoint], names: Mapping[str, str] | None = None) -> Figure | None:
    """Draw the sweep of one model: curves over one hyperparameter (Figure D.20), surfaces over two (9 and 10).

    Args:
        points: Points of one model.
        names: Names of labels, for the curves.

    Returns:
        The figure with the best setting marked; None without points.

    Raises:
        InputError: Points of several models, or of more than two hyperparameters.
    """
    surfaces = {key: surface for key in _VALUES if (surface := surface_of(points, key)) is not None}
    if not surfaces:
        return None
    first = next(iter(surfaces.values()))
    figure = (
        _maps([surfaces[key] for key in _MAPS if key in surfaces], points[0].trained)
        if len(first.names) == 2
        else _curves(points, surfaces, names or {})
    )
    best = ", ".join(f"{SYMBOLS[n]} {a[i]:.3g}" for n, a, i in zip(first.names, first.axes, first.best, strict=True))
    pairs = f"{first.pairs} pair{'s' if first.pairs > 1 else ''}"
    words = f"{points[0].method}, {pairs}: best {first.title} {first.values[first.best]:.3f} at {best}"
    beyond = ["dashed: maximum of the training"] if is_beyond(first, points[0].trained) else []
    figure.suptitle("\n".join([words, *beyond, *_constants(surfaces.values())]), fontsize=10)
    return figure


def is_beyond(surface: Surface, trained: Mapping[str, float]) -> bool:
    """Whether a surface has settings beyond the training of the model."""
    return any(
        name in trained and axis[-1] > trained[name] for name, axis in zip(surface.names, surface.axes, strict=True)
    )


def _mark_training(panel: Axes, surface: Surface, trained: Mapping[str, float]) -> None:
    """Draw a line at the largest trained value of each hyperparameter that goes beyond it."""
    lines = (panel.axvline, panel.axhline)
    for name, axis, line in zip(surface.names, surface.axes, lines, strict=False):
        if name in trained and axis[-1] > trained[name]:
            line(trained[name], color="white", linewidth=2.2, alpha=0.8)  # seen on dark and on light colors
            line(trained[name], color="black", linewidth=1.1, linestyle="--")


def _constants(surfaces: Iterable[Surface]) -> list[str]:
    """Line about the constant measures, which are not drawn."""
    flat = [f"{surface.title}: {np.nanmax(surface.values):.3g} everywhere" for surface in surfaces if surface.is_flat]
    return ["; ".join(flat)] if flat else []


def _maps(surfaces: Sequence[Surface], trained: Mapping[str, float]) -> Figure:
    shown = [surface for surface in surfaces if not surface.is_flat] or list(surfaces[:1])
    rows = 1 if len(shown) < 4 else 2
    columns = -(-len(shown) // rows)
    figure = Figure(figsize=(4.0 * columns, 3.4 * rows + 0.4), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(shown) :]:
        panel.axis("off")
    for panel, surface in zip(panels, shown, strict=False):
        across, up = surface.axes
        # The color scale excludes the worst twentieth, which would otherwise dominate it.
        known = surface.values[np.isfinite(surface.values)]
        low, high = np.percentile(known, (5 if surface.better > 0 else 0, 95 if surface.better < 0 else 100))
        low, high = (low, high) if high > low else (known.min(), known.max())
        colors = _COLORS if surface.better >= 0 else f"{_COLORS}_r"
        image = panel.pcolormesh(across, up, surface.values.T, cmap=colors, vmin=low, vmax=high, shading="nearest")
        bar = figure.colorbar(image, ax=panel, ticks=MaxNLocator(5))
        bar.ax.tick_params(labelsize=8)
        outlined = _band(panel, surface)
        best = surfaces[0].best
        _mark_training(panel, surface, trained)
        panel.plot(across[best[0]], up[best[1]], "*", markersize=13, color="#ff3030", markeredgecolor="white")
        panel.set_xlabel(SYMBOLS[surface.names[0]])
        panel.set_ylabel(SYMBOLS[surface.names[1]])
        panel.set_title(surface.title + outlined, fontsize=9)
        panel.tick_params(labelsize=8)
    return figure


def _band(panel: Axes, surface: Surface) -> str:
    """Outline the settings within `BAND` of the best; return its legend for the title."""
    if min(surface.values.shape) < 2 or surface.title != _VALUES["dice_mean"][0]:
        return ""
    limit = surface.values[surface.best] - surface.better * BAND
    if np.nanmin(surface.values) >= limit:
        return f"; all within {BAND:g} of the best"
    if limit < np.nanmax(surface.values):
        panel.contour(*surface.axes, surface.values.T, levels=[limit], colors="white", linewidths=1.2)
        return f"; outlined: within {BAND:g} of the best"
    return ""


def _curves(points: Sequence[SurfacePoint], surfaces: Mapping[str, Surface], names: Mapping[str, str]) -> Figure:
    shown = [key for key in ("dice_mean", "tre_mm", "lncc", "folding_percent") if key in surfaces]
    shown = [key for key in shown if key == shown[0] or not surfaces[key].is_flat]
    figure = Figure(figsize=(4.2 * len(shown), 3.5), dpi=DPI, layout="constrained")
    for panel, key in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        surface = surfaces[key]
        (axis,) = surface.axes
        quiet(panel)
        if key == "dice_mean":
            _label_curves(panel, points, surface, names)
        panel.plot(axis, surface.values, color="black", linewidth=1.8, label="mean")
        best = surfaces[shown[0]].best[0]
        _mark_training(panel, surface, points[0].trained)
        panel.axvline(axis[best], color="#ff3030", linewidth=0.9, linestyle="--")
        panel.plot(axis[best], surface.values[best], "*", markersize=12, color="#ff3030", markeredgecolor="white")
        panel.set_xlabel(SYMBOLS[surface.names[0]])
        panel.set_ylabel(surface.title, fontsize=9)
        if key == "dice_mean":
            panel.legend(
                fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=5, columnspacing=1.0
            )
    return figure


def _label_curves(panel: Axes, points: Sequence[SurfacePoint], surface: Surface, names: Mapping[str, str]) -> None:
    labels = sorted({label for point in points for label in point.dice})
    if len(labels) > 8:
        return
    (axis,), (name,) = surface.axes, surface.names
    for number, label in enumerate(labels):
        by_value: dict[float, list[float]] = {float(value): [] for value in axis}
        for point in points:
            if point.failed is None and point.dice.get(label) is not None:
                by_value[point.setting[name]].append(point.dice[label])
        means = [np.mean(part) if part else np.nan for part in by_value.values()]
        panel.plot(axis, means, color=PALETTE[1 + number % 9], linewidth=1.2, label=names.get(label, f"label {label}"))
