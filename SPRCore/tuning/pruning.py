"""Which trials are cut short: those that are worse than the median of the others, at the same step."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from SPRCore.tuning.storage import import_optuna

if TYPE_CHECKING:
    import optuna


def median_pruner(startup: int, warmup: int, interval: int, improving: bool) -> optuna.pruners.BasePruner:
    """Return the pruner of a study.

    Args:
        startup: Trials that are never cut short.
        warmup: Steps before any is.
        interval: Steps from one decision to the next.
        improving: Whether trials get better as they go on, as trainings do: then the best value so far counts, as in
            Optuna's pruner and the paper. Otherwise a step tells a mean over ever more pairs, and the value of the same
            pairs counts: the best so far would be that of easy pairs which came first, for every trial.

    Returns:
        The pruner.
    """
    optuna = import_optuna()
    if improving:
        return optuna.pruners.MedianPruner(startup, warmup, interval)

    class SamePairs(optuna.pruners.MedianPruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            told = trial.intermediate_values
            seen = copy.copy(trial)
            if told:
                seen.intermediate_values = dict.fromkeys(told, told[max(told)])
            return super().prune(study, seen)

    return SamePairs(startup, warmup, interval)
