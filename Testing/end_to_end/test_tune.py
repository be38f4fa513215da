"""`spr tune` as a user runs it: on several processes, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from SPRCore.io import read_card, write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.tuning.studies import read_study

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_network, card_for):
    """A hyper model of random weights."""
    network = tiny_network("hyper-vxm-spr-small")
    ranges = {"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)}
    card = card_for(network, name="tiny", ranges=ranges, defaults={"alpha": 0.1, "lambda_max": 1.0})
    path = tmp_path_factory.mktemp("model") / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), path)
    return path


@pytest.fixture(scope="module")
def listed(pair, tmp_path_factory):
    """The pair as a list."""
    columns = ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_points", "moving_points")
    path = tmp_path_factory.mktemp("list") / "pairs.csv"
    path.write_text(f"{','.join(columns)}\n{','.join(str(getattr(pair, column)) for column in columns)}\n")
    return path


def test_a_model_is_tuned_without_training(model, listed, spr, tmp_path):
    usual = ("tune", model, "--pairs", listed, "--init", "none", "--device", "cpu", "--out", tmp_path)
    done = spr(*usual, "--trials", 6, "--objective", "tre", "--processes", 2)
    assert done.code == 0, done.err
    study = read_study(tmp_path)
    assert [trial.state for trial in study.trials] == ["complete"] * 6
    assert sorted(trial.slot for trial in study.trials) == list(range(6))
    best = study.best_trial
    assert best.value == min(trial.value for trial in study.trials)
    assert f"best tre: {best.value:.4f}" in done.out
    assert read_card(tmp_path / "tiny.sprmodel.safetensors").optimum == best.params
    assert str(tmp_path) not in (tmp_path / "study.json").read_text()  # no folder of anybody
    more = spr(*usual, "--trials", 7, "--objective", "tre")
    assert more.code == 0, more.err
    assert len(read_study(tmp_path).trials) == 7
    other = spr(*usual, "--trials", 7, "--objective", "dice")
    assert other.code == 2
    assert "choose another --study" in other.err[0]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_two_commands_share_a_study_and_one_is_killed(listed, spr_process, tmp_path):
    storage = tmp_path / "study.log"
    usual = ("tune", "instance", "--pairs", listed, "--preset", "heart", "--init", "none", "--device", "cpu")
    usual += ("--trials", 10, "--storage", storage)
    one, two = (spr_process(*usual, "--out", tmp_path / name) for name in ("one", "two"))
    held = running_trial_of(one, storage)
    os.kill(one.pid, signal.SIGKILL)
    one.communicate(timeout=60)
    out, err = two.communicate(timeout=280)
    assert two.returncode == 0, err
    assert "10 of 10 trials" in out
    study = read_study(tmp_path / "two")
    assert sorted(trial.slot for trial in study.trials) == list(range(10))
    assert {trial.state for trial in study.trials} == {"complete"}
    again = next(trial for trial in study.trials if trial.slot == held.user_attrs["slot"])
    assert again.number > held.number
    kept = next(iter(trials_of(storage)[held.number : held.number + 1]))
    assert kept.state.name == "FAIL"
    assert kept.user_attrs["again"] == "lost"
    assert again.params == kept.params


def trials_of(path):
    lock = optuna.storages.journal.JournalFileOpenLock(str(path))
    backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock)
    storage = optuna.storages.JournalStorage(backend)
    return storage.get_all_trials(storage.get_all_studies()[0]._study_id) if storage.get_all_studies() else []


def running_trial_of(process, path):
    """Wait until a process is in the middle of a trial."""
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for trial in trials_of(path) if path.exists() else []:
            if trial.user_attrs["process"] == process.pid and not trial.state.is_finished() and len(trial.params) == 2:
                return trial
        time.sleep(0.02)
    raise AssertionError("no trial began")


def test_an_interrupted_study_gives_its_trial_back(listed, spr_process, spr, tmp_path):
    usual = ("tune", "instance", "--pairs", listed, "--ranges", "lambda_max=0.5:3", "--init", "none", "--device", "cpu")
    usual += ("--storage", tmp_path / "s.log", "--out", tmp_path)
    process = spr_process(*usual, "--trials", 200)
    deadline = time.monotonic() + 150
    path = tmp_path / "s.log"
    while not (path.exists() and any(trial.state.is_finished() for trial in trials_of(path))):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "the same command resumes" in err
    done = len(json.loads((tmp_path / "study.json").read_text())["trials"])
    assert done >= 1
    more = spr(*usual, "--trials", done + 1)
    assert more.code == 0, more.err
    states = [trial.state.name for trial in trials_of(path)]
    assert states.count("COMPLETE") == done + 1
    assert "RUNNING" not in states


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("instance",), "--pairs"),
        (("instance", "--pairs", "LIST"), "--ranges"),
        (("instance", "--pairs", "LIST", "--preset", "heart", "--trials", 0), "--trials"),
        (("instance", "--pairs", "LIST", "--ranges", "sigma=0:1"), "got 'sigma'"),
        (("syn", "--pairs", "LIST"), "syn"),
        (("nothing.yaml",), "no such file"),
    ],
)
def test_what_cannot_be_tuned(words, message, listed, spr, tmp_path):
    done = spr("tune", *(listed if word == "LIST" else word for word in words), "--out", tmp_path / "o")
    assert done.code == 2
    assert message in done.err[0]
