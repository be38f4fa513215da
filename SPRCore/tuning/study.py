"""Studies from end to end: begun or gone on with, worked on by several processes, and written down."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from SPRCore.errors import InputError, SPRError
from SPRCore.tuning.outcome import outcome, write_best
from SPRCore.tuning.pool import context, end_with_parent
from SPRCore.tuning.queue import slots_of
from SPRCore.tuning.storage import without_password
from SPRCore.tuning.studies import STUDY, Study, write_study
from SPRCore.tuning.targets import RecipeTarget
from SPRCore.tuning.worker import Task, open_study, work

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger("SPRCore")

_ASKED = "asked"  # attribute of a study: digest of all that its trials have in common
_LOOK_SECONDS = 1.0

Tell = Callable[[int, int, "float | None"], None]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What is left of a study.

    Attributes:
        study: What it found.
        path: Its file.
        bundle: The model of the best trial, or None.
    """

    study: Study
    path: Path
    bundle: Path | None


def run_study(
    task: Task,
    folder: Path,
    *,
    target: str,
    band: float,
    processes: int = 1,
    command: str = "",
    tell: Tell | None = None,
) -> Finished:
    """Do the trials of a study that are left, together with all other processes at its storage, and write it down.

    Args:
        task: The study.
        folder: Where to write what it found.
        target: Name of what is tuned.
        band: By how much a trial may fall short of the best one and still count as good.
        processes: Processes to start here; 1 works in this one.
        command: The command, for the record.
        tell: Told how many trials of how many are done, and the best value so far, or None.

    Returns:
        What it found.

    Raises:
        InputError: The storage holds another study of this name, or something that concerns all trials is wrong.
        SPRError: Trials or processes failed one after the other.
    """
    study, _ = open_study(task)
    _check_same(study, task)

    def look() -> None:
        if tell is not None:
            tell(*_standing(study, task))

    look()
    try:
        if processes > 1:
            _work_together(task, processes, look)
        else:
            work(task, look)
    finally:  # of an interrupted study, too, there is something to see
        found = outcome(task, study, target=target, band=band, command=without_password(command))
        path = folder / STUDY
        write_study(found, path)
    return Finished(study=found, path=path, bundle=write_best(task, found, folder))


def _standing(study: optuna.Study, task: Task) -> tuple[int, int, float | None]:
    slots = slots_of(study.get_trials(deepcopy=False), task.trials)
    ended = [slot.last for slot in slots if not slot.is_open and not slot.is_running]
    values = [trial.value for trial in ended if trial.state.name == "COMPLETE"]
    best = (max if task.objective.direction == "maximize" else min)(values, default=None)
    return len(ended), task.trials, best


def _check_same(study: optuna.Study, task: Task) -> None:
    """Refuse a study of the same name whose trials were others."""
    known = study.user_attrs.get(_ASKED)
    digest = identity(task)
    if known is None:
        study.set_user_attr(_ASKED, digest)
    elif known != digest:
        raise InputError(
            f"study {task.study}",
            got="other data, models, ranges or objective than it began with",
            expected="those",
            remedy="choose another --study, or another --out or --storage",
        )


def identity(task: Task) -> str:
    """Return a digest of all that the trials of a study have in common, wherever its files lie."""
    target = task.target
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
    parts = [common, [asdict(each) for each in task.parameters], asdict(task.objective)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _work_together(task: Task, processes: int, look: Callable[[], None]) -> None:
    """Work in several processes; one that is lost is replaced, as often as there are processes."""
    threads = max(1, torch.get_num_threads() // processes)
    team = [_Member(task, threads) for _ in range(processes)]
    spare = processes
    try:
        while any(member.is_working for member in team):
            wait_for([member.sentinel for member in team if member.is_working], timeout=_LOOK_SECONDS)
            for member in list(team):
                if member.is_working or member.is_counted:
                    continue
                if member.lost() and spare:
                    logger.warning("A process was lost; another one takes its place.")
                    spare -= 1
                    team.append(_Member(task, threads))
            look()
    finally:
        for member in team:
            member.end()
    if all(member.was_lost for member in team):
        remedy = "the same command goes on; try fewer --processes"
        raise SPRError("all processes were lost", got="perhaps too little memory", remedy=remedy)


class _Member:
    """A process that does trials."""

    def __init__(self, task: Task, threads: int) -> None:
        start = context()
        self._receiver, sender = start.Pipe(duplex=False)
        self._process = start.Process(target=_serve, args=(sender, task, threads), daemon=False)
        self._process.start()
        sender.close()
        self.is_counted = self.was_lost = False

    @property
    def sentinel(self) -> Any:
        return self._process.sentinel

    @property
    def is_working(self) -> bool:
        return self._process.exitcode is None

    def lost(self) -> bool:
        """Whether the process ended without a word; what it failed with is raised."""
        self.is_counted = True
        try:
            error = self._receiver.recv()
        except EOFError:
            self.was_lost = True
            return True
        if error is not None:
            raise error
        return False

    def end(self) -> None:
        """End the process; it gives its trial back."""
        if self.is_working:
            self._process.terminate()
        self._process.join(30.0)
        if self.is_working:
            self._process.kill()
            self._process.join()
        self._receiver.close()


def _serve(sender: Any, task: Task, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the first one decides
    signal.signal(signal.SIGTERM, _interrupt)
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        work(task)
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
