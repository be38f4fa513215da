"""From saved runs to the files of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from SPRCore.analysis.benchmark import ROWS, latest
from SPRCore.analysis.rows import BenchmarkRow, read_rows
from SPRCore.analysis.summary import Summary, summarize
from SPRCore.analysis.tables import comparison_table, latex, long_csv, markdown, results_table
from SPRCore.errors import InputError

TABLE = "table"


def collect(runs: Sequence[Path]) -> list[BenchmarkRow]:
    """Read the rows of runs.

    Args:
        runs: Folders of benchmarks, or their files of rows.

    Returns:
        The last row of each method on each pair; a method of the same name in a later run takes the place of it.

    Raises:
        InputError: A run is not there, holds something else, or two runs do not have the same pairs.
    """
    rows = [row for run in runs for row in read_rows(run / ROWS if run.is_dir() else run, BenchmarkRow).rows]
    if not rows:
        raise InputError(", ".join(map(str, runs)), got="no result", expected="runs of spr benchmark")
    return latest(rows)


def write_tables(
    rows: Sequence[BenchmarkRow],
    folder: Path,
    *,
    names: Mapping[str, str] | None = None,
    twins: Mapping[str, str] | None = None,
    caption: str = "Results",
) -> list[Summary]:
    """Write the tables of a report: Markdown, LaTeX, and every number as CSV.

    Args:
        rows: One row for each method and pair.
        folder: Where to write; exists.
        names: Names of labels.
        twins: Method and the one to test it against, in place of what the rows say.
        caption: What the table shows.

    Returns:
        What the tables were made from.

    Raises:
        InputError: A twin is not among the methods, or pairs differ.
        OutputError: A file cannot be written.
    """
    summaries = summarize(rows, twins)
    tables = [results_table(summaries, names, caption), comparison_table(summaries)]
    shown = [table for table in tables if table is not None]
    for suffix, text in (
        ("md", "\n".join(markdown(table) for table in shown)),
        ("tex", "\n".join(latex(table) for table in shown)),
        ("csv", long_csv(summaries, names)),
    ):
        (folder / f"{TABLE}.{suffix}").write_text(text, encoding="utf-8")
    return summaries
