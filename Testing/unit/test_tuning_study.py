"""Studies: which trials are done, what becomes of those that fail or are lost, and what is found."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from SPRCore.analysis.optima import optima_table
from SPRCore.cli.tune import study_lines
from SPRCore.config import encode
from SPRCore.errors import ConvergenceError, InputError, SPRError
from SPRCore.io import ModelCard, read_bundle, write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.tuning.outcome import outcome, tolerance, write_best
from SPRCore.tuning.space import Objective, SearchParameter, search_space
from SPRCore.tuning.storage import quiet, storage_url, without_password
from SPRCore.tuning.studies import Study, TrialRecord, read_study, write_study
from SPRCore.tuning.study import Finished, run_study
from SPRCore.tuning.targets import RecipeTarget, changed
from SPRCore.tuning.worker import StudyConfig, open_study, work

optuna = pytest.importorskip("optuna")

X = (SearchParameter(name="x", low=0.0, high=1.0),)


@dataclasses.dataclass(frozen=True)
class Simple:
    """A target that is a function of parameters."""

    improving = True

    function: object
    path: object = None

    def opened(self):
        return self.function

    def bundle(self, slot):
        return self.path


@pytest.fixture
def make_config(tmp_path):
    """Make a study of a function of slot, parameters and callback."""

    def make(function, **changes):
        usual = {
            "study": "s",
            "storage": storage_url(str(tmp_path / "s.log"), tmp_path),
            "parameters": X,
            "trials": 6,
        }
        usual |= {"objective": Objective(), "target": Simple(function)}
        return StudyConfig(**usual | changes)

    return make


def good(slot, params, report):
    return {"dice": 1.0 - (params["x"] - 0.3) ** 2}


def found(config, **options):
    return outcome(config, open_study(config), target="t", **{"band": 0.01} | options)


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


# Several processes


class Killed(BaseException):
    """Ends a trial without Optuna noticing, as the end of its process does."""


@pytest.fixture
def make_database_config(make_config, tmp_path):
    """Make a study in a database, whose trials expire after about 3 seconds."""

    def make(function, **changes):
        usual = {"storage": storage_url(None, tmp_path), "patience_seconds": 1.0}
        return make_config(function, **usual | changes)

    return make


def test_a_trial_whose_process_ended_is_repeated_with_the_same_parameters(make_database_config):
    seen = []

    def killed_once(slot, params, report):
        seen.append((slot, params["x"]))
        if len(seen) == 2:
            raise Killed
        return good(slot, params, report)

    config = make_database_config(killed_once, trials=3)
    with pytest.raises(Killed):
        work(config)
    assert work(config) == 2
    assert seen[1] in seen[2:]
    records = found(config).trials
    assert sorted(record.slot for record in records) == [0, 1, 2]
    assert [record.state for record in records] == ["complete"] * 3
    assert [trial.state.name for trial in open_study(config).get_trials()].count("FAIL") == 1


def test_a_trial_that_ends_three_processes_has_failed(make_database_config):
    def fatal(slot, params, report):
        raise Killed

    config = make_database_config(fatal, trials=1)
    for _ in range(3):
        with pytest.raises(Killed):
            work(config)
    assert work(config) == 0
    (record,) = found(config).trials
    assert (record.slot, record.state, record.failed) == (0, "failed", "its process ended 3 times")


def test_the_result_of_an_expired_trial_is_discarded(make_database_config, caplog):
    """A process that was suspended finds its trial closed and goes on with the next one."""
    config, seen = make_database_config(good, trials=2), []

    def suspended(slot, params, report):
        seen.append((slot, params["x"]))
        if len(seen) == 1:
            study = open_study(config)
            study.tell(0, state=optuna.trial.TrialState.FAIL)
            with quiet():
                optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[0])
            return {"dice": 2.0}
        return good(slot, params, report)

    with caplog.at_level("WARNING", logger="SPRCore"):
        work(dataclasses.replace(config, target=Simple(suspended)))
    assert "Trial 0 had expired; its result is discarded" in caplog.text
    assert seen[1] == seen[0]
    records = found(config).trials
    assert [(record.number, record.slot) for record in records] == [(1, 0), (2, 2)]
    assert max(record.value for record in records) <= 1.0


def test_a_running_trial_is_waited_for_where_it_may_expire(make_database_config):
    """The last trial is not started twice while another process runs it."""
    config = make_database_config(good, trials=2)
    study = open_study(config)
    study.optimize(lambda trial: work_beside(config, trial), n_trials=1)
    assert [record.slot for record in found(config).trials] == [0, 1]


def work_beside(config, trial):
    """Run the other trials of a study while this one runs."""
    trial.set_user_attr("slot", trial.number)
    other = threading.Thread(target=work, args=(config,), daemon=True)
    other.start()
    other.join(timeout=2.0)
    assert other.is_alive()
    threading.Timer(0.0, other.join).start()
    return trial.suggest_float("x", 0.0, 1.0)


def test_without_heartbeats_a_trial_whose_process_ended_is_replaced(make_config):
    seen = []

    def killed_once(slot, params, report):
        seen.append(slot)
        if slot == 1 and seen.count(1) == 1:
            raise Killed
        return good(slot, params, report)

    config = make_config(killed_once, trials=3)
    with pytest.raises(Killed):
        work(config)
    assert work(config) == 2
    assert seen == [0, 1, 2, 3]
    assert [record.state for record in found(config).trials] == ["complete", "running", "complete", "complete"]


SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    from SPRCore.tuning.space import Objective, SearchParameter
    from SPRCore.tuning.worker import StudyConfig, work

    folder = Path(sys.argv[1])

    def note(line):
        handle = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, (line + "\\n").encode())
        os.close(handle)

    class Target:
        improving = True

        def opened(self):
            return self.trial

        def trial(self, slot, params, report):
            note(f"begun {slot} {os.getpid()} {params['x']!r}")
            time.sleep(1.5 if slot == 5 else 0.05)  # a trial that ends before its first heartbeat is not seen as lost
            report(1, {"dice": params["x"]})
            if slot == 5:
                try:
                    (folder / "once").touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            note(f"ended {slot} {os.getpid()} {params['x']!r}")
            return {"dice": params["x"]}

    work(StudyConfig(study="s", storage=sys.argv[2], target=Target(), objective=Objective(), trials=15,
                     parameters=(SearchParameter(name="x", low=0.0, high=1.0),), patience_seconds=5.0))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("file", ["study.db", "study.log"])
def test_all_trials_are_finished_when_a_process_is_killed(tmp_path, file, make_config):
    storage = storage_url(str(tmp_path / file), tmp_path)
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), str(tmp_path), storage]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    ends = [SimpleNamespace(err=each.communicate(timeout=240)[1], code=each.returncode) for each in started]
    assert sorted(end.code for end in ends) == [-signal.SIGKILL, 0, 0], ends
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    ended = [int(slot) for what, slot, *_ in notes if what == "ended"]
    assert len(ended) == len(set(ended))  # no trial was finished twice
    assert 15 <= len(ended) <= 17  # each of the other processes may start one too many
    begun = [(pid, x) for what, slot, pid, x in notes if what == "begun" and slot == "5"]
    # A journal has no heartbeats; a database repeats the lost trial if the others still run when its heartbeat expires.
    assert len(begun) in ((1, 2) if file == "study.db" else (1,))
    assert len({x for _, x in begun}) == 1
    records = found(make_config(good, storage=storage, trials=15)).trials
    assert sorted(record.slot for record in records if record.state == "complete") == sorted(ended)
    assert {record.state for record in records if record.slot != 5} == {"complete"}
    assert len(begun) == 1 or {record.state for record in records} == {"complete"}


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
