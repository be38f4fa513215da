"""Studies: which trials are done, what becomes of those that fail or are lost, and what is found."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest

from SPRCore.errors import ConvergenceError, InputError, SPRError
from SPRCore.io import ModelCard, read_bundle, write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.tuning import queue as queues
from SPRCore.tuning.outcome import best_of, outcome, tolerance, trial_records, write_best
from SPRCore.tuning.queue import AGAIN, LOST, MOST_LOSSES, Queue, slots_of
from SPRCore.tuning.space import Objective, Parameter, parameters
from SPRCore.tuning.storage import storage_place, without_password
from SPRCore.tuning.studies import Study, TrialRecord, read_study, write_study
from SPRCore.tuning.study import run_study
from SPRCore.tuning.targets import RecipeTarget, changed
from SPRCore.tuning.worker import Task, open_study, work

optuna = pytest.importorskip("optuna")

X = (Parameter(name="x", low=0.0, high=1.0),)


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
def task(tmp_path):
    """Make a study of a function of slot, parameters and whom to tell."""

    def make(function, **changes):
        usual = {
            "study": "s",
            "storage": storage_place(str(tmp_path / "s.log"), tmp_path),
            "parameters": X,
            "trials": 6,
        }
        usual |= {"objective": Objective(), "target": Simple(function), "patience_seconds": 2.0}
        return Task(**usual | changes)

    return make


def good(slot, params, tell):
    return {"dice": 1.0 - (params["x"] - 0.3) ** 2}


def found(task, **options):
    return outcome(task, open_study(task)[0], target="t", **{"band": 0.01} | options)


def test_a_study_finds_what_is_best_and_goes_on(task):
    assert work(task(good, trials=8)) == 8
    first = found(task(good, trials=8))
    assert [trial.slot for trial in first.trials] == list(range(8))
    assert {trial.state for trial in first.trials} == {"complete"}
    assert work(task(good, trials=30)) == 22  # those that are done count
    whole = found(task(good, trials=30))
    assert whole.trials[:8] == first.trials
    assert whole.best_trial.value > 0.999
    assert abs(whole.best_trial.params["x"] - 0.3) < 0.03
    low, high = whole.tolerance["x"]
    assert 0.19 < low < whole.best_trial.params["x"] < high < 0.41
    assert work(task(good, trials=30)) == 0


def test_what_is_drawn_does_not_depend_on_interruptions(task, tmp_path):
    work(task(good, trials=4))
    work(task(good, trials=12))
    in_parts = [trial.params for trial in found(task(good, trials=12)).trials]
    other = task(good, trials=12, storage=storage_place(str(tmp_path / "other.log"), tmp_path))
    work(other)
    assert [trial.params for trial in found(other).trials] == in_parts
    assert len({params["x"] for params in in_parts}) == 12


def test_failures_are_kept_with_their_reason_and_stop_nothing(task):
    def some(slot, params, tell):
        if slot == 1:
            raise ConvergenceError("step 3", got="NaN")
        if slot == 2:
            return {"dice": float("nan")}
        if slot == 4:
            raise RuntimeError("out of memory")
        return good(slot, params, tell)

    study = task(some)
    assert work(study) == 6
    records = found(study).trials
    assert [trial.state for trial in records] == ["complete", "failed", "failed", "complete", "failed", "complete"]
    assert records[1].failed == "step 3: got NaN"
    assert "nan" in records[2].failed
    assert records[4].failed == "RuntimeError: out of memory"
    assert found(study).best_trial.state == "complete"


def test_when_all_fail_it_ends(task):
    def bad(slot, params, tell):
        raise ConvergenceError("always")

    with pytest.raises(SPRError, match="5 trials in a row failed: got always"):
        work(task(bad, trials=20))


def test_bad_input_gives_the_trial_back(task):
    def wrong(slot, params, tell):
        raise InputError("labels", got="none")

    study = task(wrong)
    with pytest.raises(InputError, match="labels"):
        work(study)
    assert not found(study).trials
    drawn = [trial.params for trial in open_study(study)[0].get_trials()]
    mended = task(good)
    assert work(mended) == 6
    records = found(mended).trials
    assert [trial.slot for trial in sorted(records, key=lambda trial: trial.slot)] == list(range(6))
    assert next(trial for trial in records if trial.slot == 0).params == drawn[0]


def test_an_objective_that_the_data_do_not_have(task):
    with pytest.raises(InputError, match="objective tre: got none of it in the data; expected pairs with landmarks"):
        work(task(good, objective=Objective(name="tre")))


def test_what_is_worse_than_the_median_is_cut_short(task):
    def slow(slot, params, tell):
        for step in range(1, 6):
            tell(step, {"dice": (0.9 if slot < 3 else 0.1) * step / 5})
        return {"dice": 0.9 if slot < 3 else 0.1}

    study = task(slow, trials=5, pruner=(3, 2, 1))
    work(study)
    records = found(study).trials
    assert [trial.state for trial in records] == ["complete"] * 3 + ["pruned"] * 2
    assert list(records[3].intermediate) == ["1", "2"]  # the first step is let pass
    assert found(study).best_trial.slot < 3


@pytest.mark.parametrize("improving", [True, False])
def test_of_a_cohort_the_same_pairs_are_compared(task, monkeypatch, improving):
    def means(slot, params, tell):
        scores = np.array([0.9, 0.6, 0.6, 0.6]) - (0.0 if slot < 3 else 0.05)  # the first pair is an easy one
        for count in range(1, 5):
            tell(count, {"dice": float(scores[:count].mean())})
        return {"dice": float(scores.mean())}

    monkeypatch.setattr(Simple, "improving", improving)
    study = task(means, trials=5, pruner=(3, 2, 2))
    work(study)
    states = [trial.state for trial in found(study).trials]
    # The best value so far, 0.85 of the easy pair, is above every median of the later steps.
    assert states == (["complete"] * 5 if improving else ["complete"] * 3 + ["pruned"] * 2)
    assert improving or list(found(study).trials[3].intermediate) == ["1", "2"]


def test_without_labels_what_folds_too_much_is_worse_than_all_else(task):
    def folds(slot, params, tell):
        return {"lncc": params["x"], "folding_percent": 2.0 * max(0.0, params["x"] - 0.5)}

    study = task(folds, objective=Objective(name="label-free", max_folding=0.1), trials=25)
    work(study)
    best = found(study).best_trial
    assert best.measures["folding_percent"] <= 0.1
    assert 0.45 < best.value <= 0.55
    records = [
        TrialRecord(number=0, slot=0, state="complete", value=0.9, measures={"folding_percent": 3.0}, params={"x": 1}),
        TrialRecord(number=1, slot=1, state="complete", value=0.8, measures={"folding_percent": 2.0}, params={"x": 2}),
    ]
    assert best_of(records, study.objective).number == 1  # none is allowed: the one that folds least


def test_landmarks_are_minimised(task):
    def errors(slot, params, tell):
        return {"tre_mm": 1.0 + params["x"]}

    study = task(errors, objective=Objective(name="tre"), trials=15)
    work(study)
    assert found(study).direction == "minimize"
    assert found(study).best_trial.params["x"] < 0.1


def test_importances_tell_what_matters(task):
    two = (*X, Parameter(name="y", low=1e-4, high=1.0, log=True))

    def mostly_x(slot, params, tell):
        return {"dice": params["x"] ** 2 + 0.01 * params["y"]}

    study = task(mostly_x, parameters=two, trials=20)
    work(study)
    shares = found(study).importances
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["x"] > 0.9
    work(constant := task(lambda *_: {"dice": 0.5}, study="c", parameters=two))
    assert found(constant).importances == {}


def record(number, value, x, state="complete", **measures):
    return TrialRecord(number=number, slot=number, state=state, value=value, params={"x": x}, measures=measures)


def test_tolerance_is_of_good_trials():
    records = [record(0, 0.80, 0.1), record(1, 0.805, 0.3), record(2, 0.798, 0.5), record(3, 0.7, 0.9)]
    records.append(record(4, 0.804, 0.7, "pruned"))
    assert tolerance(records, Objective(), 0.006) == {"x": (0.1, 0.3)}
    assert tolerance(records, Objective(), 0.0) == {}  # one value is no band
    assert tolerance([], Objective(), 0.1) == {}


# Which process does which trial


@pytest.fixture
def make_queue(task):
    """Make what a process sees of a study."""

    def make(count=3, patience=2.0):
        study, storage = open_study(task(good))
        return Queue(study, storage, count, patience, lambda slot: optuna.samplers.RandomSampler(seed=slot))

    return make


def test_of_two_that_take_a_slot_at_once_one_has_it(make_queue):
    first, second = make_queue(), make_queue()
    slot = first.slots()[0]
    assert first._claim(slot) is not None
    assert second._claim(slot) is None  # it saw the slot open
    trials = first.study.get_trials()
    assert [trial.state.name for trial in trials] == ["RUNNING", "FAIL"]
    assert [len(slot.attempts) for slot in slots_of(trials, 3)] == [1, 0, 0]


def test_a_trial_of_another_machine_is_lost_when_it_stands_still(make_queue, monkeypatch):
    elsewhere = make_queue()
    monkeypatch.setattr(queues, "place", lambda: "another machine")
    trial = elsewhere.take()
    value = trial.suggest_float("x", 0.0, 1.0)
    monkeypatch.undo()
    here = make_queue(count=1, patience=0.5)
    assert not here._close_lost(here.slots())  # only now is the clock running
    again = here.take()
    assert again.number > trial.number
    assert again.suggest_float("x", 0.0, 1.0) == value
    assert here.study.get_trials()[trial.number].user_attrs[AGAIN] == LOST
    assert not elsewhere.end(trial, optuna.trial.TrialState.COMPLETE, 1.0)  # it was not dead: its result is dropped
    assert here.end(again, optuna.trial.TrialState.COMPLETE, 0.5)
    (kept,) = trial_records(here.study.get_trials(), 1)
    assert (kept.number, kept.value) == (again.number, 0.5)
    assert here.take() is None


def test_signs_of_life_keep_a_trial(make_queue, monkeypatch):
    elsewhere = make_queue(count=1, patience=0.5)
    monkeypatch.setattr(queues, "place", lambda: "another machine")
    trial = elsewhere.take()
    monkeypatch.undo()
    here = make_queue(count=1, patience=3.0)
    with elsewhere.alive(trial):
        deadline = queues.time.monotonic() + 6.0
        while queues.time.monotonic() < deadline:
            assert not here._close_lost(here.slots())
            queues.time.sleep(0.2)


def test_a_slot_that_costs_process_after_process_has_failed(make_queue, monkeypatch):
    queue = make_queue(count=1)
    monkeypatch.setattr(queues, "_lives", lambda process: False)
    for _ in range(MOST_LOSSES):
        assert queue.take() is not None
        assert queue._close_lost(queue.slots())
    assert queue.take() is None
    (kept,) = trial_records(queue.study.get_trials(), 1)
    assert kept.state == "failed"
    assert kept.failed == "lost with its process 3 times"


SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    from SPRCore.tuning.space import Objective, Parameter
    from SPRCore.tuning.worker import Task, work

    folder = Path(sys.argv[1])

    def note(line):
        handle = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, (line + "\\n").encode())
        os.close(handle)

    class Target:
        improving = True

        def opened(self):
            return self.trial

        def trial(self, slot, params, tell):
            note(f"begun {slot} {os.getpid()} {params['x']!r}")
            time.sleep(0.05)
            tell(1, {"dice": params["x"]})
            if slot == 5:
                try:
                    (folder / "once").touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            note(f"ended {slot} {os.getpid()} {params['x']!r}")
            return {"dice": params["x"]}

    work(Task(study="s", storage=sys.argv[2], target=Target(), parameters=(Parameter(name="x", low=0.0, high=1.0),),
              objective=Objective(), trials=30, patience_seconds=20.0))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("file", ["study.db", "study.log"])
def test_no_trial_is_lost_or_doubled_when_a_process_is_killed(tmp_path, file, task):
    place = storage_place(str(tmp_path / file), tmp_path)
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), str(tmp_path), place]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    ends = []
    for process in started:  # whoever was killed is a process no more only when it has been waited for
        ends.append(SimpleNamespace(err=process.communicate(timeout=240)[1], code=process.returncode))
    assert sorted(end.code for end in ends) == [-signal.SIGKILL, 0, 0], ends
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    ended = [int(slot) for what, slot, *_ in notes if what == "ended"]
    assert sorted(ended) == list(range(30))  # each was done to the end once
    begun = [(pid, x) for what, slot, pid, x in notes if what == "begun" and slot == "5"]
    assert len(begun) == 2
    assert begun[0][0] != begun[1][0]
    assert begun[0][1] == begun[1][1]  # the same parameters
    assert len({pid for _, _, pid, _ in notes}) == 3
    records = found(task(good, storage=place, trials=30)).trials
    assert sorted(trial.slot for trial in records) == list(range(30))
    assert {trial.state for trial in records} == {"complete"}


# What is tuned


def test_ranges():
    known = {"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)}
    assert [each.high for each in parameters(known, {}, None)] == [0.6, 3.0]
    assert parameters(known, {"alpha": "0.1:0.2"}, None)[-1] == Parameter(name="alpha", low=0.1, high=0.2)
    free = dict.fromkeys(known)
    assert {each.name: (each.low, each.high) for each in parameters(free, {}, "heart")} == {
        "alpha": (0, 0.6),
        "lambda_max": (0.8, 3),
    }
    variation = parameters(dict.fromkeys(("tv", "lambda_max")), {}, "heart", prior="tv")
    assert [(each.name, each.low, each.high) for each in variation] == [("tv", 0.02, 2), ("lambda_max", 1, 100)]
    rate = parameters({}, {"optimiser.lr": "1e-4:1e-2:log"}, None, ["optimiser.lr"])
    assert rate == (Parameter(name="optimiser.lr", low=1e-4, high=1e-2, log=True),)
    for wrong in ({"alpha": "1"}, {"alpha": "1:0"}, {"alpha": "0:1:log"}, {"alpha": "0:1:lin"}, {"beta": "0:1"}):
        with pytest.raises(InputError):
            parameters(known, wrong, None)
    with pytest.raises(InputError, match="--ranges"):
        parameters(free, {}, None)


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
    tried = (Parameter(name="alpha", low=0.0, high=0.6), Parameter(name="lambda_max", low=0.0, high=3.0))
    usual = {"study": "tiny", "storage": storage_place(None, folder), "parameters": tried, "objective": Objective()}
    task = Task(target=RecipeTarget(recipe=recipe, folder=folder), trials=3, **usual)
    done = run_study(task, folder, target="tiny", band=1.0)
    assert {trial.state for trial in done.study.trials} == {"complete"}
    assert list(done.study.trials[0].intermediate) == ["1", "2", "3"]  # validations, by epoch
    best = done.study.best_trial
    assert best.value == max(best.intermediate.values())
    bundle = read_bundle(done.bundle)
    assert bundle.card.optimum == best.params
    assert bundle.card.tolerance == done.study.tolerance
    assert set(bundle.card.tolerance) == {"alpha", "lambda_max"}
    assert bundle.card.defaults["alpha"] == best.params["alpha"]
    assert bundle.sha256 == read_bundle(task.target.bundle(best.slot)).sha256
    assert read_study(folder) == done.study
    assert not list(folder.rglob("checkpoints"))
    with pytest.raises(InputError, match="other data, models, ranges or objective"):
        run_study(dataclasses.replace(task, parameters=tried[:1]), folder, target="tiny", band=1.0)


@pytest.mark.slow
def test_a_training_that_was_lost_goes_on(tiny_recipe, tmp_path):
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


def test_a_model_gets_its_optimum_without_training(task, tmp_path, tiny_network, card_for):
    network = tiny_network("hyper-vxm-spr-small")
    ranges = {"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)}
    card = card_for(network, name="tiny", ranges=ranges, defaults={"alpha": 0.1, "lambda_max": 1.0})
    path = tmp_path / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), path)
    tried = (Parameter(name="alpha", low=0.0, high=0.6),)
    tuned = task(lambda slot, params, tell: {"dice": params["alpha"]}, parameters=tried)
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
    assert storage_place(None, tmp_path) == f"sqlite:///{tmp_path / 'study.db'}"
    assert storage_place(str(tmp_path / "a.log"), tmp_path) == f"journal:{tmp_path / 'a.log'}"
    assert storage_place("mysql://u:p@host/db", tmp_path) == "mysql://u:p@host/db"
    assert without_password("--storage mysql://u:p@host/db") == "--storage mysql://host/db"
    with pytest.raises(InputError, match="--storage"):
        storage_place("study.txt", tmp_path)


def test_a_storage_that_cannot_be_opened(task, tmp_path):
    (tmp_path / "study.db").write_text("no database at all, but text of some length")
    with pytest.raises(InputError, match="storage"):
        work(task(good, storage=storage_place(None, tmp_path)))
