"""Folding in studies: what is above the limit is infeasible and never the best."""

from __future__ import annotations

import numpy as np
import pytest
from simple_studies import found

from SPRCore.analysis.optima import optima_table
from SPRCore.cli.tune import study_lines
from SPRCore.config import encode
from SPRCore.tuning.outcome import write_best
from SPRCore.tuning.space import Objective, SearchParameter
from SPRCore.tuning.studies import read_study, write_study
from SPRCore.tuning.study import Finished
from SPRCore.tuning.worker import open_study, work

optuna = pytest.importorskip("optuna")


def folds(slot, params, report):
    """The more x, the more overlap and, from the middle on, folding."""
    value = params["x"]
    return {"dice": 0.5 + 0.4 * value, "lncc": value, "folding_percent": 2.0 * max(0.0, value - 0.5)}


@pytest.mark.parametrize("name", ["dice", "label-free"])
def test_a_better_trial_that_folds_too_much_is_infeasible_and_not_the_best(make_config, name):
    study = make_config(folds, objective=Objective(name=name, max_folding=0.1), trials=25)
    work(study)
    result = found(study)
    best = result.best_trial
    assert best.measures["folding_percent"] <= 0.1
    assert 0.45 < best.params["x"] <= 0.55
    higher = [trial for trial in result.trials if trial.value > best.value]
    assert higher
    assert all(trial.infeasible for trial in higher)
    assert not best.infeasible
    assert result.tolerance["x"][1] <= 0.55
    assert result.settings["max_folding"] == 0.1


def test_the_sampler_is_told_the_limit(make_config):
    def drawn(limit):
        config = make_config(folds, objective=Objective(max_folding=limit), trials=40, study=f"limit {limit}")
        work(config)
        return open_study(config).get_trials(), [trial.params["x"] for trial in found(config).trials]

    limited, with_limit = drawn(0.1)
    free, without = drawn(None)
    told = [trial.system_attrs["constraints"][0] for trial in limited]
    assert told == pytest.approx([2.0 * max(0.0, x - 0.5) - 0.1 for x in with_limit])
    assert not any("constraints" in trial.system_attrs for trial in free)
    late = slice(20, None)
    assert np.mean(np.array(with_limit[late]) > 0.55) < 0.5 < np.mean(np.array(without[late]) > 0.55)


def test_where_all_trials_fold_too_much_none_is_the_best(make_config, tmp_path):
    config = make_config(
        folds, objective=Objective(max_folding=0.1), parameters=(SearchParameter(name="x", low=0.9, high=1.0),)
    )
    work(config)
    result = found(config)
    assert result.best_trial is None
    assert result.tolerance == {}
    assert all(trial.infeasible for trial in result.trials)
    assert write_best(config, result, tmp_path) is None
    write_study(result, tmp_path / "study.json")
    assert read_study(tmp_path / "study.json").trials == result.trials
    lines = study_lines(Finished(study=result, path=tmp_path, bundle=None))
    assert "6 of the complete ones infeasible" in lines[0]
    assert "above --max-folding" in lines[1]
    table = optima_table([encode(result)], [])
    assert table.body[0][3].text == "none below the folding limit"
