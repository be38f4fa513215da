"""Studies: which trials are done, what becomes of those that fail or are lost, and what is found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from simple_studies import Simple, X, found, good

from SPRCore.errors import ConvergenceError, InputError, SPRError
from SPRCore.io import ModelCard, read_bundle, write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.tuning.outcome import tolerance, write_best
from SPRCore.tuning.space import Objective, SearchParameter, search_space
from SPRCore.tuning.storage import storage_url, without_password
from SPRCore.tuning.studies import Study, TrialRecord, read_study, write_study
from SPRCore.tuning.study import run_study
from SPRCore.tuning.targets import RecipeTarget, changed
from SPRCore.tuning.worker import StudyConfig, open_study, work

optuna = pytest.importorskip("optuna")


def test_a_study_finds_the_optimum_and_resumes(make_config):
    assert work(make_config(good, trials=8)) == 8
    first = found(make_config(good, trials=8))
    assert [trial.slot for trial in first.trials] == list(range(8))
    assert {trial.state for trial in first.trials} == {"complete"}
    assert work(make_config(good, trials=30)) == 22  # those that are done count
    whole = found(make_config(good, trials=30))
    assert whole.trials[:8] == first.trials
    assert whole.best_trial.value > 0.999
    assert abs(whole.best_trial.params["x"] - 0.3) < 0.03
    low, high = whole.tolerance["x"]
    assert 0.19 < low < whole.best_trial.params["x"] < high < 0.41
    assert work(make_config(good, trials=30)) == 0


def test_draws_do_not_depend_on_interruptions(make_config, tmp_path):
    work(make_config(good, trials=4))
    work(make_config(good, trials=12))
    in_parts = [trial.params for trial in found(make_config(good, trials=12)).trials]
    other = make_config(good, trials=12, storage=storage_url(str(tmp_path / "other.log"), tmp_path))
    work(other)
    assert [trial.params for trial in found(other).trials] == in_parts
    assert len({params["x"] for params in in_parts}) == 12


def test_failures_are_kept_with_their_reason_and_stop_nothing(make_config):
    def some(slot, params, report):
        if slot == 1:
            raise ConvergenceError("step 3", got="NaN")
        if slot == 2:
            return {"dice": float("nan")}
        if slot == 4:
            raise RuntimeError("out of memory")
        return good(slot, params, report)

    study = make_config(some)
    assert work(study) == 6
    records = found(study).trials
    assert [trial.state for trial in records] == ["complete", "failed", "failed", "complete", "failed", "complete"]
    assert records[1].failed == "step 3: got NaN"
    assert "nan" in records[2].failed
    assert records[4].failed == "RuntimeError: out of memory"
    assert found(study).best_trial.state == "complete"


def test_when_all_fail_it_ends(make_config):
    def bad(slot, params, report):
        raise ConvergenceError("always")

    with pytest.raises(SPRError, match="5 trials in a row failed: got always"):
        work(make_config(bad, trials=20))


def test_bad_input_leaves_the_trial_to_the_next_run(make_config):
    def wrong(slot, params, report):
        raise InputError("labels", got="none")

    study = make_config(wrong)
    with pytest.raises(InputError, match="labels"):
        work(study)
    assert not found(study).trials
    drawn = [trial.params for trial in open_study(study).get_trials()]
    mended = make_config(good)
    assert work(mended) == 6
    records = found(mended).trials
    assert [trial.slot for trial in records] == [0, 2, 3, 4, 5, 6]  # number 1 repeats the parameters of number 0
    assert next(trial for trial in records if trial.slot == 0).params == drawn[0]


def test_an_interrupt_hidden_by_an_error_of_a_lock_interrupts(make_config):
    def hidden(slot, params, report):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise FileNotFoundError("a lock") from None

    config = make_config(hidden)
    with pytest.raises(KeyboardInterrupt):
        work(config)
    assert not found(config).trials
    assert work(make_config(good)) == 6


def test_an_objective_that_the_data_do_not_have(make_config):
    with pytest.raises(InputError, match="objective tre: got none in the data; expected pairs with landmarks"):
        work(make_config(good, objective=Objective(name="tre")))


def test_trials_below_the_median_are_pruned(make_config):
    def slow(slot, params, report):
        for step in range(1, 6):
            report(step, {"dice": (0.9 if slot < 3 else 0.1) * step / 5})
        return {"dice": 0.9 if slot < 3 else 0.1}

    study = make_config(slow, trials=5, pruner=(3, 2, 1))
    work(study)
    records = found(study).trials
    assert [trial.state for trial in records] == ["complete"] * 3 + ["pruned"] * 2
    assert list(records[3].intermediate) == ["1", "2"]  # the first step is let pass
    assert found(study).best_trial.slot < 3


@pytest.mark.parametrize("improving", [True, False])
def test_of_a_cohort_the_same_pairs_are_compared(make_config, monkeypatch, improving):
    def means(slot, params, report):
        scores = np.array([0.9, 0.6, 0.6, 0.6]) - (0.0 if slot < 3 else 0.05)  # the first pair is an easy one
        for count in range(1, 5):
            report(count, {"dice": float(scores[:count].mean())})
        return {"dice": float(scores.mean())}

    monkeypatch.setattr(Simple, "improving", improving)
    study = make_config(means, trials=5, pruner=(3, 2, 2))
    work(study)
    states = [trial.state for trial in found(study).trials]
    # The best value so far, 0.85 of the easy pair, is above every median of the later steps.
    assert states == (["complete"] * 5 if improving else ["complete"] * 3 + ["pruned"] * 2)
    assert improving or list(found(study).trials[3].intermediate) == ["1", "2"]


def test_landmarks_are_minimised(make_config):
    def errors(slot, params, report):
        return {"tre_mm": 1.0 + params["x"]}

    study = make_config(errors, objective=Objective(name="tre"), trials=15)
    work(study)
    assert found(study).direction == "minimize"
    assert found(study).best_trial.params["x"] < 0.1


def test_importances_are_those_of_the_function(make_config):
    two = (*X, SearchParameter(name="y", low=1e-4, high=1.0, log=True))

    def mostly_x(slot, params, report):
        return {"dice": params["x"] ** 2 + 0.01 * params["y"]}

    study = make_config(mostly_x, parameters=two, trials=20)
    work(study)
    shares = found(study).importances
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["x"] > 0.9
    work(constant := make_config(lambda *_: {"dice": 0.5}, study="c", parameters=two))
    assert found(constant).importances == {}


def record(number, value, x, state="complete", **measures):
    return TrialRecord(number=number, slot=number, state=state, value=value, params={"x": x}, measures=measures)


def test_tolerance_is_of_good_trials():
    records = [record(0, 0.80, 0.1), record(1, 0.805, 0.3), record(2, 0.798, 0.5), record(3, 0.7, 0.9)]
    records.append(record(4, 0.804, 0.7, "pruned"))
    assert tolerance(records, Objective(), 0.006) == {"x": (0.1, 0.3)}
    assert tolerance(records, Objective(), 0.0) == {}  # one value is no band
    assert tolerance([], Objective(), 0.1) == {}


# What is tuned


def test_ranges():
    known = {"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)}
    assert [each.high for each in search_space(known, {}, None)] == [0.6, 3.0]
    assert search_space(known, {"alpha": "0.1:0.2"}, None)[-1] == SearchParameter(name="alpha", low=0.1, high=0.2)
    free = dict.fromkeys(known)
    assert {each.name: (each.low, each.high) for each in search_space(free, {}, "heart")} == {
        "alpha": (0, 0.6),
        "lambda_max": (0.8, 3),
    }
    variation = search_space(dict.fromkeys(("tv", "lambda_max")), {}, "heart", prior="tv")
    assert [(each.name, each.low, each.high) for each in variation] == [("tv", 0.02, 2), ("lambda_max", 1, 100)]
    rate = search_space({}, {"optimiser.lr": "1e-4:1e-2:log"}, None, ["optimiser.lr"])
    assert rate == (SearchParameter(name="optimiser.lr", low=1e-4, high=1e-2, log=True),)
    for wrong in ({"alpha": "1"}, {"alpha": "1:0"}, {"alpha": "0:1:log"}, {"alpha": "0:1:lin"}, {"beta": "0:1"}):
        with pytest.raises(InputError):
            search_space(known, wrong, None)
    with pytest.raises(InputError, match="--ranges"):
        search_space(free, {}, None)


def test_changes_of_a_recipe(tiny_recipe, tmp_path):
    recipe = changed(tiny_recipe(), {"lambda_max": 0.0, "optimiser.lr": 3e-3, "optimiser.batch": 1.7}, tmp_path / "t")
    assert recipe.loss.lambda_max == 1e-6
    assert recipe.optimiser.lr == 3e-3
    assert recipe.optimiser.batch == 2
    assert recipe.folder == tmp_path / "t"
    with pytest.raises(InputError, match="no such key"):
        changed(tiny_recipe(), {"optimiser.rate": 1.0}, tmp_path)


@pytest.mark.slow
def test_a_recipe_is_tuned_by_training(tiny_recipe, tmp_path):
    recipe = tiny_recipe(optimiser__epochs=3)
    folder = tmp_path / "study"
    tried = (SearchParameter(name="alpha", low=0.0, high=0.6), SearchParameter(name="lambda_max", low=0.0, high=3.0))
    usual = {"study": "tiny", "storage": storage_url(None, folder), "parameters": tried, "objective": Objective()}
    config = StudyConfig(target=RecipeTarget(recipe=recipe, folder=folder), trials=3, **usual)
    done = run_study(config, folder, target="tiny", band=1.0)
    assert {trial.state for trial in done.study.trials} == {"complete"}
    assert list(done.study.trials[0].intermediate) == ["1", "2", "3"]  # validations, by epoch
    best = done.study.best_trial
    assert best.value == max(best.intermediate.values())
    bundle = read_bundle(done.bundle)
    assert bundle.card.optimum == best.params
    assert bundle.card.tolerance == done.study.tolerance
    assert set(bundle.card.tolerance) == {"alpha", "lambda_max"}
    assert bundle.card.defaults["alpha"] == best.params["alpha"]
    assert bundle.sha256 == read_bundle(config.target.bundle(best.slot)).sha256
    assert read_study(folder) == done.study
    assert not list(folder.rglob("checkpoints"))
    with pytest.raises(InputError, match="other data, models, ranges or objective"):
        run_study(dataclasses.replace(config, parameters=tried[:1]), folder, target="tiny", band=1.0)


@pytest.mark.slow
def test_an_interrupted_training_resumes(tiny_recipe, tmp_path):
    class Gone(BaseException):
        pass

    target = RecipeTarget(recipe=tiny_recipe(optimiser__epochs=4), folder=tmp_path / "study")
    params, told = {"alpha": 0.2, "lambda_max": 1.0}, []

    def until(step, measures):
        told.append(step)
        if step == 2:
            raise Gone

    with pytest.raises(Gone):
        target.opened()(0, params, until)
    measures = target.opened()(0, params, lambda step, measures: told.append(step))
    assert told == [1, 2, 2, 3, 4]  # the validation whose checkpoint was not yet written comes again
    other = RecipeTarget(recipe=tiny_recipe(optimiser__epochs=4), folder=tmp_path / "whole")
    assert other.opened()(0, params, lambda *_: None) == pytest.approx(measures)


def test_a_model_gets_its_optimum_without_training(make_config, tmp_path, tiny_network, card_for):
    network = tiny_network("hyper-vxm-spr-small")
    ranges = {"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)}
    card = card_for(network, name="tiny", ranges=ranges, defaults={"alpha": 0.1, "lambda_max": 1.0})
    path = tmp_path / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), path)
    tried = (SearchParameter(name="alpha", low=0.0, high=0.6),)
    tuned = make_config(lambda slot, params, report: {"dice": params["alpha"]}, parameters=tried)
    tuned = dataclasses.replace(tuned, target=Simple(tuned.target.function, path))
    work(tuned)
    study = found(tuned, band=0.2)
    written = write_best(tuned, study, tmp_path / "out")
    card: ModelCard = read_bundle(written).card
    assert card.optimum == study.best_trial.params
    assert card.defaults == {"alpha": study.best_trial.params["alpha"], "lambda_max": 1.0}
    assert card.tolerance == study.tolerance
    assert card.metrics[-1].value == study.best_trial.value


# Files


def test_a_study_comes_back_as_it_was_written(tmp_path):
    study = Study(
        name="s",
        target="t",
        objective="dice",
        direction="maximize",
        ranges={"x": (0.0, 1.0)},
        wanted=2,
        trials=(record(0, 0.5, 0.1), record(1, None, 0.2, "pruned")),
        best=0,
        tolerance={"x": (0.1, 0.2)},
        importances={"x": 1.0},
        command="spr tune /a/b/r.yaml",
    )
    write_study(study, tmp_path / "study.json")
    again = read_study(tmp_path)
    assert again == dataclasses.replace(study, command="spr tune r.yaml")
    (tmp_path / "study.json").write_text('{"schema_version": 99}')
    with pytest.raises(InputError, match="schema_version 99"):
        read_study(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_study(tmp_path / "nowhere")


def test_places_of_storages(tmp_path):
    assert storage_url(None, tmp_path) == f"sqlite:///{tmp_path / 'study.db'}"
    assert storage_url(str(tmp_path / "a.log"), tmp_path) == f"journal:{tmp_path / 'a.log'}"
    assert storage_url("mysql://u:p@host/db", tmp_path) == "mysql://u:p@host/db"
    assert without_password("--storage mysql://u:p@host/db") == "--storage mysql://host/db"
    with pytest.raises(InputError, match="--storage"):
        storage_url("study.txt", tmp_path)


def test_a_storage_that_cannot_be_opened(make_config, tmp_path):
    (tmp_path / "study.db").write_text("no database at all, but text of some length")
    with pytest.raises(InputError, match="storage"):
        work(make_config(good, storage=storage_url(None, tmp_path)))
