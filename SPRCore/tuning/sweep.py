"""Sweeps: a method at every setting of a grid on every pair; a pair is prepared once, a point is saved at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from SPRCore.analysis.cluster import Cluster, PreparedFunction, has_distributed
from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.rows import RowsHeader, SurfacePoint, append_row, read_rows, start_rows
from SPRCore.config import finite
from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import kept_memory
from SPRCore.io.pairs import PairFiles, PairList, load_pair
from SPRCore.registration import LoadedModel, model_prior
from SPRCore.registration.devices import pick_device
from SPRCore.tuning.evaluator import Evaluator
from SPRCore.tuning.ready import ReadyPair, ready, setting_prior

SURFACE = "surface.jsonl"
"""Name of the file of results in the folder of a sweep."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Options of a sweep.

    Attributes:
        init: Affine pre-alignment, as for `SPRCore.register`.
        device: Compute device.
        processes: Number of processes; None for one per core on the CPU where dask.distributed is installed, else one.
        scheduler: Address of a dask scheduler whose workers measure, in place of own processes.
    """

    init: str = "auto"
    device: str = "auto"
    processes: int | None = None
    scheduler: str | None = None

    @property
    def workers(self) -> int:
        """Number of processes."""
        if self.processes is not None:
            return self.processes
        return cores() if has_distributed() and pick_device(self.device).type == "cpu" else 1


def run_sweep(
    pairs: PairList,
    method: MethodSpec,
    settings: Sequence[dict[str, float]],
    folder: Path,
    options: SweepOptions | None = None,
    *,
    command: str = "",
    report: Callable[[int, int], None] | None = None,
) -> list[SurfacePoint]:
    """Measure a method at settings of its hyperparameters on pairs; points in the folder are not measured again.

    A setting that does not converge becomes a point with the reason, and is tried again by the next run.

    Args:
        pairs: The pairs; their source is saved in the header.
        method: A model, or the instance optimization.
        settings: Values of the hyperparameters.
        folder: Folder of the results, created if missing.
        options: Alignment, device and processes.
        command: Command line, for the record.
        report: Called with the number of finished points and of all.

    Returns:
        The points of these pairs and settings, in their order.

    Raises:
        InputError: A pair, a setting or the folder cannot be used.
        OutputError: Results cannot be written.
        SPRError: The processes of a task were killed repeatedly.
    """
    options = options or SweepOptions()
    _check_settings(method, settings)
    path = folder / SURFACE
    known = {"pairs": {pair.pair: pair.digest for pair in pairs}, "init": options.init}
    _check_same(path, known)
    settings_of_run = known | {"device": options.device} | pairs.settings
    start_rows(path, RowsHeader(kind="surface", command=command, settings=settings_of_run))
    done = _saved(path, method)
    tasks = [(pair, setting) for pair in pairs for setting in settings if _key(pair.pair, setting) not in done]
    count = len(pairs) * len(settings)
    worker = PreparedFunction(SweepWorker, method, options.init, options.device)
    with Cluster(min(options.workers, max(1, len(tasks))), options.scheduler) as cluster:
        for finished, point in enumerate(cluster.run(worker, tasks), start=count - len(tasks) + 1):
            append_row(path, point)
            if report is not None:
                report(finished, count)
    found = _saved(path, method, failed=True)
    return [found[_key(pair.pair, setting)] for pair in pairs for setting in settings]


class SweepWorker:
    """Measures settings of a method on pairs.

    Args:
        method: The method.
        init: Affine pre-alignment.
        device: Compute device.
        cached: Number of pairs that stay in memory; of the others only the latest does.
    """

    def __init__(self, method: MethodSpec, init: str, device: str, cached: int = 0) -> None:
        self._method, self._init, self._size = method, init, cached
        self._device = pick_device(device)
        self._model = None if method.path is None else LoadedModel.read(method.path, self._device)
        card = None if self._model is None else self._model.card
        self._trained = {} if card is None else {name: card.ranges[name][1] for name in card.conditioning}
        self._cached: dict[str, tuple[ReadyPair, Evaluator]] = {}
        self._latest: dict[str, tuple[ReadyPair, Evaluator]] = {}

    def __call__(self, task: tuple[PairFiles, dict[str, float]]) -> SurfacePoint:
        """Measure a pair at a setting."""
        with kept_memory():
            return self.point(*task)

    def point(self, pair: PairFiles, setting: Mapping[str, float]) -> SurfacePoint:
        """Measure a pair at a setting.

        Returns:
            The point; with the reason where the method did not converge.

        Raises:
            InputError: The pair or the setting cannot be used.
        """
        method = self._method
        named = {"pair": pair.pair, "subject": pair.subject, "group": pair.group}
        named |= {"method": method.label, "model": method.model, "setting": dict(setting), "trained": self._trained}
        prepared, evaluator = self._prepared(pair)
        prior = setting_prior(method, setting)
        try:
            measured = evaluator.measure(prepared.solve(prior), prior)
        except ConvergenceError as error:
            return SurfacePoint(**named, failed=str(error))
        return SurfacePoint(**named, **finite(measured))

    def _prepared(self, pair: PairFiles) -> tuple[ReadyPair, Evaluator]:
        cache = self._cached if pair.pair in self._cached else self._latest
        if pair.pair not in cache:
            self._latest.clear()  # before the next is prepared: the features of a network can be large
            cache = self._cached if len(self._cached) < self._size else self._latest
            loaded = load_pair(pair)
            prepared = ready(loaded, self._method, self._model, self._init, self._device)
            cache[pair.pair] = prepared, Evaluator(prepared, loaded.annotations)
        return cache[pair.pair]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _saved(path: Path, method: MethodSpec, failed: bool = False) -> dict[tuple, SurfacePoint]:
    rows = read_rows(path, SurfacePoint).rows
    own = (row for row in rows if (row.method, row.model) == (method.label, method.model))
    return {_key(row.pair, row.setting): row for row in own if failed or row.failed is None}


def _key(pair: str, setting: Mapping[str, float]) -> tuple:
    return pair, *sorted((name, float(value)) for name, value in setting.items())


def _check_settings(method: MethodSpec, settings: Iterable[Mapping[str, float]]) -> None:
    """Refuse a setting that the method cannot take before anything is computed."""
    from SPRCore.io import read_card

    card = None if method.path is None else read_card(method.path)
    for setting in settings:
        prior = setting_prior(method, setting)
        if card is not None:
            model_prior(card, prior)


def _check_same(path: Path, known: dict) -> None:
    """Refuse a folder with other files for these pair names, or another alignment."""
    remedy = "choose another --out"
    for header in read_rows(path, SurfacePoint).headers if path.exists() and path.stat().st_size else ():
        was = header.settings
        if was.get("init") != known["init"]:
            got = f"points after init {was.get('init')}"
            raise InputError(str(path), got=got, expected=known["init"], remedy=remedy)
        for name, digest in known["pairs"].items():
            if was.get("pairs", {}).get(name, digest) != digest:
                got = f"points of other files for {name!r}"
                raise InputError(str(path), got=got, expected="the same files", remedy=remedy)
