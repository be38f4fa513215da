"""Processes of a training run, as `torchrun` sets them up; a single process without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from SPRCore.errors import InputError
from SPRCore.registration.devices import pick_device

_TIMEOUT = timedelta(hours=2)
"""Time that processes wait for the first one, which prepares the images."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """This process of the run.

    Attributes:
        device: Compute device.
        rank: Number of the process, from 0; the first one writes files and logs.
        world: Number of processes on all machines.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    @contextmanager
    def first_process_first(self) -> Iterator[None]:
        """Run the block in the first process before the others, which use the files that it writes."""
        if not self.is_first:
            self._synchronize()
        yield
        if self.is_first:
            self._synchronize()

    def _synchronize(self) -> None:
        if self.world > 1:
            distributed.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return a network on this device, wrapped so that the backward pass averages gradients over the processes."""
        if self.world == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, gradient_as_bucket_view=True)

    def gathered(self, values: list[Any]) -> list[Any]:
        """Return the picklable values of items rank, rank + world, … of all processes, in the order of the items."""
        if self.world == 1:
            return values
        parts: list[list[Any]] = [[] for _ in range(self.world)]
        distributed.all_gather_object(parts, values)
        return [part[index] for index in range(len(parts[0])) for part in parts if index < len(part)]


def averaging(network: nn.Module, wanted: bool) -> AbstractContextManager:
    """Return the context of a pass that averages gradients over the processes, or only accumulates them.

    `wanted` is true for the last batch of a step; the network is the result of `Process.wrapped`.
    """
    return network.no_sync() if isinstance(network, DistributedDataParallel) and not wanted else nullcontext()


@contextmanager
def process_group(device: str) -> Iterator[Process]:
    """Join the process group of `torchrun`, if any, for a block, and yield this process.

    `device` is "auto" (CUDA if available), "cpu", "cuda" or "mps"; each process of a machine uses its own GPU.

    Raises:
        InputError: The device is missing, or there are fewer GPUs than processes.
    """
    world, rank = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", "1"), ("RANK", "0")))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Process(device=chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Process(rank=rank, world=world, device=chosen)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    device = pick_device(name)
    if device.type != "cuda":
        return device
    if local_rank >= torch.cuda.device_count():
        got = f"process {local_rank} of a machine with {torch.cuda.device_count()} GPUs"
        raise InputError("torchrun", got=got, expected="at most one process for each GPU")
    return torch.device("cuda", local_rank)
