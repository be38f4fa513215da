"""Outcome of a study: trials, best trial, tolerance and importances."""

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
from SPRCore.tuning.space import Objective
from SPRCore.tuning.storage import import_optuna, quiet
from SPRCore.tuning.studies import Study, TrialRecord
from SPRCore.tuning.targets import CohortTarget
from SPRCore.tuning.trials import trial_records
from SPRCore.tuning.worker import StudyConfig

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger("SPRCore")

_MIN_TRIALS = 4  # for importances; with fewer the forest of fANOVA cannot split


def outcome(config: StudyConfig, study: optuna.Study, *, target: str, band: float, command: str = "") -> Study:
    """Return the outcome of a study so far: trials, best trial, tolerance (values within `band`) and importances."""
    records = marked(trial_records(study.get_trials(deepcopy=False)), config.objective)
    best = best_of(records, config.objective)
    return Study(
        name=config.study,
        target=target,
        objective=config.objective.name,
        direction=config.objective.direction,
        ranges={each.name: (each.low, each.high) for each in config.parameters},
        wanted=config.trials,
        trials=tuple(records),
        best=None if best is None else best.number,
        band=band,
        tolerance=tolerance(records, config.objective, band),
        importances=importances(study, [each.name for each in config.parameters]),
        command=command,
        settings={"pruner": list(config.pruner), "seed": config.seed, "max_folding": config.objective.max_folding}
        | (config.target.pairs.settings if isinstance(config.target, CohortTarget) else {}),
    )


def marked(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Return the records with those marked whose folding is above the limit of the objective."""
    return [dataclasses.replace(record, infeasible=objective.excess(record.measures) > 0) for record in records]


def best_of(records: Sequence[TrialRecord], objective: Objective) -> TrialRecord | None:
    """Return the best complete and feasible trial of `marked` records, or None."""
    return max(_feasible(records), key=lambda record: objective.sign * record.value, default=None)


def _feasible(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [r for r in records if r.state == "complete" and r.value is not None and not r.infeasible]


def tolerance(records: Sequence[TrialRecord], objective: Objective, band: float) -> dict[str, tuple[float, float]]:
    """Return the range of each parameter that varies among the feasible trials within a band of the best value."""
    best = best_of(records, objective)
    if best is None:
        return {}
    good = [record for record in _feasible(records) if abs(record.value - best.value) <= band]
    spans = {name: [record.params[name] for record in good if name in record.params] for name in best.params}
    return {name: (min(values), max(values)) for name, values in spans.items() if min(values) < max(values)}


def importances(study: optuna.Study, names: Sequence[str]) -> dict[str, float]:
    """Return the share of each parameter in the variance of the objective, by fANOVA (Hutter et al., ICML 2014).

    Shares add up to 1; empty with few complete trials, equal values, or without scikit-learn.
    """
    optuna = import_optuna()
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < _MIN_TRIALS or len({trial.value for trial in complete}) == 1:
        return {}
    if len(names) == 1:
        return {names[0]: 1.0}
    try:
        with quiet():
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(names))
    except ImportError:
        logger.warning("Importances need scikit-learn: pip install 'SPRCore[train]'.")
        return {}
    return {name: float(found[name]) for name in names if math.isfinite(found.get(name, math.nan))}


def write_best(config: StudyConfig, study: Study, folder: Path) -> Path | None:
    """Write the model of the best trial, with optimum and tolerance in its card (`OutputError` if impossible).

    Returns:
        The bundle; None without a model, or if it is on another machine.
    """
    best = study.best_trial
    source = None if best is None else config.target.bundle(best.slot)
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
        defaults={**card.defaults, **conditioned},  # used when a call gives no setting
        metrics=(*card.metrics, metric),
    )
