"""Results beside those of the paper: its tables, the methods here that correspond, and what differs between both."""

from __future__ import annotations

import functools
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SPRCore.analysis.deviations import common_deviations, data_of, method_deviations
from SPRCore.analysis.rows import BenchmarkRow, RowsHeader, SurfacePoint
from SPRCore.analysis.summary import INITIAL, MethodSummary
from SPRCore.analysis.surfaces import surface_of
from SPRCore.analysis.tables import ResultTable, TableCell, markdown
from SPRCore.config import check_name
from SPRCore.errors import InputError

PAGE = "against_paper.md"
"""Name of the page in the folder of a report."""

_DATA = Path(__file__).with_name("paper.json")
_TASKS = {"acdc": "heart", "mnms": "heart", "cardiac": "heart", "ixi": "brain", "autopet": "body"}
"""Task by a word in the name of the data set or recipe."""

_SEMI = ", semi-supervised"


@functools.cache
def paper() -> dict[str, Any]:
    """Return the numbers of the paper's Tables 1 to 6, with its data, as plain values."""
    return json.loads(_DATA.read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Results:
    """Results of saved runs.

    Attributes:
        rows: One row for each method and pair.
        summaries: Their summaries.
        headers: Headers of the files.
        studies: Saved studies, as plain values.
        points: Points of sweeps of any number of models.
    """

    rows: Sequence[BenchmarkRow]
    summaries: Sequence[MethodSummary]
    headers: Sequence[RowsHeader]
    studies: Sequence[Mapping[str, Any]] = ()
    points: Sequence[SurfacePoint] = ()


def task_of(headers: Iterable[RowsHeader], given: str | None) -> str:
    """Return the task of the paper, "body", "brain" or "heart", that is given or that of the data set of the runs.

    Raises:
        InputError: The runs do not say, or are of several tasks.
    """
    if given is not None:
        check_name(given, paper()["tasks"], "task")
        return given
    words = [re.split(r"[\W_]+", data_of(header.settings) or "") for header in headers]
    found = {_TASKS[word] for names in words for word in names if word in _TASKS}
    if len(found) != 1:
        got = ", ".join(sorted(found)) if found else "runs that do not name their data set"
        raise InputError("task of the runs", got=got, expected="one", remedy="choose --task body, brain or heart")
    return found.pop()


def counterpart(row: BenchmarkRow, task: str) -> str | None:
    """Return the method of the paper that corresponds to that of a row by network, prior and conditioning, or None.

    In rows that do not hold these, they are taken from the name of the method.
    """
    name = row.method.lower()
    facts = row.provenance.get("model") or {}
    if row.model is None:
        kind = row.provenance.get("kind") or name
        return "SyN" if kind.startswith("syn") else "deedsBCV" if kind.startswith("deeds") else None
    network = facts.get("architecture") or ("transmorph" if "tm" in name or "trans" in name else "voxelmorph")
    is_hyper = bool(facts["conditioning"]) if "conditioning" in facts else "hyper" in name
    prior = row.setting.get("prior")
    if prior == "uniform":
        plain = "TransMorph" if network.startswith("transmorph") else "VoxelMorph"
        return {"TransMorph": "Hyper-TransMorph", "VoxelMorph": "HyperMorph"}[plain] if is_hyper else plain
    if prior == "beta" and is_hyper:
        return "Hyper-TM-SPR beta" + (_SEMI if task == "heart" else "")
    return {"beta": "TM-SPR beta", "gaussian": "TM-SPR Gaussian"}.get(str(prior)) if not is_hyper else None


def against_paper(results: Results, task: str, chosen: Mapping[str, str] | None = None, command: str = "") -> str:
    """Return a page in Markdown with each number of the paper's tables beside those of the results.

    Args:
        results: The results.
        task: Task of the paper: "body", "brain" or "heart".
        chosen: Method of the paper by method of the results, instead of that by `counterpart`.
        command: The command of the report, without folders.

    Raises:
        InputError: A method is unknown here or in the paper.
    """
    matched = _matched(results, task, chosen or {})
    notes = _Notes()
    everywhere = [notes.letter(text) for text in common_deviations(results.rows, results.headers, paper(), task)]
    own = {row.method: row for row in results.rows}
    letters = {
        method: [notes.letter(text) for text in method_deviations(own[method], theirs, paper(), task)]
        for method, theirs in matched.items()
    }
    tables = [table for table in paper()["tables"] if table["task"] == task]
    parts = ["# Beside the paper", f"Made by `{command}`." if command else ""]
    parts += [f"The paper: {paper()['source']}. Its data for this task: {_data_of(task)}."]
    parts += [markdown(_table(table, results.summaries, matched, letters)) for table in tables]
    parts += [_conventions(notes, everywhere), _optima(results, task), _missing(results, matched, task)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _matched(results: Results, task: str, chosen: Mapping[str, str]) -> dict[str, str]:
    """Method of the paper by method of the results."""
    known = {row["method"] for table in paper()["tables"] if table["task"] == task for row in table["rows"]}
    first = {row.method: row for row in reversed(results.rows)}
    for method, theirs in chosen.items():
        check_name(method, first, "method")
        check_name(theirs, known, "method of the paper")
    found = {row.method: chosen.get(row.method) or counterpart(row, task) for row in results.rows}
    return {method: theirs for method, theirs in found.items() if theirs in known}


def _table(
    table: Mapping[str, Any],
    summaries: Sequence[MethodSummary],
    matched: Mapping[str, str],
    letters: Mapping[str, Sequence[str]],
) -> ResultTable:
    header = ("in the paper", "Dice", "folding, %", "NDV, %", "here", "Dice here", "difference", "folding here, %")
    body = []
    for line in table["rows"]:
        dice = f"{line['dice']:.3f} ± {line['sd']:.3f}"
        theirs = (line["method"], dice, _percent(line["folding"]), _percent(line["ndv"]))
        ours = [part for part in summaries if _theirs(part.method, matched) == line["method"]]
        for number, part in enumerate(ours or [None]):
            cells = (*(theirs if number == 0 else ("", "", "", "")), *_ours(part, line, letters))
            body.append(tuple(TableCell(text) for text in cells))
    caption = f"## {table['table']}: {paper()['tasks'][table['task']]['data']}"
    return ResultTable(caption=caption, header=(*header, "NDV here, %", "differs in"), body=tuple(body))


def _ours(part: MethodSummary | None, line: Mapping[str, Any], letters: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if part is None:
        return ("none", "-", "-", "-", "-", "")
    dice, folding, ndv = part.pooled, part.values.get("folding_percent"), part.values.get("ndv_percent")
    sd = "" if dice is None or dice.sd is None else f" ± {dice.sd:.3f}"
    return (
        part.method,
        "-" if dice is None else f"{dice.mean:.3f}{sd}",
        "-" if dice is None else f"{dice.mean - line['dice']:+.3f}",
        "-" if folding is None else _percent(folding.mean),
        "-" if ndv is None else _percent(ndv.mean),
        " ".join(letters.get(part.method, ())),
    )


def _theirs(method: str, matched: Mapping[str, str]) -> str | None:
    return "Initial" if method == INITIAL else matched.get(method)


def _conventions(notes: _Notes, everywhere: Sequence[str]) -> str:
    common = [f"* **{letter}** {text}" for text, letter in notes.letters.items() if letter in everywhere]
    single = [f"* **{letter}** {text}" for text, letter in notes.letters.items() if letter not in everywhere]
    parts = ["## What differs", "For all methods here:", "\n".join(common)]
    if single:
        parts += ["For the methods with the letter in the last column:", "\n".join(single)]
    same = (
        "The same in both: Dice is the mean ± standard deviation over all labels of all pairs; folding and NDV leave"
        " out the outermost voxels. The paper marks variants of TransMorph that are better than TransMorph by the"
        " Wilcoxon signed-rank test; the marks of the tables here are over subjects and adjusted by Holm. It has no"
        " surface distances and landmark errors."
    )
    return "\n\n".join([*parts, same])


def _optima(results: Results, task: str) -> str:
    """Tables 5 and 1, and Figs. 9 and 10, beside the searches of the runs."""
    lines, searches = [], [*map(_of_study, results.studies), *_of_sweeps(results.points)]
    for method, setting in paper()["optima"][task].items():
        spans = {name: paper()["ranges"][task].get(name, (0, 1)) for name in setting}
        theirs = (method, _setting(setting), _spans(spans))
        ours = [texts for names, texts in searches if names == set(setting)]
        lines += [tuple(map(TableCell, (*theirs, *texts))) for texts in ours or [("none", "-", "-")]]
    header = ("in the paper", "best setting", "range", "search here", "best setting here", "range here")
    notes = tuple(paper()["remarks"].get(task, ()))
    return markdown(ResultTable(caption="## Tables 5 and 1: settings", header=header, body=tuple(lines), notes=notes))


def _of_study(study: Mapping[str, Any]) -> tuple[set[str], tuple[str, str, str]]:
    best = next((trial for trial in study["trials"] if trial["number"] == study.get("best")), None)
    name = f"{study['name']} of {study['target']}, {len(study['trials'])} trials by {study['objective']}"
    return set(study["ranges"]), (name, "-" if best is None else _setting(best["params"]), _spans(study["ranges"]))


def _of_sweeps(points: Sequence[SurfacePoint]) -> Iterator[tuple[set[str], tuple[str, str, str]]]:
    for method, model in dict.fromkeys((point.method, point.model) for point in points):
        own = [point for point in points if (point.method, point.model) == (method, model)]
        surface = surface_of(own, "dice_mean")
        if surface is None:
            continue
        axes = dict(zip(surface.names, surface.axes, strict=True))
        best = {name: axes[name][index] for name, index in zip(surface.names, surface.best, strict=True)}
        spans = {name: (values[0], values[-1]) for name, values in axes.items()}
        count = " x ".join(str(len(values)) for values in axes.values())
        yield set(axes), (f"grid of {method}, {count} by Dice", _setting(best), _spans(spans))


def _missing(results: Results, matched: Mapping[str, str], task: str) -> str:
    """Tables of the paper and methods here without a counterpart."""
    lines = [
        f"* {table['table']}: no results of {paper()['tasks'][table['task']]['data']} in these runs."
        for table in paper()["tables"]
        if table["task"] != task
    ]
    alone = [name for name in dict.fromkeys(row.method for row in results.rows) if name not in matched]
    lines += [f"* {name}: not a method of the paper." for name in alone]
    return "\n\n".join(["## Without a counterpart", "\n".join(lines)])


def _data_of(task: str) -> str:
    data = paper()["tasks"][task]
    shape, spacing = (" x ".join(f"{value:g}" for value in data[key]) for key in ("shape", "spacing_mm"))
    return f"{data['data']}, {data['pairs']} test pairs of {shape} voxels of {spacing} mm"


def _setting(setting: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in setting.items())


def _spans(ranges: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in ranges.items())


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


class _Notes:
    """Letters of deviations, in their order."""

    def __init__(self) -> None:
        self.letters: dict[str, str] = {}

    def letter(self, text: str) -> str:
        """Return the letter of a text, a new one for a new text."""
        count, size = len(self.letters), len(string.ascii_lowercase)
        fresh = string.ascii_lowercase[count % size] * (count // size + 1)
        return self.letters.setdefault(text, fresh)
