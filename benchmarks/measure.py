"""Time, memory and accuracy of one thing, measured in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import sys
import time
import traceback
from pathlib import Path

import psutil
import torch
from operations import OPERATIONS

MEBI = 2**20


def run_isolated(function, *arguments):
    """Run a function in a child process; its result, or {"failed": why} if it raises, dies or is killed for memory."""
    # A forked child needs no second import; the parent itself never computes, so that no thread pool is forked.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        result = {"failed": f"the process ended with code {process.exitcode}"}
    process.join()
    return result


def _send(sender, function, arguments):
    try:
        sender.send(function(*arguments))
    except Exception as error:  # whatever it is belongs into the table, not into the terminal
        sender.send({"failed": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})


def return_freed_memory():
    """Make the allocator return every larger block, so that the resident size is the memory in use."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(-3, 65536)  # M_MMAP_THRESHOLD


class Peak:
    """Most resident memory above that at the start, within a ``with`` block."""

    def __enter__(self):
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the high-water mark
        self.start = psutil.Process().memory_info().rss
        return self

    def __exit__(self, *_):
        self.mib = (_high_water() - self.start) / MEBI


def _high_water():
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def kept_for_backward(function, leaves):
    """Bytes that the graph keeps beyond the inputs."""
    inputs = {leaf.untyped_storage().data_ptr() for leaf in leaves}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in inputs:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor is held: no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function(*leaves)
    total = sum(size for size, _ in kept.values())
    del result
    return total


def measure(name, who, size, repeats):
    """Seconds (median), peak memory and bytes kept of one implementation, forward and forward with backward."""
    operation = OPERATIONS[name]
    function, leaves = getattr(operation, who), operation.leaves(size)

    constants = [leaf.detach() for leaf in leaves]

    def forward():
        with torch.no_grad():
            return function(*constants)

    def both():
        result = function(*leaves)
        torch.autograd.grad(result.sum(), [leaf for leaf in leaves if leaf.requires_grad])

    row = {}
    for part, call in (("forward", forward), ("both", both)):
        call()
        row[f"{part}_seconds"] = median_seconds(call, repeats)
    return_freed_memory()
    for part, call in (("forward", forward), ("both", both)):
        with Peak() as peak:
            call()
        row[f"{part}_peak_mib"] = peak.mib
    row["kept_mib"] = kept_for_backward(function, leaves) / MEBI
    return row


def median_seconds(call, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def accuracy(name, size):
    """Largest difference of value and gradient from double precision, relative to the largest value.

    Ours against the reference in double precision, or against `Operation.exact` where the reference has another
    definition; the reference against itself.
    """
    operation = OPERATIONS[name]

    def run(function, dtype):
        leaves = operation.leaves(size, dtype)
        result = function(*leaves)
        slopes = torch.autograd.grad(result.sum(), [leaf for leaf in leaves if leaf.requires_grad])
        return [result.detach().double(), torch.cat([slope.double().flatten() for slope in slopes])]

    row = {}
    for who, true in (("ours", operation.exact or operation.reference), ("reference", operation.reference)):
        exact = run(true, torch.float64)
        pairs = zip(("value", "gradient"), run(getattr(operation, who), torch.float32), exact, strict=True)
        row[who] = {part: float((got - best).abs().amax() / best.abs().amax()) for part, got, best in pairs}
    return row
