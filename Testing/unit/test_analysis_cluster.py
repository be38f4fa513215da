"""Work over many pairs on processes of this machine and on a running scheduler."""

import os
import signal
import sys

import pytest

from SPRCore.analysis.cluster import Cluster, PreparedFunction
from SPRCore.errors import InputError, SPRError

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    with Cluster(2) as cluster:
        yield cluster


def square(number):
    return number * number, os.getpid()


def refuse(number):
    raise InputError("--number", got=str(number), expected="another")


def die_at_first(task):
    number, folder = task
    marker = folder / str(number)
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(task):
    os.kill(os.getpid(), signal.SIGKILL)


class Counter:
    """A state of a process; counts its tasks."""

    def __init__(self, start):
        self.count = start

    def __call__(self, task):
        self.count += 1
        return task, self.count, os.getpid()


def test_one_process_works_in_this_one():
    with Cluster() as here:
        assert list(here.run(square, range(3))) == [(0, os.getpid()), (1, os.getpid()), (4, os.getpid())]


def test_processes_return_every_result_once(cluster):
    found = list(cluster.run(square, range(100)))  # more tasks than are submitted at a time
    assert sorted(number for number, _ in found) == [number * number for number in range(100)]
    processes = {process for _, process in found}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_a_process_prepares_its_state_once(cluster):
    found = list(cluster.run(PreparedFunction(Counter, 10), range(20)))
    assert sorted(task for task, _, _ in found) == list(range(20))
    for process in {process for _, _, process in found}:
        counts = [count for _, count, its in found if its == process]
        assert sorted(counts) == list(range(11, 11 + len(counts)))
    again = list(cluster.run(PreparedFunction(Counter, 0), range(4)))
    assert min(count for _, count, _ in again) == 1  # another state, not the one before


def test_an_error_is_raised_as_it_is(cluster):
    with pytest.raises(InputError, match=r"--number: got 7; expected another"):
        list(cluster.run(refuse, [7]))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_the_task_of_a_killed_process_runs_again(cluster, tmp_path):
    found = list(cluster.run(die_at_first, [(number, tmp_path) for number in range(12)]))
    assert (tmp_path / "3").exists()
    assert sorted(found) == list(range(12))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_task_that_kills_every_process_is_an_error(cluster):
    with pytest.raises(SPRError, match=r"processes were killed.*memory.*--processes"):
        list(cluster.run(die, [0]))


def test_a_running_scheduler_is_used_by_its_address():
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as running,
        Cluster(scheduler=running.scheduler_address) as cluster,
    ):
        found = list(cluster.run(PreparedFunction(Counter, 0), range(6)))
        assert sorted(count for _, count, _ in found) == [1, 2, 3, 4, 5, 6]  # one at a time, though it has two threads
        assert {process for _, _, process in found} == {os.getpid()}


def test_no_scheduler_answers():
    timeout = dask.config.set({"distributed.comm.timeouts.connect": "0.5s"})
    with (
        timeout,
        pytest.raises(InputError, match=r"--scheduler: got tcp://127.0.0.1:9; expected a running dask scheduler"),
    ):
        Cluster(scheduler="tcp://127.0.0.1:9").__enter__()
    with pytest.raises(InputError, match=r"--scheduler: got nonsense://x"):
        Cluster(scheduler="nonsense://x").__enter__()


def test_several_processes_need_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"not installed.*SPRCore\[cluster\].*--processes 1"):
        Cluster(2).__enter__()
