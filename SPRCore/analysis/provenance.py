"""Provenance of a result: versions, machine and memory."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("SPRCore", "torch", "numpy", "nibabel", "SimpleITK")
_MEBIBYTE = 2**20


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the libraries that affect its numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that was never installed
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what affects the times: processor, cores, threads of PyTorch, system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory_mb(device: torch.device, *, programs: bool = False) -> float | None:
    """Return the peak memory in MiB of a device, on the CPU of the process; None if the system does not report it.

    Args:
        device: Device of the tensors.
        programs: Whether to include child processes that have ended, and return the largest of all.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MEBIBYTE
    try:
        import resource
    except ImportError:  # Windows
        return None
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN) if programs else (resource.RUSAGE_SELF,)
    peak = max(resource.getrusage(who).ru_maxrss for who in whose)
    return peak / (_MEBIBYTE if sys.platform == "darwin" else 1024)
