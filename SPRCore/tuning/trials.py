"""Trials in a storage and the records of those that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from SPRCore.tuning.storage import import_optuna, quiet
from SPRCore.tuning.studies import TrialRecord

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SLOT, INTERRUPTED, FAILED, MEASURES, SECONDS = "slot", "interrupted", "failed", "measures", "seconds"
"""User attributes of a trial."""

_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


def trial_records(trials: Sequence[FrozenTrial]) -> list[TrialRecord]:
    """Return the trials that count, by number: started, not interrupted, and not expired and repeated."""
    with quiet():
        history = import_optuna().storages.RetryHeartbeatStaleTrialCallback.retry_history
        retries = {trial.number: history(trial) for trial in trials}
    repeated = {number for numbers in retries.values() for number in numbers}
    return [
        _record(trial, len(retries[trial.number]) + 1)
        for trial in trials
        if SLOT in trial.user_attrs
        and trial.state.name in _STATES
        and trial.number not in repeated
        and INTERRUPTED not in trial.user_attrs
    ]


def _record(trial: FrozenTrial, attempts: int) -> TrialRecord:
    facts, failed = trial.user_attrs, trial.user_attrs.get(FAILED)
    if trial.state.name == "FAIL" and failed is None:
        failed = f"its process ended {attempts} times"
    return TrialRecord(
        number=trial.number,
        slot=facts[SLOT],
        params=dict(trial.params),
        value=trial.value if trial.values else None,
        state=_STATES[trial.state.name],
        seconds=facts.get(SECONDS),
        intermediate={str(step): value for step, value in sorted(trial.intermediate_values.items())},
        measures=dict(facts.get(MEASURES, {})),
        failed=failed,
    )
