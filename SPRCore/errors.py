"""The error classes of SPRCore.

Every message is one line: the faulty object, its value, the expected value and a remedy.
"""

from __future__ import annotations


class SPRError(Exception):
    """Base of all errors of SPRCore.

    Args:
        what: The faulty object: a file, an option, a volume.
        got: What was found.
        expected: What was expected.
        remedy: What the user can do.
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

    # OSError builds str() from its own arguments.
    __str__ = Exception.__str__


class ConvergenceError(SPRError, ArithmeticError):
    """A computation became NaN or infinite and was stopped (exit code 1)."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, of Python or of PyTorch on any device, reports that memory ran out."""
    parts = ("out of memory", "can't allocate memory", "Cannot allocate memory", "bad_alloc")
    is_reported = isinstance(error, (RuntimeError, OSError)) and any(part in str(error) for part in parts)
    return isinstance(error, MemoryError) or is_reported
