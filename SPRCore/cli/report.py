"""`spr report`: the tables and figures of saved runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from SPRCore.analysis.against import PAGE as AGAINST
from SPRCore.analysis.against import Results, against_paper, task_of
from SPRCore.analysis.benchmark import ROWS
from SPRCore.analysis.report import PAGE, TABLES, collect, write_figures, write_page, write_tables
from SPRCore.analysis.rows import BenchmarkRow, SurfacePoint, command_without_folders, read_rows, saved_label_names
from SPRCore.analysis.saved_pairs import read_saved_pairs
from SPRCore.analysis.summary import MethodSummary
from SPRCore.analysis.tables import results_table
from SPRCore.cli.benchmark import Words, assignments, print_results, reference_methods
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
    """Methods to test against reference methods, over subjects; METHOD=A,METHOD=B tests one against several."""

    against: Annotated[Literal["paper"] | None, arg(help_behavior_hint="(optional)")] = None
    """Also write against_paper.md: every number of the paper's tables beside those of the runs, with what differs."""

    task: Annotated[Literal["body", "brain", "heart"] | None, arg(help_behavior_hint="(optional)")] = None
    """With --against: task of the paper, for runs that do not name their data set."""

    counterparts: Annotated[Words, arg(metavar="METHOD=PAPER,...", help_behavior_hint="(default: by the model)")] = ()
    """With --against: method of the paper to compare a method with, such as 'mine=TM-SPR beta'."""

    label_names: Annotated[Words, arg(metavar="LABEL=NAME,...", help_behavior_hint="(default: those of the runs)")] = ()
    """Names of labels, such as 1=RV,2=MYO,3=LV."""

    caption: Annotated[str, arg(metavar="WORDS")] = "Results"
    """Caption of the table."""

    def run(self, command: str) -> None:
        """Read, write, and print the table."""
        if not self.runs:
            raise InputError("RUN", got="none", expected="folders of runs, or their files")
        twins = reference_methods(self.twins) or None
        found = sort_runs(self.runs)
        rows = collect(found[ROWS]) if found[ROWS] else []
        names = saved_names(found) | assignments(self.label_names, "--label-names")
        read = [path for paths in found.values() for path in paths]
        outputs = (*TABLES, PAGE, *([] if self.against is None else [AGAINST]))
        with result_folder(self.out, outputs, read) as folder:
            results: dict[str, Any] = {
                "points": [point for path in found[SURFACE] for point in read_rows(path, SurfacePoint).rows],
                "studies": [encode(read_study(path)) for path in found[STUDY]],
                "names": names,
            }
            summaries = write_tables(rows, folder, twins=twins, caption=self.caption, **results)
            if self.against is not None:
                page = self._against(found[ROWS], summaries, results, command_without_folders(command))
                (folder / AGAINST).write_text(page, encoding="utf-8")
            kept = [pair for path in found[ROWS] for pair in read_saved_pairs(path.parent)]
            panels = [
                pair for path in found[SURFACE] for pair in read_saved_pairs(path.parent / PANELS, every_setting=True)
            ]
            figures = write_figures(folder, rows=rows, kept=kept, panels=panels, **results)
            write_page(folder, figures, command_without_folders(command))
        if summaries:
            print_results(results_table(summaries, names, self.caption))
        print_line(f"{len(figures)} figures; report in {self.out / PAGE}")
        if self.against is not None:
            print_line(f"beside the paper: {self.out / AGAINST}")

    def _against(
        self, paths: Sequence[Path], summaries: Sequence[MethodSummary], results: dict[str, Any], command: str
    ) -> str:
        if not paths:
            raise InputError("--against", got="no result of spr benchmark", expected="at least one run with some")
        headers = [header for path in paths for header in read_rows(path, BenchmarkRow).headers]
        searches = {name: results[name] for name in ("studies", "points")}
        own = Results(rows=collect(paths), summaries=summaries, headers=headers, **searches)
        chosen = assignments(self.counterparts, "--counterparts")
        return against_paper(own, task_of(headers, self.task), chosen, command)


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
