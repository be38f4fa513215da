"""Compute devices."""

from __future__ import annotations

import torch

from SPRCore.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")


def pick_device(name: str) -> torch.device:
    """Return a device by name: "cpu", "cuda", "mps", or "auto" for CUDA if available, otherwise the CPU.

    Raises:
        InputError: The name is unknown, or this machine or this build of PyTorch has no such device.
    """
    if name not in DEVICES:
        raise InputError("device", got=repr(name), expected=f"one of: {', '.join(DEVICES)}")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present[name]:
        found = ", ".join(device for device, there in present.items() if there)
        raise InputError("device", got=name, expected=f"one that this machine has: {found}", remedy="use auto")
    return torch.device(name)
