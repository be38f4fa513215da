"""`spr benchmark`: measure methods on pairs, with tables of the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from SPRCore.analysis.benchmark import ROWS, BenchmarkOptions, latest, run_benchmark
from SPRCore.analysis.cluster import Cluster
from SPRCore.analysis.methods import MethodSpec, parse_methods
from SPRCore.analysis.report import TABLES, write_tables
from SPRCore.analysis.rows import BenchmarkRow
from SPRCore.analysis.saved_pairs import FOLDER
from SPRCore.analysis.tables import ResultTable, results_table
from SPRCore.api import ProgressCallback
from SPRCore.cli.console import print_line, print_table, progress_display
from SPRCore.cli.evaluation_pairs import given_pairs, input_files, pair_init
from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.io.outputs import check_outputs, check_own, result_folder
from SPRCore.metrics import FoldingRegion, LabelInterpolation, MetricConventions

_PRINTED = ("method", "pairs", "Dice", "TRE, mm", "LNCC", "folding, %", "NDV, %", "seconds", "of processor")

Words = UseAppendAction[tuple[tuple[str, ...], ...]]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Register pairs by several methods, each registration in its own process, and write tables of the results."""

    pairs: Annotated[Path | None, arg(metavar="LIST.csv", help_behavior_hint="(this or --recipe)")] = None
    """Pairs, one per row, with the columns fixed and moving and any of pair, subject, group, fixed_labels,
    moving_labels, fixed_points, moving_points, fixed_mask, moving_mask, fixed_channel and moving_channel; relative
    paths start from the folder of the list."""

    recipe: Annotated[Path | None, arg(metavar="RECIPE.yaml", help_behavior_hint="(this or --pairs)")] = None
    """Recipe, as for spr train, one of whose sets is registered: its images as prepared for training, its pairs, labels
    and their names. Methods run and metrics are computed on the prepared images."""

    chosen: Annotated[Words, arg(name="set", metavar="SET|KEY=VALUE", help_behavior_hint="(with --recipe)")] = ()
    """Set of the recipe, validation or test, and changes to the recipe, such as test data.folder=DIR."""

    methods: Annotated[Words, arg(metavar="A,B,...", help_behavior_hint="(required; repeatable)")] = ()
    """Methods: instance, auto, uniform or uniform:LAMBDA, syn, syn-cc, demons, deeds, and names or paths of models.
    With values: NAME@alpha=A,lambda_max=L; with a name for the table: LABEL=NAME."""

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for rows.jsonl and the tables. A run resumes where it stopped."""

    twins: Annotated[Words, arg(metavar="METHOD=REFERENCE,...", help_behavior_hint="(optional)")] = ()
    """Methods to test against reference methods, over subjects; METHOD=A,METHOD=B tests one against several."""

    label_names: Annotated[
        Words, arg(metavar="LABEL=NAME,...", help_behavior_hint="(default: those of the recipe)")
    ] = ()
    """Names of labels, such as 1=RV,2=MYO,3=LV."""

    keep: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PAIR", help_behavior_hint="(repeatable)")] = ()
    """Pair whose images, displacements and weights are saved for the figures of spr report."""

    init: Literal["auto", "none", "center", "rigid", "affine"] = "auto"
    """Affine pre-alignment, the same for all methods; "auto" decides by the pair, and with --recipe is none."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Compute device; baselines run on the CPU."""

    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of all random numbers."""

    label_interpolation: LabelInterpolation = "nearest"
    """How moving labels are warped: the nearest voxel, or each label linearly and the highest taken, as the author of
    the paper does."""

    folding_over: FoldingRegion = "volume"
    """Voxels over which folding and non-diffeomorphic volume are taken: all, or the foreground (the fixed image above
    its lowest value), as the author of the paper does."""

    timeout: Annotated[float, arg(metavar="SECONDS")] = 7200.0
    """Time limit of a registration."""

    processes: Annotated[int, arg(metavar="N")] = 1
    """Registrations at a time; more than one needs the extra `cluster`. Times are then those of a shared machine."""

    scheduler: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(optional)")] = None
    """Address of a running dask scheduler, such as tcp://host:8786, whose workers register in its place."""

    def run(self, command: str) -> None:
        """Run the benchmark, write the tables, and print one."""
        if self.timeout <= 0:
            raise InputError("--timeout", got=f"{self.timeout:g}", expected="more than 0 seconds")
        methods = with_references(parse_methods([word for group in self.methods for word in group]), self.twins)
        own_names = assignments(self.label_names, "--label-names")
        pairs = given_pairs(self.pairs, self.recipe, self.chosen)
        names = {**pairs.label_names, **own_names}
        for name in self.keep:
            check_name(name, [pair.pair for pair in pairs], "--keep")
        check_processes(self.processes)
        conventions = MetricConventions(label_interpolation=self.label_interpolation, folding_over=self.folding_over)
        common = {
            "init": pair_init(self.init, self.recipe),
            "device": self.device,
            "seed": self.seed,
            "conventions": conventions,
        }
        options = BenchmarkOptions(timeout_seconds=self.timeout, **common)
        cluster = Cluster(self.processes, self.scheduler)
        read = [path for path in (self.pairs, self.recipe, *input_files(pairs)) if path is not None]
        check_outputs([self.out / name for name in (ROWS, *TABLES)], read)
        check_apart(self.out / FOLDER, read)
        check_own(self.out, TABLES)
        try:
            with progress_display() as report_stage:
                report_stage(f"{len(pairs) * len(methods)} registrations", 0.0)
                more = {"command": command, "progress": _BenchmarkReporter(report_stage), "cluster": cluster}
                rows = run_benchmark(pairs, methods, self.out, options, kept_pairs=self.keep, **more)
        except KeyboardInterrupt:
            where = self.out / ROWS
            raise KeyboardInterrupt(f"interrupted; results so far are in {where}, the same command resumes") from None
        with result_folder(self.out, TABLES, read) as folder:
            summaries = write_tables(latest(rows), folder, names=names)
        print_results(results_table(summaries, names))
        failed = sum(row.failed is not None for row in rows)
        print_line(f"{len(rows)} registrations{f', {failed} of them failed' if failed else ''}; results in {self.out}")


