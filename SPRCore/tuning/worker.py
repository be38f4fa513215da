"""One process of a study: it runs trials until all are finished."""

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
from SPRCore.tuning.space import Objective, SearchParameter
from SPRCore.tuning.storage import has_heartbeat, import_optuna, open_storage, quiet
from SPRCore.tuning.targets import RunTrial, Target
from SPRCore.tuning.trials import FAILED, INTERRUPTED, MEASURES, SECONDS, SLOT, trial_records

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger("SPRCore")

_MAX_FAILURES = 5
"""Consecutive failed trials after which a process stops."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study, the same in every process.

    Attributes:
        study: Name in the storage.
        storage: The storage, from `storage_url`.
        target: The recipe, model or method to tune.
        parameters: Search space.
        objective: Objective of the trials.
        trials: Number of trials.
        pruner: Parameters of Optuna's median pruner: trials that are never pruned, steps before pruning (epochs of a
            training, pairs of a cohort), and steps between two decisions; the paper's are 5, 30 and 10.
        seed: Seed of the sampler.
        patience_seconds: Time without a heartbeat after which a trial has expired.
    """

    study: str
    storage: str
    target: Target
    parameters: tuple[SearchParameter, ...]
    objective: Objective
    trials: int = 50
    pruner: tuple[int, int, int] = (5, 30, 10)
    seed: int = 0
    patience_seconds: float = 60.0


def open_study(config: StudyConfig) -> optuna.Study:
    """Open a study, or create it (`InputError` if the storage cannot be opened)."""
    storage = open_storage(config.storage, config.patience_seconds)
    with quiet():
        return import_optuna().create_study(
            study_name=config.study,
            storage=storage,
            direction=config.objective.direction,
            load_if_exists=True,
            pruner=median_pruner(*config.pruner, improving=config.target.improving),
        )


def work(config: StudyConfig, after: Callable[[], None] | None = None) -> int:
    """Run trials of a study until all are finished, by this process or others; return the number of trials run here.

    Raises:
        InputError: The data or the configuration cannot be used; the trial is repeated by the next run.
        SPRError: Too many consecutive trials failed.
    """
    study = open_study(config)
    trial = _Trial(config, config.target.opened())
    done = failures = 0
    while _may_start(study, config):
        with quiet():
            trial.run(study)
        done, failures = done + 1, failures + 1 if trial.failure else 0
        if after is not None:
            after()
        if failures == _MAX_FAILURES:
            raise SPRError(f"{failures} trials in a row failed", got=trial.failure)
    return done


def _may_start(study: optuna.Study, config: StudyConfig) -> bool:
    """Whether trials are left; with heartbeats, wait while those left are running elsewhere, where they may expire."""
    pause = 0.05
    while True:
        with quiet():
            import_optuna().storages.fail_stale_trials(study)
        states = [record.state for record in trial_records(study.get_trials(deepcopy=False))]
        if len(states) - states.count("running") >= config.trials:
            return False
        if len(states) < config.trials or not has_heartbeat(config.storage):
            return True
        time.sleep(pause)
        pause = min(2.0 * pause, config.patience_seconds / 4, 2.0)


class _Trial:
    """Objective function for Optuna that runs one trial.

    Attributes:
        failure: Why the last trial failed; empty if it did not.
    """

    def __init__(self, config: StudyConfig, run_trial: RunTrial) -> None:
        self._config, self._run_trial, self.failure = config, run_trial, ""

    def run(self, study: optuna.Study) -> None:
        """Run one trial; the result of a trial that expired meanwhile is discarded."""
        try:
            study.optimize(self, n_trials=1)
        except (InputError, OutputError):
            raise
        except ValueError:  # Optuna's, for a trial that another process has closed
            trial = study.get_trials(deepcopy=False)[self._number]
            if trial.state.name != "FAIL" or {FAILED, INTERRUPTED} & set(trial.user_attrs):
                raise
            logger.warning("Trial %d had expired; its result is discarded.", self._number)

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the value of a trial; NaN, which Optuna records as failed, with the reason as an attribute."""
        optuna, objective = import_optuna(), self._config.objective
        self._number, self.failure = trial.number, ""
        slot = trial.user_attrs.get(SLOT, trial.number)  # a repeated trial has that of its first attempt
        trial.study.sampler = _sampler(self._config, slot)
        begun, measures, value = time.perf_counter(), {}, math.nan

        def report(step: int, measured: dict[str, Any]) -> None:
            measures.update(measured)
            if math.isfinite(objective.value(measured)):
                trial.report(objective.value(measured), step)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            params = {each.name: each.suggest(trial) for each in self._config.parameters}
            trial.set_user_attr(SLOT, slot)  # from here on the trial counts; its first heartbeat is recorded by now
            measures = self._run_trial(slot, params, report)
            value = objective.value(measures)
            self.failure = "" if math.isfinite(value) else f"the objective is {value}"
        except (InputError, OutputError, KeyboardInterrupt):  # not caused by the parameters: the trial is repeated
            _repeat(trial, slot)
            raise
        except (optuna.TrialPruned, optuna.exceptions.UpdateFinishedTrialError):
            raise
        except Exception as error:  # memory, non-finite values: other parameters may succeed
            if isinstance(error.__context__, KeyboardInterrupt):  # Optuna's file lock raises its own error then
                _repeat(trial, slot)
                raise KeyboardInterrupt from error
            self.failure = str(error) if isinstance(error, SPRError) else f"{type(error).__name__}: {error}"
            logger.warning("Trial %d failed: %s", trial.number, self.failure)
        finally:
            facts = {SECONDS: time.perf_counter() - begun, MEASURES: dict(measures)}
            facts |= {FAILED: self.failure} if self.failure else {}
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
        return math.nan if self.failure else value


def _repeat(trial: optuna.Trial, slot: int) -> None:
    """Leave an interrupted trial to the next run, with its parameters."""
    trial.set_user_attr(INTERRUPTED, True)
    trial.study.enqueue_trial(trial.params, user_attrs={SLOT: slot})


def _sampler(config: StudyConfig, slot: int) -> optuna.samplers.BaseSampler:
    """The paper's sampler, seeded by the trial, so that its draws do not depend on the process."""
    optuna = import_optuna()
    seed = int(np.random.SeedSequence([config.seed, slot]).generate_state(1)[0])
    constraints = None
    if config.objective.max_folding is not None:

        def constraints(trial: optuna.trial.FrozenTrial) -> tuple[float]:
            return (config.objective.excess(trial.user_attrs.get(MEASURES, {})),)

    with quiet():
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True, constraints_func=constraints)
