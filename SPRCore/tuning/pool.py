"""A pool of processes with state: prepared data are kept between tasks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch

from SPRCore.errors import SPRError

Input, Result = TypeVar("Input"), TypeVar("Result")

_worker: Callable[[Any], Any] | None = None  # state of a process of the pool


class Pool(Generic[Input, Result]):
    """A worker in each of several processes, or one in this process.

    Args:
        make: Picklable function that returns a worker, a function of one task; tasks and results are picklable.
        arguments: Arguments of `make`, in each process.
        processes: Number of processes; 1 works in this one.
    """

    def __init__(
        self, make: Callable[..., Callable[[Input], Result]], arguments: Sequence[Any], processes: int
    ) -> None:
        self._make, self._arguments, self._processes = make, tuple(arguments), processes
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool[Input, Result]:
        """Create the pool; processes start with the first task."""
        if self._processes > 1:
            threads = max(1, torch.get_num_threads() // self._processes)
            self._executor = ProcessPoolExecutor(
                self._processes,
                mp_context=context(),
                initializer=_start,
                initargs=(self._make, self._arguments, threads),
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel waiting tasks, and wait for running ones."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, tasks: Iterable[Input]) -> Iterator[Result]:
        """Run tasks and yield the results as they arrive, in any order; errors of the worker are raised unchanged.

        Raises:
            SPRError: A process was killed.
        """
        if self._executor is None:
            work = None
            for task in tasks:
                work = work or self._make(*self._arguments)
                yield work(task)
            return
        waiting: set[Future] = {self._executor.submit(_work, task) for task in tasks}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise SPRError(
                "a process of the sweep was killed",
                got="perhaps too little memory",
                remedy="the same command resumes; try fewer --processes",
            ) from None


def context() -> Any:
    """Return the multiprocessing context: a fork server on Linux, spawn elsewhere."""
    return multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


def end_with_parent() -> None:
    """End this process when its parent ends, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: Any) -> None:
    wait_for([sentinel])
    os._exit(1)


def _start(make: Callable[..., Any], arguments: tuple[Any, ...], threads: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent handles it
    end_with_parent()
    torch.set_num_threads(threads)
    _worker = make(*arguments)


def _work(task: Any) -> Any:
    if _worker is None:
        raise SPRError("a process of the sweep has not started")
    return _worker(task)
