"""What a study found: its trials as a file, the best one, how far one may stray from it, and what mattered."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SPRCore.io import read_bundle, write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.io.cards import Metric
from SPRCore.io.places import SUFFIX
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS
from SPRCore.tuning.queue import FAILED, MEASURES, SECONDS, SLOT, slots_of
from SPRCore.tuning.space import Objective
from SPRCore.tuning.storage import import_optuna, quiet
from SPRCore.tuning.studies import Study, TrialRecord
from SPRCore.tuning.worker import Task

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger("SPRCore")

_LEAST_TRIALS = 4  # for importances: with fewer every split of them says the same


def outcome(task: Task, study: optuna.Study, *, target: str, band: float, command: str = "") -> Study:
    """Return what a study has found so far.

    Args:
        task: The study.
        study: The same, open.
        target: Name of what is tuned.
        band: By how much a trial may fall short of the best one and still count as good.
        command: The command, for the record.

    Returns:
        Trials, best one, tolerance and importances.
    """
    records = trial_records(study.get_trials(deepcopy=False), task.trials)
    best = best_of(records, task.objective)
    return Study(
        name=task.study,
        target=target,
        objective=task.objective.name,
        direction=task.objective.direction,
        ranges={each.name: (each.low, each.high) for each in task.parameters},
        wanted=task.trials,
        trials=tuple(records),
        best=None if best is None else best.number,
        band=band,
        tolerance=tolerance(records, task.objective, band),
        importances=importances(study, [each.name for each in task.parameters]),
        command=command,
        settings={"pruner": list(task.pruner), "seed": task.seed, "max_folding": task.objective.max_folding},
    )


def trial_records(trials: Sequence[Any], count: int) -> list[TrialRecord]:
    """Return the trials that count, one for each slot that was begun, by number.

    Args:
        trials: All trials of the storage.
        count: Trials that were asked for.

    Returns:
        Their records.
    """
    found = [_record(slot.last) for slot in slots_of(trials, count) if slot.last is not None and not slot.is_open]
    return sorted(found, key=lambda record: record.number)


def best_of(records: Sequence[TrialRecord], objective: Objective) -> TrialRecord | None:
    """Return the best complete trial among those that fold no more than allowed, or else of those that fold least.

    Args:
        records: The trials.
        objective: What they are judged by.

    Returns:
        The best one; None without a complete trial.
    """
    whole = [record for record in records if record.state == "complete" and record.value is not None]
    if not whole:
        return None
    sign = 1.0 if objective.direction == "maximize" else -1.0
    return max(whole, key=lambda record: (-max(0.0, objective.excess(record.measures)), sign * record.value))


def tolerance(records: Sequence[TrialRecord], objective: Objective, band: float) -> dict[str, tuple[float, float]]:
    """Return between which values of each parameter trials were as good as the best one for practical purposes.

    Args:
        records: The trials.
        objective: What they are judged by.
        band: By how much a trial may fall short of the best one.

    Returns:
        Lowest and highest value among the complete trials within the band, by parameter; none where only one value is.
    """
    best = best_of(records, objective)
    if best is None:
        return {}
    good = [
        record
        for record in records
        if record.state == "complete"
        and abs(record.value - best.value) <= band
        and objective.excess(record.measures) <= max(0.0, objective.excess(best.measures))
    ]
    spans = {name: [record.params[name] for record in good if name in record.params] for name in best.params}
    return {name: (min(values), max(values)) for name, values in spans.items() if min(values) < max(values)}


def importances(study: optuna.Study, names: Sequence[str]) -> dict[str, float]:
    """Return the share of each parameter in the variance of the objective, by fANOVA.

    Args:
        study: The study.
        names: The parameters.

    Returns:
        Shares that add up to 1, by parameter; empty with few complete trials, one value, or without scikit-learn.

    References:
        Hutter, Hoos and Leyton-Brown, ICML 2014.
    """
    optuna = import_optuna()
    whole = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(whole) < _LEAST_TRIALS or len({trial.value for trial in whole}) == 1:
        return {}
    if len(names) == 1:
        return {names[0]: 1.0}
    try:
        with quiet():
            judge = optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = optuna.importance.get_param_importances(study, evaluator=judge, params=list(names))
    except ImportError:
        logger.warning("Importances need scikit-learn: pip install 'SPRCore[train]'.")
        return {}
    return {name: float(found[name]) for name in names if math.isfinite(found.get(name, math.nan))}


def write_best(task: Task, study: Study, folder: Path) -> Path | None:
    """Write the model of the best trial, its optimum and tolerance in its card.

    Args:
        task: The study.
        study: What it found.
        folder: Where to write it.

    Returns:
        The bundle; None where there is no model, or it is on another machine.

    Raises:
        OutputError: It cannot be written.
    """
    best = study.best_trial
    source = None if best is None else task.target.bundle(best.slot)
    if best is None or source is None:
        return None
    bundle = read_bundle(source)
    path = folder / f"{bundle.card.name}{SUFFIX}"
    write_bundle(Bundle(card=_tuned(bundle.card, study, best), tensors=bundle.tensors), path)
    return path


def _tuned(card: Any, study: Study, best: TrialRecord) -> Any:
    own = HYPERPARAMETERS[card.prior]
    optimum = {name: value for name, value in best.params.items() if name in own}
    spans = {name: span for name, span in study.tolerance.items() if name in own}
    how = f"best of {len(study.trials)} trials of the study {study.name}"
    metric = Metric(name=f"objective of tuning: {study.objective}", value=best.value, how=how)
    conditioned = {name: value for name, value in optimum.items() if name in card.conditioning}
    return dataclasses.replace(
        card,
        optimum=optimum,
        tolerance=spans,
        defaults={**card.defaults, **conditioned},  # what is used where nobody asks for anything else
        metrics=(*card.metrics, metric),
    )


def _record(trial: Any) -> TrialRecord:
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    facts = trial.user_attrs
    return TrialRecord(
        number=trial.number,
        slot=facts[SLOT],
        params=dict(trial.params),
        value=trial.value if trial.values else None,
        state=states.get(trial.state.name, "running"),
        seconds=facts.get(SECONDS),
        intermediate={str(step): value for step, value in sorted(trial.intermediate_values.items())},
        measures=dict(facts.get(MEASURES, {})),
        failed=facts.get(FAILED),
    )
