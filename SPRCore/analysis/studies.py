"""Figures of a tuning study: its trials over the hyperparameters, how it went, and what mattered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from SPRCore.analysis.figures import DPI
from SPRCore.analysis.plots import PALETTE, quiet
from SPRCore.analysis.surfaces import SYMBOLS
from SPRCore.errors import InputError

STUDY = "study.json"
COMPLETE, PRUNED = "complete", "pruned"


def read_study(path: Path) -> dict[str, Any]:
    """Read what `spr tune` saved.

    Args:
        path: The file, or its folder.

    Returns:
        ``trials`` with ``number``, ``params``, ``value`` and ``state`` each, and what else is in it.

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    path = path / STUDY if path.is_dir() else path
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="a study of spr tune")
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        for trial in study["trials"]:
            _ = trial["number"] + 0, dict(trial["params"]), trial["value"], trial["state"].lower()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(str(path), got=f"no study ({error})", expected="trials as spr tune writes them") from error
    return study


def study_figure(study: Mapping[str, Any]) -> Figure:
    """Draw a study as Figures 7 and 8 of the paper do.

    Args:
        study: ``trials``; ``direction`` ("maximize", usual, or "minimize"); ``importances`` by name, or absent;
            ``objective``, a name for the value, or absent.

    Returns:
        The trials over their hyperparameters with the pruned ones, the best value so far, and the importance of each
        hyperparameter where the study holds it.

    Raises:
        InputError: No trial was completed.
    """
    trials = [trial for trial in study["trials"] if trial["params"]]
    done = [trial for trial in trials if trial["state"].lower() == COMPLETE and trial["value"] is not None]
    if not done:
        raise InputError("study", got="no trial that was completed", expected="at least one")
    sign = -1 if study.get("direction") == "minimize" else 1
    best = max(done, key=lambda trial: sign * trial["value"])
    importances = study.get("importances") or {}
    figure = Figure(figsize=(4.6 + 4.0 + (3.2 if importances else 0.0), 3.8), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 3 if importances else 2, width_ratios=[4.6, 4.0, 3.2][: 3 if importances else 2])
    title = str(study.get("objective") or "value")
    _scatter(figure, panels[0], trials, done, best, title)
    _progress(panels[1], trials, done, sign, title)
    if importances:
        _importances(panels[2], importances)
    chosen = ", ".join(f"{SYMBOLS.get(name, name)} {value:.3g}" for name, value in best["params"].items())
    figure.suptitle(f"{len(trials)} trials: best {title} {best['value']:.4f} at {chosen}", fontsize=10)
    return figure


def _scatter(
    figure: Figure, panel: Axes, trials: Sequence[Any], done: Sequence[Any], best: Mapping[str, Any], title: str
) -> None:
    names = list(best["params"])[:2]
    across = names[0]

    def place(trial: Mapping[str, Any]) -> tuple[float, float]:
        return trial["params"][across], trial["params"][names[1]] if len(names) > 1 else (trial["value"] or np.nan)

    for state, sign, size in ((PRUNED, "x", 28), ("fail", "+", 40)):
        part = [place(trial) for trial in trials if trial["state"].lower() == state]
        if part:
            word = "pruned" if state == PRUNED else "failed"
            panel.scatter(*zip(*part, strict=True), marker=sign, s=size, color="#888888", linewidths=1.0, label=word)
    values = np.array([trial["value"] for trial in done])
    shown = panel.scatter(
        *zip(*map(place, done), strict=True),
        c=values,
        s=46,
        cmap="viridis",
        edgecolors="black",
        linewidths=0.5,
        label="completed",
        vmin=float(np.percentile(values, 10)),
    )
    panel.plot(*place(best), "*", markersize=16, color="#ff3030", markeredgecolor="white", label="best")
    bar = figure.colorbar(shown, ax=panel, extend="min" if len(values) > 9 else "neither")
    bar.set_label(title, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    panel.set_xlabel(SYMBOLS.get(across, across))
    panel.set_ylabel(SYMBOLS.get(names[1], names[1]) if len(names) > 1 else title)
    panel.tick_params(labelsize=8)
    panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=4, frameon=False, handletextpad=0.2)


def _progress(panel: Axes, trials: Sequence[Any], done: Sequence[Any], sign: int, title: str) -> None:
    quiet(panel)
    order = sorted(done, key=lambda trial: trial["number"])
    numbers, values = [trial["number"] for trial in order], np.array([trial["value"] for trial in order])
    so_far = sign * np.maximum.accumulate(sign * values)
    panel.plot(numbers, values, "o", markersize=4, color=PALETTE[5], label="trial")
    panel.step([*numbers, max(trial["number"] for trial in trials)], [*so_far, so_far[-1]], where="post", color="black")
    panel.set_xlabel("trial")
    panel.set_ylabel(f"{title}; line: best so far", fontsize=9)


def _importances(panel: Axes, importances: Mapping[str, float]) -> None:
    quiet(panel)
    panel.grid(False)
    order = sorted(importances.items(), key=lambda item: item[1])
    panel.barh(
        [SYMBOLS.get(name, name) for name, _ in order], [value for _, value in order], color=PALETTE[1], height=0.6
    )
    for place, (_, value) in enumerate(order):
        panel.text(value, place, f" {100 * value:.0f} %", va="center", fontsize=9)
    panel.set_xlim(0, 1.18 * max(value for _, value in order))
    panel.set_xlabel("share of the variance (fANOVA)", fontsize=9)
