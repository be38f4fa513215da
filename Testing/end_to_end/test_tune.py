"""`spr tune` as a user runs it: several processes, killed and interrupted studies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest

from SPRCore.io import read_card, write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.tuning.studies import read_study

optuna = pytest.importorskip("optuna")
sqlalchemy = pytest.importorskip("sqlalchemy")
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
    count = len(study.trials)
    assert [trial.state for trial in study.trials] == ["complete"] * count
    assert count in (6, 7)  # the processes may start the last trial at the same time
    assert sorted(trial.slot for trial in study.trials) == list(range(count))
    best = study.best_trial
    assert best.value == min(trial.value for trial in study.trials)
    assert f"best tre: {best.value:.4f}" in done.out
    assert read_card(tmp_path / "tiny.sprmodel.safetensors").optimum == best.params
    assert str(tmp_path) not in (tmp_path / "study.json").read_text()  # no folder of anybody
    more = spr(*usual, "--trials", count + 1, "--objective", "tre")
    assert more.code == 0, more.err
    assert len(read_study(tmp_path).trials) == count + 1
    other = spr(*usual, "--trials", 9, "--objective", "dice")
    assert other.code == 2
    assert "choose another --study" in other.err[0]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_study_is_resumed_by_another_command(listed, spr_process, tmp_path):
    storage = tmp_path / "study.db"
    usual = ("tune", "instance", "--pairs", listed, "--preset", "heart", "--init", "none", "--device", "cpu")
    usual += ("--trials", 6, "--storage", storage, "--patience", 4)
    one = spr_process(*usual, "--out", tmp_path / "one")
    held = running_trial_of(one, storage)
    os.kill(one.pid, signal.SIGKILL)
    one.communicate(timeout=60)
    two = spr_process(*usual, "--out", tmp_path / "two")
    out, err = two.communicate(timeout=280)
    assert two.returncode == 0, err
    assert "6 of 6 trials" in out
    study = read_study(tmp_path / "two")
    assert {trial.state for trial in study.trials} == {"complete"}
    again = next(trial for trial in study.trials if trial.slot == held.number)
    assert again.number > held.number
    assert again.params == held.params
    assert trials_of(storage)[held.number].state.name == "FAIL"


def trials_of(path):
    if path.suffix == ".db":
        storage = f"sqlite:///{path}"
    else:
        lock = optuna.storages.journal.JournalFileOpenLock(str(path))
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock))
    names = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=names[0], storage=storage).get_trials() if names else []


def running_trial_of(process, path):
    """Wait until a process is in the middle of a trial."""
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError, AssertionError):  # the tables are being created
            for trial in trials_of(path) if path.exists() else []:
                if not trial.state.is_finished() and len(trial.params) == 2:
                    return trial
        time.sleep(0.05)
    raise AssertionError("no trial began")


@pytest.mark.usefixtures("heard_signals")
def test_an_interrupted_study_resumes(listed, spr_process, spr, tmp_path):
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
    assert process.returncode == 130, err
    assert "the same command resumes" in err
    done = len(json.loads((tmp_path / "study.json").read_text())["trials"])
    assert done >= 1
    more = spr(*usual, "--trials", done + 1)
    assert more.code == 0, more.err
    assert [trial.state for trial in read_study(tmp_path).trials] == ["complete"] * (done + 1)


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