def check_processes(processes: int | None) -> None:
    """Refuse a number of processes below 1."""
    if processes is not None and processes < 1:
        raise InputError("--processes", got=str(processes), expected="1 or more")


def check_apart(folder: Path, inputs: Sequence[Path]) -> None:
    """Refuse inputs inside of a folder whose images are rewritten (`InputError`)."""
    home = folder.resolve()
    for path in inputs:
        if home in path.resolve().parents:
            expected = "inputs outside of the output folder"
            raise InputError(str(path), got=f"an input in {folder}", expected=expected, remedy="choose another --out")


def with_references(methods: list[MethodSpec], words: tuple[tuple[str, ...], ...]) -> list[MethodSpec]:
    """Return the methods with the reference methods that `--twins` gives them.

    Raises:
        InputError: A name is not among the methods.
    """
    twins = reference_methods(words)
    labels = [method.label for method in methods]
    for name in (*twins, *(other for others in twins.values() for other in others)):
        check_name(name, labels, "--twins")
    return [replace(method, twins=twins.get(method.label, ())) for method in methods]


def reference_methods(words: tuple[tuple[str, ...], ...]) -> dict[str, tuple[str, ...]]:
    """Parse `--twins`: the reference methods of each method, in their order (`InputError` if it is no assignment)."""
    found: dict[str, tuple[str, ...]] = {}
    for method, reference in _assigned(words, "--twins"):
        found[method] = tuple(dict.fromkeys((*found.get(method, ()), reference)))
    return found


def assignments(words: tuple[tuple[str, ...], ...], option: str) -> dict[str, str]:
    """Parse the values `A=B,C=D` of a repeatable option into a dictionary.

    Raises:
        InputError: An entry is not an assignment.
    """
    return dict(_assigned(words, option))


def _assigned(words: tuple[tuple[str, ...], ...], option: str) -> Iterator[tuple[str, str]]:
    for entry in (piece.strip() for group in words for word in group for piece in word.split(",") if piece.strip()):
        left, sign, right = entry.partition("=")
        if not (left and sign and right):
            raise InputError(option, got=repr(entry), expected="NAME=OTHER, with commas between several")
        yield left, right


def print_results(results: ResultTable) -> None:
    """Print the means of the main columns of a table."""
    columns = [column for column, title in enumerate(results.header) if title in _PRINTED]
    lines = [[line[column].text.split(" ±")[0] for column in columns] for line in results.body]
    print_table(results.caption, [results.header[column] for column in columns], lines)


class _BenchmarkReporter:
    """Reports each finished registration."""

    def __init__(self, report_stage: ProgressCallback) -> None:
        self._report_stage = report_stage

    def __call__(self, done: int, count: int, pair: str, method: str, row: BenchmarkRow) -> None:
        outcome = "" if row.failed is None else f" failed: {row.failed}"
        self._report_stage(f"{done} of {count}: {method} on {pair}{outcome}", done / count)
