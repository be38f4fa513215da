"""What a process of a study does: it takes trials until there are none."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from SPRCore.errors import InputError, OutputError, SPRError
from SPRCore.tuning.pruning import median_pruner
from SPRCore.tuning.queue import AGAIN, FAILED, MEASURES, RETURNED, SECONDS, SLOT, Queue
from SPRCore.tuning.space import Objective, Parameter
from SPRCore.tuning.storage import import_optuna, open_storage, quiet
from SPRCore.tuning.targets import Measures, Params, Target, Tell

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger("SPRCore")

_MOST_FAILURES = 5
"""Trials of one process that may fail in a row before it gives up."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A study, as every process of it has to know it.

    Attributes:
        study: Name in the storage.
        storage: The storage, from `storage_place`.
        target: What is tuned.
        parameters: What to try.
        objective: What to judge by.
        trials: How many trials.
        pruner: Of Optuna's median pruner: trials that are never cut short, steps before any is (epochs of a training,
            pairs of a cohort), and steps from one decision to the next; the paper's are 5, 30 and 10.
        seed: Seed of the sampler.
        patience_seconds: After how long without a sign of life a trial counts as lost.
    """

    study: str
    storage: str
    target: Target
    parameters: tuple[Parameter, ...]
    objective: Objective
    trials: int = 50
    pruner: tuple[int, int, int] = (5, 30, 10)
    seed: int = 0
    patience_seconds: float = 60.0


def open_study(task: Task) -> tuple[optuna.Study, optuna.storages.BaseStorage]:
    """Open the study of a task, or begin it.

    Args:
        task: The task.

    Returns:
        The study and its storage.

    Raises:
        InputError: The storage cannot be opened.
    """
    optuna = import_optuna()
    storage = open_storage(task.storage)
    with quiet():
        study = optuna.create_study(
            study_name=task.study,
            storage=storage,
            direction=task.objective.direction,
            load_if_exists=True,
            pruner=median_pruner(*task.pruner, improving=task.target.improving),
        )
    return study, storage


def work(task: Task, after: Callable[[], None] | None = None) -> int:
    """Do trials of a study until all are done, by this process or others.

    Args:
        task: The study.
        after: Called after each trial.

    Returns:
        How many trials this process did.

    Raises:
        InputError: Something that concerns all trials is wrong.
        SPRError: Too many trials in a row failed.
    """
    study, storage = open_study(task)
    queue = Queue(study, storage, task.trials, task.patience_seconds, lambda slot: _sampler(task, slot))
    do_trial = task.target.opened()
    done = failures = 0
    while (trial := queue.take()) is not None:
        with queue.alive(trial):
            failed = _one(task, queue, trial, do_trial)
        done, failures = done + 1, failures + 1 if failed else 0
        if after is not None:
            after()
        if failures == _MOST_FAILURES:
            raise SPRError(f"{failures} trials in a row failed", got=failed)
    return done


def _sampler(task: Task, slot: int) -> optuna.samplers.BaseSampler:
    """The paper's sampler; what it draws does not depend on which process does the trial."""
    optuna = import_optuna()
    seed = int(np.random.SeedSequence([task.seed, slot]).generate_state(1)[0])
    judged = None
    if task.objective.max_folding is not None:

        def judged(trial: optuna.trial.FrozenTrial) -> tuple[float]:
            return (task.objective.excess(trial.user_attrs.get(MEASURES, {})),)

    with quiet():
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True, constraints_func=judged)


def _one(task: Task, queue: Queue, trial: optuna.Trial, do_trial: Callable[[int, Params, Tell], Measures]) -> str:
    """Do a trial and write down how it ended; return why it failed, if it did."""
    optuna = import_optuna()
    state, begun = optuna.trial.TrialState, time.perf_counter()
    seen: dict[str, Any] = {}

    def tell(step: int, measures: Measures) -> None:
        seen.update(measures)
        value = task.objective.value(measures)
        if math.isfinite(value):
            trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned

    def end(how: Any, value: float | None = None, **facts: Any) -> None:
        seconds = time.perf_counter() - begun
        queue.end(trial, how, value, **{SECONDS: seconds, MEASURES: dict(seen)}, **facts)

    try:
        with quiet():
            params = {
                each.name: trial.suggest_float(each.name, each.low, each.high, log=each.log) for each in task.parameters
            }
            seen = do_trial(trial.user_attrs[SLOT], params, tell)
            value = task.objective.value(seen)
    except optuna.TrialPruned:
        end(state.PRUNED)
        return ""
    except (InputError, OutputError, KeyboardInterrupt):  # it is not the fault of the trial
        end(state.FAIL, **{AGAIN: RETURNED})
        raise
    except Exception as error:  # memory, numbers: other values may do better
        reason = str(error) if isinstance(error, SPRError) else f"{type(error).__name__}: {error}"
        logger.warning("Trial %d failed: %s", trial.number, reason)
        end(state.FAIL, **{FAILED: reason})
        return reason
    if not math.isfinite(value):
        end(state.FAIL, **{FAILED: f"the objective is {value}"})
        return f"the objective is {value}"
    end(state.COMPLETE, value)
    return ""
