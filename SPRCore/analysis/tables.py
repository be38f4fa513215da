"""Tables of results as Markdown, LaTeX and CSV, in the style of the paper's Tables 2 to 6."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from SPRCore.analysis.rows import label_order
from SPRCore.analysis.statistics import Comparison, SampleStatistics
from SPRCore.analysis.summary import INITIAL, MEASURES, MethodSummary

MAX_LABELS = 8
"""Maximum number of labels in a table; the CSV and the box plots have all."""

_DIGITS = {
    "dice_mean": 3,
    "tre_mm": 2,
    "hd95_mm": 2,
    "lncc": 3,
    "displacement_mm": 2,
    "inverse_consistency_mm": 3,
    "peak_memory_mb": 0,
}
_SHOWN = ("tre_mm", "hd95_mm", "folding_percent", "ndv_percent", "lncc", "seconds", "processor_seconds")
_WITH_SD = ("tre_mm", "hd95_mm", "lncc")
_LATEX = str.maketrans({"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "±": r"$\pm$", "†": r"$\dagger$", "<": "$<$"})


@dataclass(frozen=True)
class TableCell:
    """Text of a cell, and its rank in the column: 1 best, 2 second best, 0 other."""

    text: str
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """A table for any format; `notes` are the lines below it."""

    caption: str
    header: tuple[str, ...]
    body: tuple[tuple[TableCell, ...], ...]
    notes: tuple[str, ...] = ()


def results_table(
    summaries: Sequence[MethodSummary], names: Mapping[str, str] | None = None, caption: str = "Results"
) -> ResultTable:
    """Return the table of methods: Dice by label and overall with its standard deviation, other metrics, time.

    Args:
        summaries: Result of `summarize`.
        names: Names of labels.
        caption: Caption.
    """
    names = names or {}
    labels = sorted({label for part in summaries for label in part.labels}, key=label_order)
    labels = labels if len(labels) <= MAX_LABELS else []
    shown = [m for m in MEASURES if m.key in _SHOWN and any(m.key in part.values for part in summaries)]
    shown.sort(key=lambda measure: _SHOWN.index(measure.key))
    columns = [[_cell(part.labels.get(label), 3, True) for part in summaries] for label in labels]
    ranks = [[part.labels.get(label) for part in summaries] for label in labels]
    header = [names.get(label, f"label {label}") for label in labels]
    if any(part.pooled for part in summaries):
        header.append("Dice")
        columns.append([_cell(part.pooled, 3, True) + mark(part.comparison) for part in summaries])
        ranks.append([part.pooled for part in summaries])
    uneven = len({(part.pairs, len(part.failed)) for part in summaries}) > 1
    # Means over different pairs cannot be ranked.
    ranked = [
        [TableCell(text) for text in texts] if uneven else _ranked(texts, spreads, summaries)
        for texts, spreads in zip(columns, ranks, strict=True)
    ]
    for measure in shown:
        header.append(measure.title)
        digits = _DIGITS.get(measure.key)
        values = [part.values.get(measure.key) for part in summaries]
        ranked.append([TableCell(_cell(value, digits, measure.key in _WITH_SD)) for value in values])
    counts = [TableCell(_count(part)) for part in summaries]
    first = [[TableCell(part.method) for part in summaries]] + ([counts] if uneven else [])
    body = tuple(zip(*first, *ranked, strict=True))
    titles = ("method", *(["pairs"] if uneven else []), *header)
    return ResultTable(caption=caption, header=titles, body=body, notes=_notes(summaries, uneven))


def comparison_table(summaries: Sequence[MethodSummary]) -> ResultTable | None:
    """Return the table of comparisons with reference methods, or None without any."""
    found = [item for part in summaries for item in part.comparisons]
    if not found:
        return None
    title = next(measure.title for measure in MEASURES if measure.key == found[0].measure)
    header = (
        "method",
        "against",
        "subjects",
        f"{title}: mean difference",
        "95 % interval",
        "better for",
        "p",
        "p, Holm",
    )
    body = tuple(
        tuple(
            TableCell(text)
            for text in (
                item.method,
                item.reference,
                str(item.subjects),
                f"{item.difference:+.4f}",
                f"{item.low:+.4f} to {item.high:+.4f}",
                f"{item.better} of {item.subjects}",
                _p(item.p),
                _p(item.p_holm),
            )
        )
        for item in found
    )
    notes = (
        "Each subject counts once, as the mean of its pairs. Wilcoxon signed-rank test, two-sided; interval of the mean"
        " by bootstrap over subjects.",
    )
    return ResultTable(caption="Methods against their reference methods", header=header, body=body, notes=notes)


def mark(comparison: Comparison | None) -> str:
    """Return the mark of significance: ** and * for better at p < 0.001 and 0.01, †† and † for worse."""
    if comparison is None or comparison.p_holm >= 0.01:
        return ""
    return ("*" if comparison.is_better else "†") * (2 if comparison.p_holm < 0.001 else 1)


def markdown(table: ResultTable) -> str:
    """Return a table as Markdown."""
    emphasis = {0: "{}", 1: "**{}**", 2: "*{}*"}
    # Asterisks of significance are escaped.
    lines = [
        [emphasis[cell.rank].format(_plain(cell.text)) if cell.text else "" for cell in line] for line in table.body
    ]
    rows = [list(table.header), ["---"] * len(table.header), *lines]
    grid = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "".join(f"\n{note}\n" for note in table.notes)
    return f"{table.caption}\n\n{grid}\n{notes}"


def latex(table: ResultTable) -> str:
    """Return a table as LaTeX, for the package booktabs."""
    emphasis = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\textit{{{}}}"}
    lines = [
        " & ".join(emphasis[cell.rank].format(cell.text.translate(_LATEX)) for cell in line) + r" \\"
        for line in table.body
    ]
    header = " & ".join(title.translate(_LATEX) for title in table.header) + r" \\"
    columns = "l" + "c" * (len(table.header) - 1)
    notes = [note.translate(_LATEX) for note in table.notes]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{' '.join([table.caption.translate(_LATEX) + '.', *notes])}}}",
            r"\centering",
            rf"\begin{{tabular}}{{{columns}}}",
            *[r"\toprule", header, r"\midrule", *lines, r"\bottomrule"],
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def long_csv(summaries: Sequence[MethodSummary], names: Mapping[str, str] | None = None) -> str:
    """Return all numbers of the summaries as CSV: a line per method and measure, and for each further comparison."""
    names = names or {}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["method", "measure", "label", "mean", "sd", "n", "twin", "difference", "low", "high", "p", "p_holm"]
    )
    for part in summaries:
        entries = [(key, "", spread) for key, spread in part.values.items()]
        entries += [
            ("dice", names.get(label, label), part.labels[label]) for label in sorted(part.labels, key=label_order)
        ]
        entries += [("dice_pooled", "", part.pooled)] if part.pooled else []
        for key, label, spread in entries:
            sd = "" if spread.sd is None else spread.sd
            for test in [test for test in part.comparisons if test.measure == key] or [None]:
                tested = [""] * 6
                if test is not None:
                    tested = [test.reference, test.difference, test.low, test.high, test.p, test.p_holm]
                writer.writerow([part.method, key, label, spread.mean, sd, spread.n, *tested])
    return stream.getvalue()


def _cell(spread: SampleStatistics | None, digits: int | None, with_sd: bool) -> str:
    if spread is None:
        return "-"
    if digits is None:
        return _small(spread.mean)
    sd = f" ± {spread.sd:.{digits}f}" if with_sd and spread.sd is not None else ""
    return f"{spread.mean:.{digits}f}{sd}"


def _small(value: float) -> str:
    """Three significant digits; "0" for 0 alone."""
    if value == 0:
        return "0"
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _ranked(
    texts: list[str], spreads: list[SampleStatistics | None], summaries: Sequence[MethodSummary]
) -> list[TableCell]:
    """Mark the two highest means among the methods."""
    means = {
        row: round(spread.mean, 3)
        for row, (spread, part) in enumerate(zip(spreads, summaries, strict=True))
        if spread is not None and part.method != INITIAL
    }
    best = sorted(set(means.values()), reverse=True)[:2] if len(means) > 2 else []
    return [TableCell(text, best.index(means[i]) + 1 if means.get(i) in best else 0) for i, text in enumerate(texts)]


def _count(part: MethodSummary) -> str:
    return f"{part.pairs} of {part.pairs + len(part.failed)}" if part.failed else str(part.pairs)


def _notes(summaries: Sequence[MethodSummary], uneven: bool) -> tuple[str, ...]:
    notes = []
    if any(part.pooled for part in summaries):
        notes.append(
            "Dice: mean ± standard deviation, by label over pairs, overall over all labels of all pairs."
            + ("" if uneven else " Bold and italic: best and second best.")
        )
    if uneven:
        notes.append("The methods have different pairs, so their means cannot be compared; comparisons are by pair.")
    if any(part.comparisons for part in summaries):
        several = " (the first of several)" if any(len(part.comparisons) > 1 for part in summaries) else ""
        notes.append(
            f"** and *: better than the reference method{several} at p < 0.001 and p < 0.01, †† and †: worse (two-sided"
            " Wilcoxon signed-rank test over subjects, adjusted by Holm)."
        )
    timed = any("seconds" in part.values for part in summaries)
    notes += (
        ["Seconds: the deformation alone, in a process of its own; of processor: on all its cores."] if timed else []
    )
    for part in summaries:
        if part.failed:
            pair, why = next(iter(part.failed.items()))
            notes.append(f"{part.method} failed on {len(part.failed)}, such as {pair}: {why}.")
    return tuple(notes)


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _plain(text: str) -> str:
    for sign in ("*", "|", "_"):
        text = text.replace(sign, f"\\{sign}")
    return text
