"""Entry point of the command line: parses the arguments, runs a command and returns the exit code."""

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
from SPRCore.errors import InputError, OutputError, SPRError

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

# Errors of the system while files are read or written; any other OSError is a bug.
_MACHINE_REFUSES = {
    errno.ENOSPC: "free some space or choose another location",
    errno.EDQUOT: "free some space or choose another location",
    errno.EFBIG: "choose a location that allows larger files",
    errno.EACCES: "get the permission or choose another location",
    errno.EPERM: "get the permission or choose another location",
    errno.EROFS: "choose a writable location",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "give a file",
    errno.EIO: "check the disk",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `spr`.

    Args:
        arguments: Arguments after `spr`; None for those of the process.

    Returns:
        The exit code: 0 success, 1 internal error, 2 bad input or usage, 130 interrupted.
    """
    # Read when PyTorch is loaded. By default its threads spin while waiting, which makes a registration three to six
    # times slower as soon as another program uses a core.
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
        if _is_out_of_memory(error):
            return _end(FAULT, "not enough memory on the device; try --device cpu or give smaller images")
        return _fault()
    return DONE


def _run(arguments: Sequence[str] | None) -> None:
    given = sys.argv[1:] if arguments is None else list(arguments)
    with _modules_kept(is_own_process=arguments is None):
        # Imported here, so that an interrupt during these slow imports is handled, too.
        from SPRCore.cli.usage import parse

        verb = parse(given)
    if verb is not None:
        verb.run(shlex.join(["spr", *given]))


@contextmanager
def _modules_kept(is_own_process: bool) -> Iterator[None]:
    """Disable garbage collection while modules are loaded, and freeze their objects.

    PyTorch alone creates several hundred thousand objects that are never garbage; scanning them takes a fifth of the
    startup time. Nothing is changed when called from Python.
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
    """Handle SIGTERM like Ctrl-C, so that temporary files are removed in both cases."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
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
    return _end(FAULT, "internal error; please report it with the lines above")


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)
