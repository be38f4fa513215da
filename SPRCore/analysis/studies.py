"""Figures of a tuning study: trials over the hyperparameters, progress, and importances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.tri import LinearTriInterpolator, Triangulation

from SPRCore.analysis.figures import DPI
from SPRCore.analysis.plots import PALETTE, quiet
from SPRCore.analysis.surfaces import SYMBOLS
from SPRCore.errors import InputError

_COMPLETE, _PRUNED, _FAILED = "complete", "pruned", "failed"
_DECADES = 30.0  # of the highest over the lowest value: from here on an axis is logarithmic
_FINE = 160  # samples of the surface along an axis
_TITLES = {"dice": "Dice", "tre": "landmark error, mm", "label-free": "objective without labels"}


def study_figure(study: Mapping[str, Any]) -> Figure:
    """Draw a study as Figures 7 and 8 of the paper.

    Args:
        study: Plain values of a saved study: ``trials`` with ``number``, ``params``, ``value`` and ``state``
            ("complete", "pruned" or "failed"), optional ``infeasible``; optional ``direction``, ``objective``,
            ``importances`` and ``tolerance``.

    Returns:
        The trials over their hyperparameters, the best value over time, and the importances, if any.

    Raises:
        InputError: No trial was completed.
    """
    trials = [trial for trial in study["trials"] if trial["params"]]
    done = [trial for trial in trials if trial["state"] == _COMPLETE and trial["value"] is not None]
    if not done:
        raise InputError("study", got="no trial that was completed", expected="at least one")
    sign = -1 if study.get("direction") == "minimize" else 1
    feasible = [trial for trial in done if not trial.get("infeasible")]
    best = max(feasible, key=lambda trial: sign * trial["value"], default=None)
    importances = study.get("importances") or {}
    figure = Figure(figsize=(4.6 + 4.0 + (3.2 if importances else 0.0), 3.8), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 3 if importances else 2, width_ratios=[4.6, 4.0, 3.2][: 3 if importances else 2])
    title = _TITLES.get(study.get("objective", ""), "value")
    names = list(done[0]["params"])[:2]
    _scales(panels[0], names, study.get("ranges") or {})
    _tolerance(panels[0], names, study.get("tolerance") or {})
    _scatter(figure, panels[0], trials, best, title, sign)
    _progress(panels[1], trials, done, sign, title)
    if importances:
        _importances(panels[2], importances)
    words = "none below the folding limit"
    if best is not None:
        chosen = ", ".join(f"{SYMBOLS.get(name, name)} {value:.3g}" for name, value in best["params"].items())
        words = f"best {title} {best['value']:.4f} at {chosen}"
    figure.suptitle(f"{len(trials)} trials: {words}", fontsize=10)
    return figure


def _scatter(
    figure: Figure,
    panel: Axes,
    trials: Sequence[Any],
    best: Mapping[str, Any] | None,
    title: str,
    sign: int,
) -> None:
    done = [trial for trial in trials if trial["state"] == _COMPLETE and trial["value"] is not None]
    names = list(done[0]["params"])[:2]
    across = names[0]

    def position(trial: Mapping[str, Any]) -> tuple[float, float]:
        return trial["params"][across], trial["params"][names[1]] if len(names) > 1 else (trial["value"] or np.nan)

    for state, shape, size in ((_PRUNED, "x", 28), (_FAILED, "+", 40)):
        part = [position(trial) for trial in trials if trial["state"] == state]
        if part:
            panel.scatter(*zip(*part, strict=True), marker=shape, s=size, color="#888888", linewidths=1.0, label=state)
    positions, values = np.array([position(trial) for trial in done]), [trial["value"] for trial in done]
    shown = _completed(panel, positions, values, sign, len(names) > 1)
    beyond = [position(trial) for trial in done if trial.get("infeasible")]
    if beyond:
        style = {"marker": "x", "s": 60, "color": "#ff3030", "linewidths": 1.1, "label": "folds too much"}
        panel.scatter(*zip(*beyond, strict=True), **style)
    if best is not None:
        panel.plot(*position(best), "*", markersize=16, color="#ff3030", markeredgecolor="white", label="best")
    bar = figure.colorbar(shown, ax=panel, extend=("min" if sign > 0 else "max") if len(done) > 9 else "neither")
    bar.set_label(title, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    panel.set_xlabel(SYMBOLS.get(across, across))
    panel.set_ylabel(SYMBOLS.get(names[1], names[1]) if len(names) > 1 else title)
    panel.tick_params(labelsize=8)
    panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=5, frameon=False, handletextpad=0.2)


def _completed(panel: Axes, positions: np.ndarray, values: Sequence[float], sign: int, flat: bool) -> Any:
    """Draw the completed trials, colored by their value; if `flat` with an interpolated surface."""
    # The color scale excludes the worst tenth, which would otherwise dominate it.
    low, high = np.percentile(values, (10, 100) if sign > 0 else (0, 90))
    colors = {"cmap": "viridis" if sign > 0 else "viridis_r", "vmin": float(low), "vmax": float(high)}
    if flat:
        _surface(panel, positions, np.asarray(values), colors)
    style: dict[str, Any] = {"s": 46, "edgecolors": "black", "linewidths": 0.7, "label": "completed"}
    return panel.scatter(*positions.T, c=values, **style, **colors)


def _surface(panel: Axes, positions: np.ndarray, values: np.ndarray, colors: Mapping[str, Any]) -> None:
    """Draw the piecewise linear surface through the completed trials."""
    logs = [scale == "log" for scale in _scale_names(panel)]
    flat = np.stack([np.log(part) if log else part for part, log in zip(positions.T, logs, strict=True)])
    low, size = flat.min(axis=1, keepdims=True), np.ptp(flat, axis=1, keepdims=True)
    unit = (flat - low) / np.maximum(size, 1e-12)
    if len(positions) < 4 or np.linalg.matrix_rank(unit - unit.mean(axis=1, keepdims=True), tol=1e-3) < 2:
        return
    ticks = np.linspace(0.0, 1.0, _FINE)
    between = LinearTriInterpolator(Triangulation(*unit), values)(*np.meshgrid(ticks, ticks))
    across, up = (np.exp(part) if log else part for part, log in zip(low + size * ticks, logs, strict=True))
    pale = ListedColormap(0.45 * colormaps[colors["cmap"]](np.linspace(0, 1, 256)) + 0.55)
    panel.use_sticky_edges = False  # otherwise trials at the ends of the surface would be cut
    panel.pcolormesh(across, up, between, shading="nearest", zorder=0, **{**colors, "cmap": pale})


def _scale_names(panel: Axes) -> tuple[str, str]:
    return panel.get_xscale(), panel.get_yscale()


def _scales(panel: Axes, names: Sequence[str], ranges: Mapping[str, Sequence[float]]) -> None:
    """Use logarithmic axes for ranges over several powers of ten."""
    scales = (panel.set_xscale, panel.xaxis), (panel.set_yscale, panel.yaxis)
    for name, (scale, axis) in zip(names, scales, strict=False):
        low, high = ranges.get(name, (0.0, 0.0))
        if low > 0 and high / low > _DECADES:
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())


def _tolerance(panel: Axes, names: Sequence[str], tolerance: Mapping[str, Sequence[float]]) -> None:
    """Outline the range of equally good settings."""
    if len(names) == 2 and all(name in tolerance for name in names):
        (left, right), (low, high) = (tolerance[name] for name in names)
        style = {
            "fill": False,
            "edgecolor": "#ff3030",
            "linestyle": "--",
            "linewidth": 0.9,
            "label": "range of equally good settings",
        }
        panel.add_patch(Rectangle((left, low), right - left, high - low, **style))


def _progress(panel: Axes, trials: Sequence[Any], done: Sequence[Any], sign: int, title: str) -> None:
    quiet(panel)
    order = sorted(done, key=lambda trial: trial["number"])
    beyond = [trial for trial in order if trial.get("infeasible")]
    for part, shape in (([trial for trial in order if trial not in beyond], "o"), (beyond, "x")):
        numbers, values = [trial["number"] for trial in part], np.array([trial["value"] for trial in part])
        panel.plot(numbers, values, shape, markersize=4, color=PALETTE[5] if shape == "o" else "#ff3030")
        if shape == "o" and part:
            so_far = sign * np.maximum.accumulate(sign * values)
            last = max(trial["number"] for trial in trials)
            panel.step([*numbers, last], [*so_far, so_far[-1]], where="post", color="black")
    panel.set_xlabel("trial")
    panel.set_ylabel(f"{title}; line: best so far", fontsize=9)


def _importances(panel: Axes, importances: Mapping[str, float]) -> None:
    quiet(panel)
    panel.grid(False)
    order = sorted(importances.items(), key=lambda item: item[1])
    panel.barh(
        [SYMBOLS.get(name, name) for name, _ in order], [value for _, value in order], color=PALETTE[1], height=0.6
    )
    for row, (_, value) in enumerate(order):
        panel.text(value, row, f" {100 * value:.0f} %", va="center", fontsize=9)
    panel.set_xlim(0, 1.18 * max(value for _, value in order))
    panel.set_xlabel("share of the variance (fANOVA)", fontsize=9)
