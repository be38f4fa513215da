"""Report of saved runs: tables, figures, and a page with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SPRCore.analysis.benchmark import ROWS, latest
from SPRCore.analysis.optima import optima_table
from SPRCore.analysis.rows import BenchmarkRow, SurfacePoint, read_rows
from SPRCore.analysis.saved_pairs import SavedPair
from SPRCore.analysis.structures import correlation_table, structure_table
from SPRCore.analysis.summary import MethodSummary, summarize
from SPRCore.analysis.tables import comparison_table, latex, long_csv, markdown, results_table
from SPRCore.errors import InputError
from SPRCore.regularization import UniformPrior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE, PAGE, _FIGURES = "table", "report.md", "figures"
TABLES = tuple(f"{TABLE}.{suffix}" for suffix in ("md", "tex", "csv"))
"""Names of the files of tables."""


def collect(runs: Sequence[Path]) -> list[BenchmarkRow]:
    """Read the last row of each method on each pair, of folders of benchmarks or files of rows.

    Later runs replace methods of the same name.

    Raises:
        InputError: A run is missing or has other content, or two runs have different pairs.
    """
    rows = [row for run in runs for row in read_rows(run / ROWS if run.is_dir() else run, BenchmarkRow).rows]
    if not rows:
        raise InputError(", ".join(map(str, runs)), got="no result", expected="runs of spr benchmark")
    return latest(rows)


def write_tables(
    rows: Sequence[BenchmarkRow],
    folder: Path,
    *,
    points: Sequence[SurfacePoint] = (),
    studies: Sequence[Mapping[str, Any]] = (),
    names: Mapping[str, str] | None = None,
    twins: Mapping[str, Sequence[str]] | None = None,
    caption: str = "Results",
) -> list[MethodSummary]:
    """Write the tables of a report: Markdown, LaTeX, and all numbers of the methods as CSV.

    Args:
        rows: One row for each method and pair; empty for the tables of searches alone.
        folder: An existing folder.
        points: Points of sweeps of any number of models.
        studies: Saved studies, as plain values.
        names: Names of labels.
        twins: Methods and their reference methods, instead of those in the rows.
        caption: Caption of the table of results.

    Returns:
        The summaries in the tables.

    Raises:
        InputError: A reference method is missing, or pairs differ.
        OutputError: A file cannot be written.
    """
    summaries = summarize(rows, twins) if rows else []
    of_methods = (results_table(summaries, names, caption), comparison_table(summaries)) if rows else ()
    tables = [
        *of_methods,
        optima_table(studies, points),
        correlation_table(rows),
        structure_table(rows, names),
    ]
    shown = [table for table in tables if table is not None]
    if not shown:
        return summaries
    texts = (
        "\n".join(markdown(table) for table in shown),
        "\n".join(latex(table) for table in shown),
        long_csv(summaries, names),
    )
    for name, text in zip(TABLES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return summaries


def write_figures(
    folder: Path,
    *,
    rows: Sequence[BenchmarkRow] = (),
    kept: Sequence[SavedPair] = (),
    panels: Sequence[SavedPair] = (),
    points: Sequence[SurfacePoint] = (),
    studies: Sequence[Mapping[str, Any]] = (),
    names: Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """Write all figures that the results allow into the subfolder `figures`.

    Args:
        folder: An existing folder.
        rows: One row for each method and pair.
        kept: Pairs with saved images.
        panels: Pairs with saved images at several settings of one method.
        points: Points of sweeps of any number of models.
        studies: Saved studies, as plain values.
        names: Names of labels.

    Returns:
        Path relative to the folder, and caption, of each.

    Raises:
        InputError: Results do not fit together.
        OutputError: A file cannot be written.
    """
    from SPRCore.analysis.figures import save_figure

    (folder / _FIGURES).mkdir(exist_ok=True)
    written = []
    drawn = [*_row_figures(rows, names), *_pair_figures(kept), *_sweep_figures(points, names)]
    drawn += [*_panel_figures(panels, points), *_study_figures(studies)]
    for name, words, figure in drawn:
        path = f"{_FIGURES}/{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-')}.png"
        save_figure(figure, folder / path)
        written.append((path, words))
    return written


def write_page(folder: Path, figures: Sequence[tuple[str, str]], command: str) -> None:
    """Write a page in Markdown with the tables and figures in the folder.

    Args:
        folder: Folder of the report.
        figures: Result of `write_figures`.
        command: The command of the report, without folders.
    """
    table = folder / f"{TABLE}.md"
    parts = [f"# Report\n\nMade by `{command}`.\n"]
    parts += [table.read_text(encoding="utf-8")] if table.is_file() else []
    parts += [f"## {words}\n\n![{words}]({path})\n" for path, words in figures]
    (folder / PAGE).write_text("\n".join(parts), encoding="utf-8")


_Drawn = Iterator[tuple[str, str, "Figure"]]


def _row_figures(rows: Sequence[BenchmarkRow], names: Mapping[str, str] | None) -> _Drawn:
    from SPRCore.analysis.plots import dice_figure, weights_figure
    from SPRCore.analysis.prior_figures import rows_prior_figure

    for name, words, draw in (
        ("dice", "Dice by structure", dice_figure),
        ("structures", "Weight, displacement and volume change by structure", weights_figure),
    ):
        figure = draw(rows, names)
        if figure is not None:
            yield name, words, figure
    figure = rows_prior_figure(rows)
    if figure is not None:
        yield "priors", "Priors on the weight", figure


def _pair_figures(kept: Sequence[SavedPair]) -> _Drawn:
    from SPRCore.analysis import pair_figures as draw

    for pair in kept:
        yield f"{pair.pair} methods", f"Methods on {pair.pair}", draw.methods_figure(pair)
        yield f"{pair.pair} boundaries", f"Displacement across boundaries, {pair.pair}", draw.boundary_figure(pair)
        for method in pair.methods:
            if method.weight is None or method.setting.get("prior") == UniformPrior.name:
                continue
            about = f"{method.method} on {pair.pair}"
            yield (
                f"{pair.pair} {method.method} weight",
                f"Weight and deformation, {about}",
                draw.weight_figure(pair, method),
            )
            figure = draw.likely_weight_figure(pair, method)
            yield f"{pair.pair} {method.method} likely", f"Weight and most probable weight, {about}", figure


def _sweep_figures(points: Sequence[SurfacePoint], names: Mapping[str, str] | None) -> _Drawn:
    from SPRCore.analysis.surfaces import sweep_figure

    models = dict.fromkeys((point.method, point.model) for point in points)
    for method, model in models:
        figure = sweep_figure([point for point in points if (point.method, point.model) == (method, model)], names)
        if figure is not None:
            own = "" if sum(name == method for name, _ in models) == 1 else f" {str(model)[:8]}"
            yield f"sweep {method}{own}", f"Hyperparameters of {method}{own}", figure


def _panel_figures(panels: Sequence[SavedPair], points: Sequence[SurfacePoint]) -> _Drawn:
    from SPRCore.analysis.settings_figure import settings_figure

    trained = {point.method: point.trained for point in points}
    for pair in panels:
        about = f"{pair.methods[0].method} on {pair.pair}"
        figure = settings_figure(pair, trained=trained.get(pair.methods[0].method))
        yield f"{pair.pair} {pair.methods[0].method} settings", f"Settings of {about}", figure


def _study_figures(studies: Sequence[Mapping[str, Any]]) -> _Drawn:
    from SPRCore.analysis.studies import study_figure

    for number, study in enumerate(studies, start=1):
        name = str(study.get("name") or number)
        yield f"study {name}", f"Trials of the study {name}", study_figure(study)
