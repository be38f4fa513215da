"""Run a function in its own process: time and memory are measured separately, a crash ends that process alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from SPRCore.errors import SPRError

_PRELOADED = ("SPRCore.analysis.benchmark",)
_PATIENCE_SECONDS = 10.0


class IsolatedError(SPRError):
    """The work in a child process failed; the message is that of its error."""


def run_isolated(function: Callable[..., Any], *arguments: Any, timeout_seconds: float | None = None) -> Any:
    """Call a function in a child process.

    Args:
        function: A function of a module.
        *arguments: What it is called with; must be picklable, as its result.
        timeout_seconds: After how long to give up; None for never.

    Returns:
        What the function returned.

    Raises:
        IsolatedError: It raised, took too long, or the process died (for memory, for example).
    """
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, function, arguments), daemon=False)
    process.start()
    sender.close()
    try:
        if not receiver.poll(timeout_seconds):
            raise IsolatedError(f"not done after {timeout_seconds:g} s")
        outcome, value = receiver.recv()
    except EOFError:
        process.join()
        raise IsolatedError(_death(process.exitcode)) from None
    finally:
        _end(process)
        receiver.close()
    if outcome == "failed":
        raise IsolatedError(value)
    return value


def _context() -> Any:
    # A server that has loaded PyTorch and computed nothing is forked for every child: quick, and no lock or thread of
    # this process gets lost in the fork. Where there is no such server every child starts from nothing.
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


def _serve(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGTERM, _stop)  # so that programs that the work has started end with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first of them ends the others
    try:
        result = "done", function(*arguments)
    except Exception as error:  # whatever it is belongs into the results
        words = str(error) if isinstance(error, SPRError) else f"{type(error).__name__}: {error}"
        result = "failed", words
    with contextlib.suppress(BrokenPipeError):  # the parent process has ended
        sender.send(result)
    sender.close()


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end(process: Any) -> None:
    process.join(0.0 if process.exitcode is None and sys.exc_info()[0] else _PATIENCE_SECONDS)
    if process.is_alive():
        process.terminate()
        process.join(_PATIENCE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _death(code: int | None) -> str:
    if code == -getattr(signal, "SIGKILL", 9):
        return "the process was killed, perhaps for want of memory"
    return f"the process ended with code {code}"
