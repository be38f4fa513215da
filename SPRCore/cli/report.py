"""`spr report`: the tables and figures of saved runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from SPRCore.analysis.benchmark import ROWS
from SPRCore.analysis.report import PAGE, TABLES, collect, write_figures, write_page, write_tables
from SPRCore.analysis.rows import BenchmarkRow, SurfacePoint, command_without_folders, read_rows, saved_label_names
from SPRCore.analysis.saved_pairs import read_saved_pairs
from SPRCore.analysis.tables import results_table
from SPRCore.cli.benchmark import Words, assignments, print_results
from SPRCore.cli.console import print_line
from SPRCore.config import encode
from SPRCore.errors import InputError
from SPRCore.io.outputs import result_folder
from SPRCore.tuning.panels import PANELS
from SPRCore.tuning.studies import STUDY, read_study
from SPRCore.tuning.sweep import SURFACE


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the tables and figures of runs of `spr benchmark`, `spr sweep` and `spr tune`."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN", help_behavior_hint="(one or more)")]
    """Folders of runs, or their files (rows.jsonl, surface.jsonl, study.json)."""

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for the report; created if missing. Open report.md first."""

    twins: Annotated[Words, arg(metavar="METHOD=REFERENCE,...", help_behavior_hint="(default: those of the runs)")] = ()
    """Methods to test against a reference method, over subjects."""

    label_names: Annotated[Words, arg(metavar="LABEL=NAME,...", help_behavior_hint="(default: those of the runs)")] = ()
    """Names of labels, such as 1=RV,2=MYO,3=LV."""

    caption: Annotated[str, arg(metavar="WORDS")] = "Results"
    """Caption of the table."""

    def run(self, command: str) -> None:
        """Read, write, and print the table."""
        if not self.runs:
            raise InputError("RUN", got="none", expected="folders of runs, or their files")
        twins = assignments(self.twins, "--twins") or None
        found = sort_runs(self.runs)
        rows = collect(found[ROWS]) if found[ROWS] else []
        names = saved_names(found) | assignments(self.label_names, "--label-names")
        read = [path for paths in found.values() for path in paths]
        with result_folder(self.out, (*TABLES, PAGE), read) as folder:
            results: dict[str, Any] = {
                "points": [point for path in found[SURFACE] for point in read_rows(path, SurfacePoint).rows],
                "studies": [encode(read_study(path)) for path in found[STUDY]],
                "names": names,
            }
            summaries = write_tables(rows, folder, twins=twins, caption=self.caption, **results)
            kept = [pair for path in found[ROWS] for pair in read_saved_pairs(path.parent)]
            panels = [
                pair for path in found[SURFACE] for pair in read_saved_pairs(path.parent / PANELS, every_setting=True)
            ]
            figures = write_figures(folder, rows=rows, kept=kept, panels=panels, **results)
            write_page(folder, figures, command_without_folders(command))
        if summaries:
            print_results(results_table(summaries, names, self.caption))
        print_line(f"{len(figures)} figures; report in {self.out / PAGE}")


def saved_names(found: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Return the names of labels that runs on the sets of recipes have saved."""
    kinds = {ROWS: BenchmarkRow, SURFACE: SurfacePoint}
    headers = [
        header for name, kind in kinds.items() for path in found[name] for header in read_rows(path, kind).headers
    ]
    return saved_label_names(headers)


def sort_runs(runs: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the result files of runs, given as files or folders, by file name.

    Raises:
        InputError: A run has no result file.
    """
    found: dict[str, list[Path]] = {name: [] for name in (ROWS, SURFACE, STUDY)}
    for run in runs:
        here = [run / name for name in found if (run / name).is_file()] if run.is_dir() else [run]
        if not here or here[0].name not in found or not here[0].is_file():
            raise InputError(str(run), got="no saved results", expected=f"a folder with {', '.join(found)}, or a file")
        for path in here:
            found[path.name].append(path)
    return found
