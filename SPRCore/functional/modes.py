"""Default modes of PyTorch, independent of those of the caller."""

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
    """Disable inference mode, autocast, default device and default type of the caller within a block or a function.

    They would prevent gradients, round to half precision, or create tensors on another device or of another type.
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
    """Make float32 the default type, which all threads share, until the last block ends."""
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
