"""Benchmark of methods on pairs: each registration runs in its own process, and every result is saved at once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from SPRCore.analysis.cluster import Cluster
from SPRCore.analysis.interpret import interpret
from SPRCore.analysis.isolated import IsolatedError, run_isolated
from SPRCore.analysis.methods import MethodSpec, provenance_of, run_method
from SPRCore.analysis.provenance import peak_memory_mb
from SPRCore.analysis.rows import BenchmarkRow, RowsHeader, append_row, read_rows, start_rows, without_folders
from SPRCore.analysis.saved_pairs import ABOUT, save_result, saved_folder
from SPRCore.io.pairs import PairFiles, PairList, load_pair
from SPRCore.metrics import MetricConventions, evaluate
from SPRCore.registration import prealign
from SPRCore.registration.devices import pick_device

ROWS = "rows.jsonl"
"""Name of the file of results in the folder of a benchmark."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Options common to all rows of a benchmark.

    Attributes:
        init: Affine pre-alignment, the same for all methods, as for `SPRCore.register`.
        device: Compute device of the methods of this package; baselines run on the CPU.
        seed: Seed of all random numbers.
        timeout_seconds: Time limit of a registration.
        conventions: How labels are warped and over which voxels folding is taken.
    """

    init: str = "auto"
    device: str = "auto"
    seed: int = 0
    timeout_seconds: float = 7200.0
    conventions: MetricConventions = field(default_factory=MetricConventions)


class BenchmarkProgress(Protocol):
    """Called after each registration; `done` counts finished rows."""

    def __call__(self, done: int, count: int, pair: str, method: str, row: BenchmarkRow) -> None:
        """Report progress."""
        ...


def run_benchmark(
    pairs: PairList,
    methods: Sequence[MethodSpec],
    folder: Path,
    options: BenchmarkOptions | None = None,
    *,
    kept_pairs: Sequence[str] = (),
    command: str = "",
    progress: BenchmarkProgress | None = None,
    cluster: Cluster | None = None,
) -> list[BenchmarkRow]:
    """Measure methods on pairs; rows of earlier runs are reused.

    A failed registration becomes a row with the reason, and is repeated by the next run.

    Args:
        pairs: The pairs; their source is saved in the header.
        methods: The methods.
        folder: Folder of the results; created if missing.
        options: Options common to all rows.
        kept_pairs: Names of pairs whose images and fields are saved for figures.
        command: The command line, for the header.
        progress: Progress callback.
        cluster: Where registrations run; None for one after the other on this machine.

    Returns:
        The rows of these pairs and methods.

    Raises:
        InputError: The folder holds other results.
        OutputError: Results cannot be written.
        SPRError: Processes of the cluster were killed repeatedly.
    """
    options = options or BenchmarkOptions()
    path = folder / ROWS
    start_rows(path, RowsHeader(kind="benchmark", command=command, settings=asdict(options) | pairs.settings))
    known = {row.identity: row for row in read_rows(path, BenchmarkRow).rows if row.failed is None}
    rows: dict[int, BenchmarkRow] = {}
    tasks: list[_Task] = []
    wanted = [(pair, method) for pair in pairs for method in methods]

    def add(index: int, row: BenchmarkRow, *, is_new: bool) -> None:
        pair, method = wanted[index]
        rows[index] = row
        if is_new:
            append_row(path, row)
        if progress is not None:
            progress(len(rows), len(wanted), pair.pair, method.label, row)

    for index, (pair, method) in enumerate(wanted):
        row = known.get(identity_of(pair, method, options))
        target = saved_folder(folder, pair.pair, method) if pair.pair in kept_pairs else None
        if row is None or (target is not None and not (target / ABOUT).is_file()):
            tasks.append(_Task(index, pair, method, options, target))
        else:
            renamed = replace(row, method=method.label, twin=method.twins)
            add(index, renamed, is_new=renamed != row)
    with cluster or Cluster() as workers:
        for index, row in workers.run(_row, tasks):
            add(index, row, is_new=True)
    return [rows[index] for index in range(len(wanted))]


def identity_of(pair: PairFiles, method: MethodSpec, options: BenchmarkOptions) -> str:
    """Return the digest of everything that determines a result."""
    chosen = asdict(options)
    del chosen["timeout_seconds"]
    if options.conventions == MetricConventions():  # results from before there were others keep their digest
        del chosen["conventions"]
    parts = [pair.pair, pair.subject, pair.group, pair.digest, method.kind, method.model, method.setting, chosen]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def measure(
    pair: PairFiles, method: MethodSpec, options: BenchmarkOptions, target: Path | None = None
) -> dict[str, Any]:
    """Register one pair in this process and measure the result.

    Args:
        pair: Files of the pair.
        method: The method.
        options: Options common to all rows.
        target: Folder in which images and fields are saved, or None.

    Returns:
        The measured fields of a `BenchmarkRow`.

    Raises:
        SPRError: The pair or the method cannot be used, or the registration failed.
    """
    start = time.perf_counter()
    device = pick_device(options.device)
    loaded = load_pair(pair)
    affine_ras = prealign(loaded.fixed, loaded.moving, options.init).affine_ras
    torch.manual_seed(options.seed)
    result = run_method(method, loaded, affine_ras, str(device))
    total = time.perf_counter() - start
    peak = peak_memory_mb(device if method.prior is not None else torch.device("cpu"), programs=True)
    metrics = evaluate(
        displacement=result.displacement,
        inverse=result.inverse,
        fixed=loaded.fixed,
        moving=loaded.moving,
        warped=result.warped,
        annotations=loaded.annotations,
        conventions=options.conventions,
    )
    if target is not None:
        save_result(target, pair.pair, loaded, method, result, metrics)
    prior = method.prior if affine_ras is None else None  # the prior is on the deformation alone
    labels = loaded.annotations.fixed_labels
    return {
        **metrics,
        "maps": interpret(result.displacement, result.weight, loaded.fixed.original, labels, prior),
        "seconds": result.report["seconds"] | {"total": total},
        "processor_seconds": result.report["processor_seconds"],
        "peak_memory_mb": peak,
        "provenance": provenance_of(method, loaded.fixed.grid),
    }


def latest(rows: Iterable[BenchmarkRow]) -> list[BenchmarkRow]:
    """Return the last row of each method on each pair, of its newest setting, model and metric conventions only.

    Args:
        rows: Rows in the order of writing.
    """
    found = {(row.method, row.pair): row for row in rows}
    newest = {row.method: (row.model, row.setting, row.conventions) for row in rows}
    return [row for row in found.values() if (row.model, row.setting, row.conventions) == newest[row.method]]


class _Task(NamedTuple):
    """A registration of a benchmark."""

    index: int
    pair: PairFiles
    method: MethodSpec
    options: BenchmarkOptions
    target: Path | None


def _row(task: _Task) -> tuple[int, BenchmarkRow]:
    index, pair, method, options, target = task
    what = {
        "pair": pair.pair,
        "subject": pair.subject,
        "group": pair.group,
        "method": method.label,
        "model": method.model,
        "setting": method.setting,
        "conventions": options.conventions,
        "twin": method.twins,
        "identity": identity_of(pair, method, options),
    }
    try:
        measured = run_isolated(measure, pair, method, options, target, timeout_seconds=options.timeout_seconds)
    except IsolatedError as error:
        return index, BenchmarkRow(**what, failed=_without_paths(str(error), pair))
    return index, BenchmarkRow(**what, **measured)


def _without_paths(words: str, pair: PairFiles) -> str:
    for path in vars(pair).values():
        words = words.replace(str(path), path.name) if isinstance(path, Path) else words
    return without_folders(words)
