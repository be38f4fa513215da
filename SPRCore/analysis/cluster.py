"""Work over many pairs: in this process, in processes of this machine, or on the workers of a dask scheduler."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import signal
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import ModuleType, TracebackType
from typing import Any, Generic, TypeVar

import torch

from SPRCore.errors import InputError, SPRError

Task, Result = TypeVar("Task"), TypeVar("Result")

_IN_FLIGHT = 4  # tasks per thread of the cluster that are submitted at a time: a long list costs the scheduler nothing
_SETTINGS = {
    "distributed.worker.daemon": False,  # a benchmark starts a process of its own for each registration
    "distributed.admin.tick.limit": "1h",  # a registration may hold the interpreter that long
    "distributed.scheduler.http.routes": [],  # no pages
    "distributed.scheduler.allowed-failures": 2,
}


class PreparedFunction(Generic[Task, Result]):
    """A function of one task with a state that each process prepares once, at its first task.

    Args:
        make: Function of a module that returns the function of a task.
        *arguments: Arguments of `make`; must be picklable.
    """

    _lock = threading.Lock()
    _latest: tuple[str, Callable[[Any], Any]] | None = None

    def __init__(self, make: Callable[..., Callable[[Task], Result]], *arguments: Any) -> None:
        self._make, self._arguments, self._token = make, arguments, uuid.uuid4().hex

    def __call__(self, task: Task) -> Result:
        """Run a task; tasks of one process run one after the other, whatever the number of its threads."""
        with PreparedFunction._lock:
            if PreparedFunction._latest is None or PreparedFunction._latest[0] != self._token:
                PreparedFunction._latest = None  # before the next state is prepared: models are large
                PreparedFunction._latest = self._token, self._make(*self._arguments)
            return PreparedFunction._latest[1](task)


class Cluster:
    """Processes that run tasks; a context manager that ends the processes it started.

    A task whose process is killed runs again in another one, three times at most.

    Args:
        processes: Number of processes of this machine; 1 runs the tasks in this process.
        scheduler: Address of a running dask scheduler, as in ``tcp://host:8786``, in place of own processes. Its
            workers need the same version of this package and the same paths to the files.

    Raises:
        InputError: No scheduler answers at the address, or dask.distributed is not installed.
    """

    def __init__(self, processes: int = 1, scheduler: str | None = None) -> None:
        self._processes, self._scheduler = processes, scheduler
        self._client: Any = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Cluster:
        """Start the processes, or connect to the scheduler."""
        if self._processes > 1 or self._scheduler is not None:
            with _interruption_waits(), contextlib.ExitStack() as opening:
                self._client = self._connect(opening)
                self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End own processes with the tasks that they run."""
        self._client = None
        self._open.close()

    def run(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Run a function of each task.

        Args:
            function: A function of a module, or a `PreparedFunction`.
            tasks: Arguments; must be picklable, as the results.

        Yields:
            The results as they arrive, in any order.

        Raises:
            SPRError: A task's processes were killed repeatedly. Errors of the function are raised as they are.
        """
        if self._client is None:
            yield from map(function, tasks)
            return
        left = iter(tasks)
        running = {self._submit(function, task) for task in islice(left, self._width)}
        while running:
            done = self._finished(running)
            running = running - done | {self._submit(function, task) for task in islice(left, len(done))}
            for future in done:
                yield self._result(future)

    @property
    def _width(self) -> int:
        return _IN_FLIGHT * max(1, sum(self._client.nthreads().values()))

    def _submit(self, function: Callable[[Task], Result], task: Task) -> Any:
        return self._client.submit(function, task, pure=False)

    def _finished(self, running: set[Any]) -> set[Any]:
        with self._client.as_current():
            return import_distributed().wait(running, return_when="FIRST_COMPLETED").done

    def _result(self, future: Any) -> Any:
        try:
            return future.result()
        except import_distributed().scheduler.KilledWorker:
            remedy = "the same command resumes; try fewer --processes"
            raise SPRError("processes were killed", got="perhaps too little memory", remedy=remedy) from None

    def _connect(self, opening: contextlib.ExitStack) -> Any:
        distributed = import_distributed()
        import dask

        opening.enter_context(dask.config.set(_SETTINGS))
        if self._scheduler is not None:
            try:
                client = distributed.Client(self._scheduler, set_as_default=False)
            except (OSError, ValueError) as error:
                remedy = "start one by: dask scheduler"
                raise InputError(
                    "--scheduler", got=self._scheduler, expected="a running dask scheduler", remedy=remedy
                ) from error
            return opening.enter_context(client)
        threads = str(max(1, torch.get_num_threads() // self._processes))
        cluster = distributed.LocalCluster(
            n_workers=self._processes,
            threads_per_worker=1,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            security=True,  # otherwise every user of this machine could send it a pickle
            memory_limit=None,
            preload=[__name__],  # `dask_setup`
            env={name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
            silence_logs=logging.CRITICAL,
        )
        opening.enter_context(cluster)
        return opening.enter_context(distributed.Client(cluster, set_as_default=False))


@contextlib.contextmanager
def _interruption_waits() -> Iterator[None]:
    """Raise `KeyboardInterrupt` after the block only: a cluster that has half started cannot be closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    except RuntimeError:  # dask's, for a process that did not start: Ctrl-C of a terminal reaches it too
        if not received:
            raise
    finally:
        signal.signal(signal.SIGINT, handler)
    if received:
        raise KeyboardInterrupt


def dask_setup(worker: Any) -> None:
    """Prepare a process that dask has started: Ctrl-C of a terminal reaches it too, but the client handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def import_distributed() -> ModuleType:
    """Return the module of dask.distributed.

    Raises:
        InputError: It is not installed.
    """
    try:
        import distributed
    except ImportError:
        remedy = "pip install 'SPRCore[cluster]', or --processes 1"
        raise InputError("dask.distributed", got="not installed", remedy=remedy) from None
    return distributed


def has_distributed() -> bool:
    """Return whether dask.distributed is installed."""
    return importlib.util.find_spec("distributed") is not None
