"""What callers may have set of PyTorch's state, put aside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_lock = threading.Lock()
_users = 0
_default = torch.float32


@contextmanager
def plain_modes() -> Iterator[None]:
    """Put inference mode, autocast, default device and type of the caller aside, for the time of a block or a function.

    Within them, gradients could not be had, numbers would be rounded to half precision, and tensors would lie elsewhere
    or not fit each other.

    Yields:
        Nothing.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_single_precision())
        yield


@contextmanager
def _single_precision() -> Iterator[None]:
    """Make float32 the default type, which is one for all threads, until the last block is through."""
    global _users, _default
    with _lock:
        if _users == 0:
            _default = torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                torch.set_default_dtype(_default)
