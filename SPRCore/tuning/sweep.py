"""Sweeps: a method at every setting of a grid on every pair, each pair prepared once, every point kept at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.pairs import PairFiles, load_pair
from SPRCore.analysis.rows import RowsHeader, SurfacePoint, append_row, read_rows, start_rows
from SPRCore.config import finite
from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import kept_memory
from SPRCore.registration import LoadedModel, model_prior
from SPRCore.registration.devices import pick_device
from SPRCore.tuning.pool import Pool
from SPRCore.tuning.ready import ReadyPair, ready, setting_prior
from SPRCore.tuning.yardstick import Yardstick

SURFACE = "surface.jsonl"
"""Name of the file of results in the folder of a sweep."""

_CHUNK = 8  # settings between two words of progress; also what an interruption waits for

Setting = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What holds for all points of a sweep.

    Attributes:
        init: Alignment beforehand, as for `SPRCore.register`.
        device: Where to compute.
        processes: Processes at work; None for one per core, or one on another device than the processor.
    """

    init: str = "auto"
    device: str = "auto"
    processes: int | None = None

    @property
    def workers(self) -> int:
        """Processes at work."""
        if self.processes is not None:
            return self.processes
        return cores() if pick_device(self.device).type == "cpu" else 1


def run_sweep(
    pairs: Sequence[PairFiles],
    method: MethodSpec,
    settings: Sequence[Setting],
    folder: Path,
    options: SweepOptions | None = None,
    *,
    command: str = "",
    tell: Callable[[int, int], None] | None = None,
) -> list[SurfacePoint]:
    """Measure a method at settings of its hyperparameters on pairs; what was measured before is not measured again.

    A setting that leaves the numbers becomes a point that says so, and is tried again by the next run.

    Args:
        pairs: The pairs.
        method: A model, or the instance solver.
        settings: Values of the hyperparameters.
        folder: Folder of the results; made if missing.
        options: What holds for all.
        command: The command, for the record.
        tell: Told how many points of how many are done.

    Returns:
        The points of these pairs and settings, in their order.

    Raises:
        InputError: A pair, a setting or the folder cannot be used.
        OutputError: Results cannot be written.
        SPRError: A process was lost.
    """
    options = options or SweepOptions()
    _check_settings(method, settings)
    path = folder / SURFACE
    known = {"pairs": {pair.pair: pair.digest for pair in pairs}, "init": options.init}
    _check_same(path, known)
    start_rows(path, RowsHeader(kind="surface", command=command, settings=known | {"device": options.device}))
    done = _kept(path, method)
    chunks = list(_chunks(pairs, settings, done))
    count = len(pairs) * len(settings)
    finished = count - sum(len(chunk) for _, chunk in chunks)
    plan = Plan(method=method, init=options.init, device=options.device, path=path)
    with Pool(Surveyor, (plan,), min(options.workers, max(1, len(chunks)))) as pool:
        for size in pool.run(chunks):
            finished += size
            if tell is not None:
                tell(finished, count)
    found = _kept(path, method, failed=True)
    return [found[_key(pair.pair, setting)] for pair in pairs for setting in settings]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a process of a sweep has to know."""

    method: MethodSpec
    init: str
    device: str
    path: Path | None


class Surveyor:
    """Measures settings of a method on pairs.

    Args:
        plan: How.
        keep: The first pairs, so many of them, stay in memory; of the others the latest one alone.
    """

    def __init__(self, plan: Plan, keep: int = 0) -> None:
        self._plan, self._device, self._keep = plan, pick_device(plan.device), keep
        path = plan.method.path
        self._model = None if path is None else LoadedModel.read(path, self._device)
        self._kept: dict[str, tuple[ReadyPair, Yardstick]] = {}
        self._latest: dict[str, tuple[ReadyPair, Yardstick]] = {}

    def __call__(self, chunk: tuple[PairFiles, Sequence[Setting]]) -> int:
        """Measure a pair at some settings and write the points down; return their number."""
        pair, settings = chunk
        with kept_memory():
            for setting in settings:
                append_row(self._plan.path, self.point(pair, setting))
        return len(settings)

    def point(self, pair: PairFiles, setting: Mapping[str, float]) -> SurfacePoint:
        """Measure a pair at a setting.

        Args:
            pair: The pair.
            setting: Hyperparameters by name.

        Returns:
            The point; with the reason where the method left the numbers.

        Raises:
            InputError: The pair or the setting cannot be used.
        """
        method = self._plan.method
        named = {"pair": pair.pair, "subject": pair.subject, "group": pair.group}
        what = named | {"method": method.label, "model": method.model, "setting": dict(setting)}
        ready_pair, yardstick = self._prepared(pair)
        try:
            measured = yardstick.measure(ready_pair.solve(setting_prior(method, setting)))
        except ConvergenceError as error:
            return SurfacePoint(**what, failed=str(error))
        return SurfacePoint(**what, **finite(measured))

    def _prepared(self, pair: PairFiles) -> tuple[ReadyPair, Yardstick]:
        known = self._kept if pair.pair in self._kept else self._latest
        if pair.pair not in known:
            self._latest.clear()  # before the next one is made: what a network keeps of a pair can be large
            known = self._kept if len(self._kept) < self._keep else self._latest
            loaded = load_pair(pair)
            prepared = ready(loaded, self._plan.method, self._model, self._plan.init, self._device)
            known[pair.pair] = prepared, Yardstick(prepared, loaded.annotations)
        return known[pair.pair]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chunks(
    pairs: Sequence[PairFiles], settings: Sequence[Setting], done: dict
) -> Iterator[tuple[PairFiles, list[Setting]]]:
    """What is left to do, a pair after the other, so that all processes have the same pair in memory."""
    for pair in pairs:
        left = [setting for setting in settings if _key(pair.pair, setting) not in done]
        for start in range(0, len(left), _CHUNK):
            yield pair, left[start : start + _CHUNK]


def _kept(path: Path, method: MethodSpec, failed: bool = False) -> dict[tuple, SurfacePoint]:
    rows = read_rows(path, SurfacePoint).rows
    own = (row for row in rows if (row.method, row.model) == (method.label, method.model))
    return {_key(row.pair, row.setting): row for row in own if failed or row.failed is None}


def _key(pair: str, setting: Setting) -> tuple:
    return pair, *sorted((name, float(value)) for name, value in setting.items())


def _check_settings(method: MethodSpec, settings: Iterable[Setting]) -> None:
    """Refuse a setting before anything is computed that the method cannot take."""
    from SPRCore.io import read_card

    card = None if method.path is None else read_card(method.path)
    for setting in settings:
        prior = setting_prior(method, setting)
        if card is not None:
            model_prior(card, prior)


def _check_same(path: Path, known: dict) -> None:
    """Refuse to go on in a folder with other pairs of the same names, or aligned otherwise."""
    for header in read_rows(path, SurfacePoint).headers if path.exists() and path.stat().st_size else ():
        was = header.settings
        if was.get("init") != known["init"]:
            raise InputError(
                str(path),
                got=f"points after init {was.get('init')}",
                expected=known["init"],
                remedy="choose another --out",
            )
        for name, digest in known["pairs"].items():
            if was.get("pairs", {}).get(name, digest) != digest:
                remedy = "choose another --out"
                raise InputError(str(path), got=f"points of other files for {name!r}", expected="those", remedy=remedy)
