"""`spr report`: the tables and figures of saved runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from SPRCore.analysis.report import collect, write_tables
from SPRCore.analysis.tables import results_table
from SPRCore.cli.benchmark import Words, assignments, show
from SPRCore.cli.console import say
from SPRCore.io import atomic_directory


@dataclass(frozen=True, kw_only=True)
class Report:
    """Make the tables and figures of runs of `spr benchmark`."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """Folders of runs on the same pairs, or their files."""

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for the report; made if missing."""

    twins: Annotated[Words, arg(metavar="METHOD=TWIN,...", help_behavior_hint="(default: those of the runs)")] = ()
    """Methods to test against another one, over subjects."""

    label_names: Annotated[Words, arg(metavar="LABEL=NAME,...", help_behavior_hint="(optional)")] = ()
    """Names of labels, such as 1=RV,2=MYO,3=LV."""

    caption: Annotated[str, arg(metavar="WORDS")] = "Results"
    """What the table shows."""

    def run(self, command: str) -> None:
        """Read, write, and print the table."""
        names = assignments(self.label_names, "--label-names")
        twins = assignments(self.twins, "--twins") or None
        rows = collect(self.runs)
        with atomic_directory(self.out) as folder:
            summaries = write_tables(rows, folder, names=names, twins=twins, caption=self.caption)
        show(results_table(summaries, names, self.caption))
        say(f"report in {self.out}")
