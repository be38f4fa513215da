"""Which process does which trial: every trial that was asked for is done once, whatever happens to processes.

The trials that were asked for are slots, 0 to N - 1. A process takes an open slot by making a trial in the storage that
says so, which every storage of Optuna does as a whole and with rising numbers; of two that took the same slot at once
the lower number has it. While it works it counts up a number in its trial. Whoever sees that number stand still for too
long, by its own clock, or finds that the process is gone, closes the trial, and its slot is open again with the same
parameters.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SPRCore.tuning.storage import import_optuna, quiet

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger("SPRCore")

SLOT, ATTEMPT, AGAIN, FAILED, MEASURES, SECONDS = "slot", "attempt", "again", "failed", "measures", "seconds"
_BEAT, _PLACE, _PROCESS = "beat", "place", "process"
LOST, RETURNED = "lost", "returned"
MOST_LOSSES = 3
"""Processes that a slot may cost before it counts as failed."""


@dataclass(frozen=True)
class Slot:
    """A trial that was asked for.

    Attributes:
        number: Its place.
        attempts: Trials that took it, in their order; the last one counts.
    """

    number: int
    attempts: tuple[Any, ...] = ()

    @property
    def last(self) -> Any | None:
        """The trial that counts: the first one that came to an end, or the last one."""
        ended = (trial for trial in self.attempts if trial.state.is_finished() and AGAIN not in trial.user_attrs)
        return next(ended, self.attempts[-1] if self.attempts else None)

    @property
    def is_open(self) -> bool:
        """Whether it is to be done."""
        return self.last is None or (self.last.state.is_finished() and AGAIN in self.last.user_attrs)

    @property
    def is_running(self) -> bool:
        """Whether a process has it."""
        return self.last is not None and not self.last.state.is_finished()

    @property
    def losses(self) -> int:
        """How many processes were lost with it."""
        return sum(trial.user_attrs.get(AGAIN) == LOST for trial in self.attempts)


def slots_of(trials: Iterable[Any], count: int) -> list[Slot]:
    """Sort the trials of a storage by slot.

    Args:
        trials: All trials, by number.
        count: Trials that are asked for.

    Returns:
        The slots; of trials that took the same one at once only the first is in it.
    """
    found: list[dict[int, Any]] = [{} for _ in range(count)]
    for trial in trials:
        slot = trial.user_attrs.get(SLOT)
        if slot is not None and slot < count:
            found[slot].setdefault(trial.user_attrs[ATTEMPT], trial)
    return [Slot(number, tuple(kept[key] for key in sorted(kept))) for number, kept in enumerate(found)]


@dataclass
class Queue:
    """The slots of a study, as one process sees them.

    Attributes:
        study: The study.
        storage: Where it is kept.
        count: Trials that are asked for.
        patience_seconds: After how long without a sign of life a trial counts as lost.
        sampler: Makes what suggests the parameters of a slot.
    """

    study: optuna.Study
    storage: optuna.storages.BaseStorage
    count: int
    patience_seconds: float
    sampler: Callable[[int], optuna.samplers.BaseSampler]
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)

    def slots(self) -> list[Slot]:
        """All slots as they are now."""
        return slots_of(self.study.get_trials(deepcopy=False), self.count)

    def take(self) -> optuna.Trial | None:
        """Take an open slot; wait while there is none but a running one might be lost.

        Returns:
            A trial to be done, or None where all are done.
        """
        pause = 0.05
        while True:
            slots = self.slots()
            open_slots = [slot for slot in slots if slot.is_open]
            for slot in open_slots:
                trial = self._claim(slot)
                if trial is not None:
                    return trial
            if not open_slots and not any(slot.is_running for slot in slots):
                return None
            if not self._close_lost(slots) and not open_slots:
                time.sleep(pause)
                pause = min(2.0 * pause, self.patience_seconds / 4, 2.0)

    def end(self, trial: optuna.Trial, state: Any, value: float | None = None, **facts: Any) -> bool:
        """Write down how a trial ended.

        Args:
            trial: The trial.
            state: Its state.
            value: Its value, for a complete one.
            **facts: What else to keep of it.

        Returns:
            Whether it was still ours: a process that was taken for lost has nothing to say.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            with quiet():
                self.study.tell(trial, value, state=state)
        except (UpdateFinishedTrialError, ValueError):
            if not self.storage.get_trial(trial._trial_id).state.is_finished():
                raise
            logger.warning("Trial %d was taken for lost and is done by another process.", trial.number)
            return False
        return True

    @contextlib.contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:
        """Give signs of life for a trial while a block runs."""
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _beat(self, trial: optuna.Trial, done: threading.Event) -> None:
        count = 0
        while not done.wait(self.patience_seconds / 5):
            count += 1
            with contextlib.suppress(
                Exception
            ):  # the next one may get through; nobody is helped by the end of this one
                self.storage.set_trial_user_attr(trial._trial_id, _BEAT, count)

    def _claim(self, slot: Slot) -> optuna.Trial | None:
        """Make a trial for a slot; None where another process was quicker."""
        optuna = import_optuna()
        last = slot.attempts[-1] if slot.attempts else None
        attempt = 0 if last is None else last.user_attrs[ATTEMPT] + 1
        facts = {SLOT: slot.number, ATTEMPT: attempt, _PLACE: place(), _PROCESS: os.getpid(), _BEAT: 0}
        fixed = {} if last is None else {"fixed_params": dict(last.params)}
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, user_attrs=facts, system_attrs=fixed
        )
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        trial_id = self.storage.create_new_trial(study_id, template_trial=template)
        try:
            if self._holds(trial_id, slot.number, attempt):
                self.study.sampler = self.sampler(slot.number)
                return optuna.Trial(self.study, trial_id)
        except BaseException:  # Ctrl-C, too
            self.storage.set_trial_user_attr(trial_id, AGAIN, RETURNED)
            self.storage.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)
            raise
        self.storage.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)
        return None

    def _holds(self, trial_id: int, slot: int, attempt: int) -> bool:
        """Whether a trial was the first one to take a slot."""
        takers = self.slots()[slot].attempts
        holder = next(found for found in takers if found.user_attrs[ATTEMPT] == attempt)
        return holder.number == self.storage.get_trial(trial_id).number

    def _close_lost(self, slots: list[Slot]) -> bool:
        """Close the trials of processes that are gone; whether there were any."""
        found = False
        for slot in slots:
            if slot.is_running and self._is_lost(slot.last):
                found = True
                self._close(slot)
        return found

    def _is_lost(self, trial: Any) -> bool:
        facts, now = trial.user_attrs, time.monotonic()
        if facts.get(_PLACE) == place() and not _lives(facts[_PROCESS]):
            return True
        beat, since = self._seen.get(trial.number, (-1, now))
        if facts.get(_BEAT, 0) != beat:
            beat, since = facts.get(_BEAT, 0), now
        self._seen[trial.number] = beat, since
        return now - since > self.patience_seconds

    def _close(self, slot: Slot) -> None:
        optuna = import_optuna()
        trial, losses = slot.last, slot.losses + 1
        what = (FAILED, f"lost with its process {losses} times") if losses >= MOST_LOSSES else (AGAIN, LOST)
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process was quicker
            self.storage.set_trial_user_attr(trial._trial_id, *what)
            self.storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
            logger.warning("Trial %d was lost with its process.", trial.number)


def place() -> str:
    """Return what tells the processes of this machine, and of this container, from those of others."""
    parts = [platform.node()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(source)
        with contextlib.suppress(OSError):
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text(encoding="ascii"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _lives(process: int) -> bool:
    """Whether a process of this machine is there, as far as the system tells."""
    if sys.platform == "win32":  # signal 0 means something else there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
