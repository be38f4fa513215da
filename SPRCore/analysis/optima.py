"""Table of the best hyperparameters of studies and sweeps, as Table 5 of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from SPRCore.analysis.rows import SurfacePoint
from SPRCore.analysis.surfaces import BAND, SYMBOLS, Surface, surface_of
from SPRCore.analysis.tables import ResultTable, TableCell

_MEASURES = {"dice": "mean Dice", "tre": "landmark error, mm", "label-free": "LNCC"}
_STATES = ("complete", "pruned", "failed")
_QUALITIES = ("dice_mean", "tre_mm", "lncc")

Line = dict[str, str]


def optima_table(
    studies: Sequence[Mapping[str, Any]], points: Sequence[SurfacePoint], band: float = BAND
) -> ResultTable | None:
    """Return the table of the best hyperparameters of saved studies and of sweeps of any number of models, if any.

    A line for each search: best value, hyperparameters, in brackets their range among settings within `band` of the
    best value of a sweep, and for studies their importance.

    Raises:
        InputError: A sweep varies more than two hyperparameters.
    """
    lines = [*map(_of_study, studies), *_of_sweeps(points, band)]
    lines = [line for line in lines if line]
    if not lines:
        return None
    used = dict.fromkeys(title for line in lines for title in line)
    named = [name for name in SYMBOLS if name in used]
    header = list(dict.fromkeys([*list(lines[0])[:4], *named, *used]))
    body = tuple(tuple(TableCell(line.get(title, "")) for title in header) for line in lines)
    notes = [
        "In brackets: the range of the settings whose value differs from the best by at most the band of the study, or"
        f" {band:g} in a sweep; in percent: the share in the variance of the objective (fANOVA)."
    ]
    return ResultTable(caption="Best hyperparameters", header=tuple(header), body=body, notes=tuple(notes))


def _of_study(study: Mapping[str, Any]) -> Line:
    trials = study["trials"]
    best = next((trial for trial in trials if trial["number"] == study.get("best")), None)
    if best is None and not any(trial.get("infeasible") for trial in trials):
        return {}
    counts = [(state, sum(trial["state"] == state for trial in trials)) for state in _STATES]
    importances, tolerance = study.get("importances") or {}, study.get("tolerance") or {}
    line = {
        "tuned": str(study["target"]),
        "search": f"{study['name']}: " + ", ".join(f"{count} {state}" for state, count in counts if count),
        "judged by": _MEASURES.get(str(study["objective"]), str(study["objective"])),
        "best": "none below the folding limit" if best is None else f"{best['value']:.4f}",
    }
    for name, value in ({} if best is None else best["params"]).items():
        share = f"; {100 * importances[name]:.0f} %" if len(importances) > 1 and name in importances else ""
        line[name] = f"{value:.4g}{_range(tolerance.get(name))}{share}"
    return line


def _of_sweeps(points: Sequence[SurfacePoint], band: float) -> list[Line]:
    lines = []
    for method, model in dict.fromkeys((point.method, point.model) for point in points):
        own = [point for point in points if (point.method, point.model) == (method, model)]
        surface = next((found for key in _QUALITIES if (found := surface_of(own, key)) is not None), None)
        if surface is not None and np.isfinite(surface.values).any():
            lines.append(_of_surface(method, surface, band))
    return lines


def _of_surface(method: str, surface: Surface, band: float) -> Line:
    size, pairs = int(np.isfinite(surface.values).sum()), surface.pairs
    best = float(surface.values[surface.best])
    line = {
        "tuned": method,
        "search": f"grid of {size} on {pairs} pair{'s' if pairs > 1 else ''}",
        "judged by": surface.title,
        "best": f"{best:.4f}",
    }
    good = np.argwhere(surface.better * (best - surface.values) <= band)
    for axis, name in enumerate(surface.names):
        values = surface.axes[axis]
        span = values[good[:, axis].min()], values[good[:, axis].max()]
        line[name] = f"{values[surface.best[axis]]:.4g}{_range(span)}"
    return line


def _range(span: Sequence[float] | None) -> str:
    return "" if span is None or span[0] == span[1] else f" ({span[0]:.4g} to {span[1]:.4g})"
