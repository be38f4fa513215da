"""Pruning of trials that are worse than the median of the others at the same step."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from SPRCore.tuning.storage import import_optuna

if TYPE_CHECKING:
    import optuna


def median_pruner(startup: int, warmup: int, interval: int, improving: bool) -> optuna.pruners.BasePruner:
    """Return the pruner of a study.

    Args:
        startup: Trials that are never pruned.
        warmup: Steps before pruning.
        interval: Steps between two decisions.
        improving: Whether trials improve from step to step, as trainings do: then the best value so far is compared, as
            in Optuna's pruner and the paper. Otherwise a step is a mean over more and more pairs, and the value at the
            same pairs is compared: the best so far would be that of the first, easy pairs in every trial.
    """
    optuna = import_optuna()
    if improving:
        return optuna.pruners.MedianPruner(startup, warmup, interval)

    class SamePairs(optuna.pruners.MedianPruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            values = trial.intermediate_values
            changed = copy.copy(trial)
            if values:
                changed.intermediate_values = dict.fromkeys(values, values[max(values)])
            return super().prune(study, changed)

    return SamePairs(startup, warmup, interval)
