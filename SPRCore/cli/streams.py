"""The standard streams of the process: unencodable characters and closed pipes."""

from __future__ import annotations

import os
import sys


def escape_unencodable() -> None:
    """Write characters that the console cannot encode as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_error(line: str) -> None:
    """Write a line to the standard error; ignored if it is closed."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # a closed pipe, a closed stream, none at all
        return


def drop_output() -> None:
    """Discard further output after the pipe was closed (`spr ... | head`)."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # not backed by a file descriptor
        return


def flush_output() -> None:
    """Flush the output; a closed pipe is not an error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
    except (OSError, ValueError, AttributeError):
        return
