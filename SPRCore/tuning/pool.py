"""Work on several processes, each of which keeps what it has prepared from one piece of work to the next."""

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

Piece, Result = TypeVar("Piece"), TypeVar("Result")

_worker: Callable[[Any], Any] | None = None  # in a process of the pool: what it has prepared


class Pool(Generic[Piece, Result]):
    """A worker in each of several processes, or one in this process.

    Args:
        make: Makes a worker, a function of one piece of work; of a module, as what it is given and gives back.
        arguments: What `make` is called with, in each process.
        processes: Number of processes; 1 works in this one.
    """

    def __init__(
        self, make: Callable[..., Callable[[Piece], Result]], arguments: Sequence[Any], processes: int
    ) -> None:
        self._make, self._arguments, self._processes = make, tuple(arguments), processes
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool[Piece, Result]:
        """Begin; processes start with the first piece of work."""
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
        """Drop what has not begun, and wait for what has."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, pieces: Iterable[Piece]) -> Iterator[Result]:
        """Work on pieces; results come as they are done.

        Args:
            pieces: The work.

        Yields:
            What the worker gave for each, in any order.

        Raises:
            SPRError: A process was lost; otherwise what the worker raised.
        """
        if self._executor is None:
            work = None
            for piece in pieces:
                work = work or self._make(*self._arguments)
                yield work(piece)
            return
        waiting: set[Future] = {self._executor.submit(_work, piece) for piece in pieces}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise SPRError(
                "a process of the sweep was lost",
                got="perhaps too little memory",
                remedy="the same command goes on where it stopped; try fewer --processes",
            ) from None


def context() -> Any:
    """Return how processes are started: forked from a clean server where there is one, from nothing elsewhere."""
    return multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that one ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: Any) -> None:
    wait_for([sentinel])
    os._exit(1)


def _start(make: Callable[..., Any], arguments: tuple[Any, ...], threads: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the first one decides
    end_with_parent()
    torch.set_num_threads(threads)
    _worker = make(*arguments)


def _work(piece: Any) -> Any:
    if _worker is None:
        raise SPRError("a process of the sweep has not started")
    return _worker(piece)
