"""Entry of the command line: reads the arguments, runs one verb and turns every ending into an exit code."""

from __future__ import annotations

import errno
import gc
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from SPRCore.cli.streams import drop_output, escape_unencodable, flush_output, print_error
from SPRCore.errors import InputError, OutputError, SPRError, is_out_of_memory

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

# What the machine refuses while files are read or written; every other OSError is a fault of ours.
_MACHINE_REFUSES = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "free some space or choose another place",
    errno.EFBIG: "choose a place that takes larger files",
    errno.EACCES: "ask for the right to it or choose another place",
    errno.EPERM: "ask for the right to it or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "give a file",
    errno.EIO: "check the disk",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `spr`.

    Args:
        arguments: What follows `spr`; None takes it from the process.

    Returns:
        The exit code: 0 done, 1 a fault of ours, 2 bad input or usage, 130 interrupted.
    """
    # Read when PyTorch is loaded. Its threads spin while they wait for each other by default, which makes a
    # registration three to six times slower as soon as another program wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    escape_unencodable()
    code = _code_of(arguments)
    flush_output()
    return code


def _code_of(arguments: Sequence[str] | None) -> int:
    try:
        with _terminable():
            _run(arguments)
    except KeyboardInterrupt as stop:
        return _end(INTERRUPTED, str(stop) or "interrupted; nothing was written")
    except (InputError, OutputError) as error:
        return _end(BAD_INPUT, str(error))
    except SPRError as error:
        return _end(FAULT, str(error))
    except BrokenPipeError:
        drop_output()
    except OSError as error:
        if error.errno not in _MACHINE_REFUSES:
            return _fault()
        place = f"{error.filename}: " if error.filename else ""
        return _end(BAD_INPUT, f"{place}{error.strerror}; {_MACHINE_REFUSES[error.errno]}")
    except MemoryError:
        return _end(FAULT, "not enough memory; close other programs or give smaller images")
    except Exception as error:
        if is_out_of_memory(error):
            return _end(FAULT, "not enough memory on the device; try --device cpu or give smaller images")
        return _fault()
    return DONE


def _run(arguments: Sequence[str] | None) -> None:
    given = sys.argv[1:] if arguments is None else list(arguments)
    with _modules_kept(is_own_process=arguments is None):
        # Only now: an interrupt during the seconds that these imports can take ends as quietly as any other.
        from SPRCore.cli.usage import parse

        verb = parse(given)
    if verb is not None:
        verb.run(shlex.join(["spr", *given]))


@contextmanager
def _modules_kept(is_own_process: bool) -> Iterator[None]:
    """Load modules without looking for garbage, and leave what they hold out of every later search for it.

    PyTorch alone leaves several hundred thousand objects, which are never garbage; going through them again and again
    takes a fifth of the time to start, and more at the end. In a process of somebody else nothing is changed.
    """
    if not is_own_process:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, so that temporary files go away in both cases."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever runs us there handles the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end(code: int, message: str) -> int:
    print_error(f"spr: {' '.join(message.split())}")
    return code


def _fault() -> int:
    print_error(traceback.format_exc().rstrip())
    return _end(FAULT, "this is a fault of the program; please report it with the lines above")
