"""`spr benchmark`: methods times pairs, measured alike, with a table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from SPRCore.analysis.benchmark import ROWS, Options, latest, run_benchmark
from SPRCore.analysis.kept import FOLDER
from SPRCore.analysis.methods import Method, parse_methods
from SPRCore.analysis.pairs import PARTS, PairFiles, read_pairs
from SPRCore.analysis.report import TABLES, write_tables
from SPRCore.analysis.rows import BenchmarkRow
from SPRCore.analysis.tables import Table, results_table
from SPRCore.cli.console import ReportStage, say, stages, table
from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.io.outputs import check_outputs, check_own, result_folder

_PRINTED = ("method", "pairs", "Dice", "TRE, mm", "LNCC", "folding, %", "NDV, %", "seconds", "of processor")

Words = UseAppendAction[tuple[tuple[str, ...], ...]]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Register pairs by several methods, each in a process of its own, and write what came out as a table."""

    pairs: Annotated[Path, arg(metavar="LIST.csv")]
    """Pairs, one a row, with the columns fixed and moving and any of pair, subject, group, fixed_labels, moving_labels,
    fixed_points, moving_points, fixed_mask and moving_mask; paths start from the folder of the list."""

    methods: Annotated[Words, arg(metavar="A,B,...", help_behavior_hint="(required; repeatable)")] = ()
    """Methods: instance, auto, uniform or uniform:LAMBDA, syn, syn-cc, demons, deeds, and names or paths of models.
    With values: NAME@alpha=A,lambda_max=L; with a name for the table: LABEL=NAME."""

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for rows.jsonl and the tables. A run goes on where it stopped: what is measured stays."""

    twins: Annotated[Words, arg(metavar="METHOD=TWIN,...", help_behavior_hint="(optional)")] = ()
    """Methods to test against another one, over subjects."""

    label_names: Annotated[Words, arg(metavar="LABEL=NAME,...", help_behavior_hint="(optional)")] = ()
    """Names of labels, such as 1=RV,2=MYO,3=LV."""

    keep: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PAIR", help_behavior_hint="(repeatable)")] = ()
    """Pair whose images, displacements and weights are kept, for the figures of spr report."""

    init: Literal["auto", "none", "center", "rigid", "affine"] = "auto"
    """Alignment beforehand, the same for all methods; "auto" looks at the pair."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; baselines compute on the processor."""

    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of every random choice."""

    timeout: Annotated[float, arg(metavar="SECONDS")] = 7200.0
    """After how long a registration counts as failed."""

    def run(self, command: str) -> None:
        """Measure, write the tables, and print one."""
        if self.timeout <= 0:
            raise InputError("--timeout", got=f"{self.timeout:g}", expected="more than 0 seconds")
        pairs = read_pairs(self.pairs)
        names = assignments(self.label_names, "--label-names")
        methods = with_twins(parse_methods([word for group in self.methods for word in group]), self.twins)
        for name in self.keep:
            check_name(name, [pair.pair for pair in pairs], "--keep")
        options = Options(init=self.init, device=self.device, seed=self.seed, timeout_seconds=self.timeout)
        read = [self.pairs, *input_files(pairs)]
        check_outputs([self.out / name for name in (ROWS, *TABLES)], read)
        check_apart(self.out / FOLDER, read)
        check_own(self.out, TABLES)
        try:
            with stages() as tell:
                told = {"command": command, "tell": _Teller(tell)}
                rows = run_benchmark(pairs, methods, self.out, options, kept_pairs=self.keep, **told)
        except KeyboardInterrupt:
            where = self.out / ROWS
            raise KeyboardInterrupt(f"interrupted; what was measured is in {where}, the same command goes on") from None
        with result_folder(self.out, TABLES, read) as folder:
            summaries = write_tables(latest(rows), folder, names=names)
        show(results_table(summaries, names))
        failed = sum(row.failed is not None for row in rows)
        say(f"{len(rows)} registrations{f', {failed} of them failed' if failed else ''}; results in {self.out}")


def input_files(pairs: Sequence[PairFiles]) -> list[Path]:
    """Return the files of all pairs."""
    return [path for pair in pairs for part in PARTS if (path := getattr(pair, part)) is not None]


def check_apart(folder: Path, inputs: Sequence[Path]) -> None:
    """Refuse inputs that lie in a folder whose images are written anew.

    Args:
        folder: The folder; it need not exist.
        inputs: Files that are read.

    Raises:
        InputError: One of them lies in it.
    """
    home = folder.resolve()
    for path in inputs:
        if home in path.resolve().parents:
            expected = "inputs apart from what is written"
            raise InputError(str(path), got=f"an input in {folder}", expected=expected, remedy="choose another --out")


def with_twins(methods: list[Method], words: tuple[tuple[str, ...], ...]) -> list[Method]:
    """Give methods the twins that the command line names.

    Args:
        methods: The methods.
        words: What followed `--twins`.

    Returns:
        The methods, some with a twin.

    Raises:
        InputError: A name is not among the methods.
    """
    twins = assignments(words, "--twins")
    labels = [method.label for method in methods]
    for name in (*twins, *twins.values()):
        check_name(name, labels, "--twins")
    return [replace(method, twin=twins.get(method.label)) for method in methods]


def assignments(words: tuple[tuple[str, ...], ...], option: str) -> dict[str, str]:
    """Read A=B,C=D.

    Args:
        words: What followed the option, any number of times.
        option: Its name, for messages.

    Returns:
        Right sides by left sides.

    Raises:
        InputError: An entry is no assignment.
    """
    found = {}
    for entry in (piece.strip() for group in words for word in group for piece in word.split(",") if piece.strip()):
        left, sign, right = entry.partition("=")
        if not (left and sign and right):
            raise InputError(option, got=repr(entry), expected="NAME=OTHER, with commas between several")
        found[left] = right
    return found


def show(results: Table) -> None:
    """Print of a table what fits a terminal: means of what matters most."""
    places = [place for place, title in enumerate(results.header) if title in _PRINTED]
    lines = [[line[place].text.split(" ±")[0] for place in places] for line in results.body]
    table(results.caption, [results.header[place] for place in places], lines)


class _Teller:
    """Says of every registration what it is and how it went."""

    def __init__(self, tell: ReportStage) -> None:
        self._tell = tell

    def __call__(self, done: int, count: int, pair: str, method: str, row: BenchmarkRow | None) -> None:
        if row is None:
            self._tell(f"{done + 1} of {count}: {method} on {pair}", done / count)
        elif row.failed is not None:
            self._tell(f"{method} on {pair} failed: {row.failed}", done / count)
