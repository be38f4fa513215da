"""The errors that SPRCore raises on purpose.

Every message is one line that says what is wrong, what was got, what was expected and what to do about it, so that a
command line, a panel and a log can all show it as it is.
"""

from __future__ import annotations


class SPRError(Exception):
    """Base of all errors raised on purpose by SPRCore.

    Args:
        what: The thing that is wrong, in the user's words (a file, an option, a volume).
        got: What was found.
        expected: What would have been right.
        remedy: What the user can do about it.
    """

    def __init__(self, what: str, *, got: str = "", expected: str = "", remedy: str = "") -> None:
        self.what, self.got, self.expected, self.remedy = what, got, expected, remedy
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [
            f"got {self.got}" if self.got else "",
            f"expected {self.expected}" if self.expected else "",
            self.remedy,
        ]
        detail = "; ".join(part for part in parts if part)
        return " ".join(f"{self.what}: {detail}".split()) if detail else self.what


class InputError(SPRError, ValueError):
    """Input or usage is wrong: a file, an array, an option (exit code 2 on the command line)."""


class OutputError(SPRError, OSError):
    """A result could not be written: permission, full disk, a directory in the way (exit code 2)."""

    # OSError fills str() from its own arguments when it has an errno; ours has one sentence.
    __str__ = Exception.__str__


class ConvergenceError(SPRError, ArithmeticError):
    """A computation left the numbers (NaN or Inf) and was stopped before it could spoil a result (exit code 1)."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, of Python or of PyTorch on any device, reports that memory ran out."""
    parts = ("out of memory", "can't allocate memory", "Cannot allocate memory", "bad_alloc")
    is_reported = isinstance(error, (RuntimeError, OSError)) and any(part in str(error) for part in parts)
    return isinstance(error, MemoryError) or is_reported
