"""Trials whose process ended: repeated, counted, waited for or replaced."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import pytest
from simple_studies import Simple, found, good

from SPRCore.tuning.storage import quiet, storage_url
from SPRCore.tuning.worker import open_study, work

optuna = pytest.importorskip("optuna")


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
    # The lost trial alone may be finished twice: both other processes can find it lost at the same moment.
    repeated = {slot for slot in ended if ended.count(slot) > 1}
    assert repeated <= ({5} if file == "study.db" else set())
    assert 15 <= len(set(ended)) <= 17  # each of the other processes may start one too many
    begun = [(pid, x) for what, slot, pid, x in notes if what == "begun" and slot == "5"]
    # A journal has no heartbeats; a database repeats the lost trial if the others still run when its heartbeat expires.
    assert 1 <= len(begun) <= (3 if file == "study.db" else 1)
    assert len({x for _, x in begun}) == 1
    records = found(make_config(good, storage=storage, trials=15)).trials
    assert sorted(record.slot for record in records if record.state == "complete") == sorted(ended)
    assert {record.state for record in records if record.slot != 5} == {"complete"}
    assert len(begun) == 1 or {record.state for record in records} == {"complete"}


# What is tuned
