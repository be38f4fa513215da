"""Studies from start to end: created or resumed, run by several processes, and written to a file."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from SPRCore.errors import InputError, SPRError
from SPRCore.tuning.outcome import best_of, marked, outcome, write_best
from SPRCore.tuning.storage import without_password
from SPRCore.tuning.studies import STUDY, Study, write_study
from SPRCore.tuning.targets import RecipeTarget
from SPRCore.tuning.trials import trial_records
from SPRCore.tuning.worker import StudyConfig, open_study, work

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger("SPRCore")

_DIGEST = "asked"  # attribute of a study in the storage
_POLL_SECONDS = 1.0

ReportTrials = Callable[[int, int, "float | None"], None]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Results of a study.

    Attributes:
        study: Outcome.
        path: Its file.
        bundle: The model of the best trial, or None.
    """

    study: Study
    path: Path
    bundle: Path | None


def run_study(
    config: StudyConfig,
    folder: Path,
    *,
    target: str,
    band: float,
    processes: int = 1,
    command: str = "",
    report: ReportTrials | None = None,
) -> Finished:
    """Run the remaining trials of a study, together with all other processes at its storage, and write its file.

    Args:
        config: The study.
        folder: Folder of the results.
        target: Name of the target.
        band: Largest difference to the best value of a trial within the tolerance.
        processes: Processes to start; 1 runs the trials in this one.
        command: Command line, for the record.
        report: Called with the number of finished trials, of all trials, and the best value so far or None.

    Raises:
        InputError: The storage holds another study of this name, or data or configuration cannot be used.
        SPRError: Too many trials or processes failed.
    """
    study = open_study(config)
    _check_same(study, config)

    def progress() -> None:
        if report is not None:
            report(*_progress(study, config))

    progress()
    try:
        if processes > 1:
            _work_together(config, processes, progress)
        else:
            work(config, progress)
    finally:  # also of an interrupted study
        found = outcome(config, study, target=target, band=band, command=without_password(command))
        path = folder / STUDY
        write_study(found, path)
    return Finished(study=found, path=path, bundle=write_best(config, found, folder))


def _progress(study: optuna.Study, config: StudyConfig) -> tuple[int, int, float | None]:
    records = marked(trial_records(study.get_trials(deepcopy=False)), config.objective)
    done, best = sum(record.state != "running" for record in records), best_of(records, config.objective)
    return done, max(config.trials, done), None if best is None else best.value


def _check_same(study: optuna.Study, config: StudyConfig) -> None:
    """Refuse a study of the same name with other data, models, ranges or objective."""
    known = study.user_attrs.get(_DIGEST)
    digest = identity(config)
    if known is None:
        study.set_user_attr(_DIGEST, digest)
    elif known != digest:
        raise InputError(
            f"study {config.study}",
            got="other data, models, ranges or objective than it began with",
            expected="the same",
            remedy="choose another --study, or another --out or --storage",
        )


def identity(config: StudyConfig) -> str:
    """Return a digest of target, data, parameters and objective, independent of the folders."""
    target = config.target
    if isinstance(target, RecipeTarget):
        values = target.recipe.to_dict()
        for name in ("output", "device", "workers", "checkpoint", "card"):
            values.pop(name, None)
        for name in ("folder", "listing", "cache", "also"):
            values["data"].pop(name, None)
        common: Any = values
    else:
        method = target.method
        common = [method.kind, method.model, method.setting, target.init]
        common += [[pair.pair, pair.digest] for pair in target.pairs]
    parts = [common, [asdict(each) for each in config.parameters], asdict(config.objective)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _work_together(config: StudyConfig, processes: int, progress: Callable[[], None]) -> None:
    """Work in several processes; killed ones are replaced, at most as many as there are processes."""
    threads = max(1, torch.get_num_threads() // processes)
    running = [_WorkerProcess(config, threads) for _ in range(processes)]
    killed = 0
    try:
        while running:
            wait_for([process.sentinel for process in running], timeout=_POLL_SECONDS)
            for process in [process for process in running if not process.is_running]:
                running.remove(process)
                if not process.was_killed():
                    continue
                killed += 1
                if killed <= processes:
                    logger.warning("A process was killed; another one replaces it.")
                    running.append(_WorkerProcess(config, threads))
            progress()
    finally:
        for process in running:
            process.stop()
    if killed == 2 * processes:
        remedy = "the same command resumes; try fewer --processes"
        raise SPRError("all processes were killed", got="perhaps too little memory", remedy=remedy)


class _WorkerProcess:
    """A process that runs trials."""

    def __init__(self, config: StudyConfig, threads: int) -> None:
        start = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        self._receiver, sender = start.Pipe(duplex=False)
        self._process = start.Process(target=_serve, args=(sender, config, threads), daemon=False)
        self._process.start()
        sender.close()

    @property
    def sentinel(self) -> Any:
        return self._process.sentinel

    @property
    def is_running(self) -> bool:
        return self._process.exitcode is None

    def was_killed(self) -> bool:
        """Whether the process ended without a result; its error is raised."""
        try:
            error = self._receiver.recv()
        except EOFError:
            return True
        finally:
            self._receiver.close()
        if error is not None:
            raise error
        return False

    def stop(self) -> None:
        """Terminate the process; its trial is repeated by the next run."""
        self._process.terminate()
        self._process.join(30.0)
        if self.is_running:
            self._process.kill()
            self._process.join()
        self._receiver.close()


def _serve(sender: Any, config: StudyConfig, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent handles it
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        work(config)
    except KeyboardInterrupt:
        sys.exit(130)
    except SPRError as error:
        sender.send(error)
    except Exception as error:
        sender.send(SPRError(f"{type(error).__name__}: {error}"))
    else:
        sender.send(None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    wait_for([multiprocessing.parent_process().sentinel])
    os._exit(1)
