"""Methods times pairs: each registration in a process of its own, measured alike, every finished one kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from SPRCore.analysis.child import ChildError, in_a_child
from SPRCore.analysis.interpret import interpret
from SPRCore.analysis.kept import ABOUT, keep, place_of
from SPRCore.analysis.methods import Method, run_method
from SPRCore.analysis.pairs import PairFiles, load_pair
from SPRCore.analysis.provenance import peak_memory_mb
from SPRCore.analysis.rows import BenchmarkRow, Header, append_row, read_rows, start_rows, without_folders
from SPRCore.metrics import evaluate
from SPRCore.registration import prealign
from SPRCore.registration.devices import pick_device

ROWS = "rows.jsonl"
"""Name of the file of results in the folder of a benchmark."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What holds for all rows of a benchmark.

    Attributes:
        init: Alignment beforehand, the same for all methods, as for `SPRCore.register`.
        device: Where methods of this package compute; baselines compute on the processor.
        seed: Seed of every random choice.
        timeout_seconds: After how long a registration has failed.
    """

    init: str = "auto"
    device: str = "auto"
    seed: int = 0
    timeout_seconds: float = 7200.0


@runtime_checkable
class Told(Protocol):
    """Called before each registration and after it."""

    def __call__(self, done: int, count: int, pair: str, method: str, row: BenchmarkRow | None) -> None:
        """Take note: `row` is None before; `done` counts finished rows."""
        ...


def run_benchmark(
    pairs: Sequence[PairFiles],
    methods: Sequence[Method],
    folder: Path,
    options: Options | None = None,
    *,
    kept_pairs: Sequence[str] = (),
    command: str = "",
    tell: Told | None = None,
) -> list[BenchmarkRow]:
    """Measure methods on pairs; what was measured before is not measured again.

    A registration that fails becomes a row that says why, is tried again by the next run, and stops nothing.

    Args:
        pairs: The pairs.
        methods: The methods.
        folder: Folder of the results; made if missing.
        options: What holds for all.
        kept_pairs: Names of pairs whose images and fields are kept, for figures.
        command: The command, for the record.
        tell: Told of every registration.

    Returns:
        The rows of these pairs and methods.

    Raises:
        InputError: The folder holds other results.
        OutputError: Results cannot be written.
    """
    options = options or Options()
    path = folder / ROWS
    start_rows(path, Header(kind="benchmark", command=command, settings=asdict(options)))
    known = {row.identity: row for row in read_rows(path, BenchmarkRow).rows if row.failed is None}
    rows: list[BenchmarkRow] = []
    tasks = [(pair, method) for pair in pairs for method in methods]
    for pair, method in tasks:
        row = known.get(identity_of(pair, method, options))
        place = place_of(folder, pair.pair, method) if pair.pair in kept_pairs else None
        if place is not None and not (place / ABOUT).is_file():
            row = None
        if row is None or row.twin != method.twin or row.method != method.label:
            if tell is not None:
                tell(len(rows), len(tasks), pair.pair, method.label, None)
            row = (
                _row(pair, method, options, place)
                if row is None
                else replace(row, method=method.label, twin=method.twin)
            )
            append_row(path, row)
        rows.append(row)
        if tell is not None:
            tell(len(rows), len(tasks), pair.pair, method.label, row)
    return rows


def identity_of(pair: PairFiles, method: Method, options: Options) -> str:
    """Return the digest of all that decides a result."""
    chosen = asdict(options)
    del chosen["timeout_seconds"]
    parts = [pair.pair, pair.subject, pair.group, pair.digest, method.kind, method.model, method.setting, chosen]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def measure(pair: PairFiles, method: Method, options: Options, place: Path | None = None) -> dict[str, Any]:
    """Register one pair in this process and measure the result.

    Args:
        pair: Files of the pair.
        method: How.
        options: What holds for all.
        place: Where to keep images and fields, or None.

    Returns:
        The measured fields of a `BenchmarkRow`.

    Raises:
        SPRError: Something is wrong with the pair or the method.
    """
    start = time.perf_counter()
    device = pick_device(options.device)
    loaded = load_pair(pair)
    affine_ras = prealign(loaded.fixed, loaded.moving, options.init).affine_ras
    torch.manual_seed(options.seed)
    found = run_method(method, loaded.fixed, loaded.moving, affine_ras, str(device))
    total = time.perf_counter() - start
    peak = peak_memory_mb(device if method.prior is not None else torch.device("cpu"), programs=True)
    metrics = evaluate(
        displacement=found.displacement,
        inverse=found.inverse,
        fixed=loaded.fixed,
        moving=loaded.moving,
        warped=found.warped,
        annotations=loaded.annotations,
    )
    if place is not None:
        keep(place, pair.pair, loaded, method, found, metrics)
    prior = method.prior if affine_ras is None else None  # the prior is on the deformation alone
    marked = loaded.annotations.fixed_labels
    return {
        **metrics,
        "maps": interpret(found.displacement, found.weight, loaded.fixed.original, marked, prior),
        "seconds": found.seconds | {"total": total},
        "processor_seconds": found.processor_seconds,
        "peak_memory_mb": peak,
    }


def latest(rows: Iterable[BenchmarkRow]) -> list[BenchmarkRow]:
    """Return the last row of each method on each pair, without those of older settings or models of a method.

    Args:
        rows: Rows in the order of writing.

    Returns:
        The rows, methods in the order of their first one.
    """
    found = {(row.method, row.pair): row for row in rows}
    newest = {row.method: (row.model, row.setting) for row in rows}
    return [row for row in found.values() if (row.model, row.setting) == newest[row.method]]


def _row(pair: PairFiles, method: Method, options: Options, place: Path | None) -> BenchmarkRow:
    what = {
        "pair": pair.pair,
        "subject": pair.subject,
        "group": pair.group,
        "method": method.label,
        "model": method.model,
        "setting": method.setting,
        "twin": method.twin,
        "identity": identity_of(pair, method, options),
    }
    try:
        measured = in_a_child(measure, pair, method, options, place, timeout_seconds=options.timeout_seconds)
    except ChildError as error:
        return BenchmarkRow(**what, failed=_without_places(str(error), pair))
    return BenchmarkRow(**what, **measured)


def _without_places(words: str, pair: PairFiles) -> str:
    for path in vars(pair).values():
        words = words.replace(str(path), path.name) if isinstance(path, Path) else words
    return without_folders(words)
