"""The standard streams of the process: they take every character, and may be closed by whoever reads them."""

from __future__ import annotations

import os
import sys


def escape_unencodable() -> None:
    """Let the standard streams write as an escape what the code page of the console does not have."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_error(line: str) -> None:
    """Write a line on the standard error; where nobody reads it any more, it is lost and nothing else."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # a closed pipe, a closed stream, none at all
        return


def drop_output() -> None:
    """Send what is still to be printed nowhere, after the reader of our output has gone (`spr ... | head`)."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # no file of the system behind it
        return


def flush_output() -> None:
    """Write what is left of the output, before the interpreter would complain that nobody reads it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
    except (OSError, ValueError, AttributeError):
        return
