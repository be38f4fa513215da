"""One process or many: what `torchrun` sets up is found in the environment, and without it a run is one process."""

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

_PATIENCE = timedelta(hours=2)
"""How long processes wait for the first one, which prepares images that `spr prepare` has not prepared."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """This process among those of the run.

    Attributes:
        device: Where it computes.
        rank: Its number, from 0; the first one writes files and talks.
        world: How many there are, on all machines.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    @contextmanager
    def first_process_first(self) -> Iterator[None]:
        """Let the first process run the block before the others, so that they find the files that it makes."""
        if not self.is_first:
            self._meet()
        yield
        if self.is_first:
            self._meet()

    def _meet(self) -> None:
        if self.world > 1:
            distributed.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return the network as all processes train it together: gradients are averaged over them in the backward pass.

        Args:
            network: The network, on the device of this process.

        Returns:
            The network itself where there is one process.
        """
        if self.world == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, gradient_as_bucket_view=True)

    def gathered(self, values: list[Any]) -> list[Any]:
        """Return the values of all processes in the order in which one process would have had them.

        Args:
            values: Plain values of every `world`-th item, this process's first item being number `rank`.

        Returns:
            The values of all items; of as many as there are where the processes have different numbers of them.
        """
        if self.world == 1:
            return values
        parts: list[list[Any]] = [[] for _ in range(self.world)]
        distributed.all_gather_object(parts, values)
        return [part[place] for place in range(len(parts[0])) for part in parts if place < len(part)]


def averaging(network: nn.Module, wanted: bool) -> AbstractContextManager:
    """Context of a forward and backward pass after which gradients are averaged over the processes, or only gathered.

    Args:
        network: What `Process.wrapped` gave.
        wanted: Whether they are averaged: after the last batch of a step alone.

    Returns:
        The context.
    """
    return network.no_sync() if isinstance(network, DistributedDataParallel) and not wanted else nullcontext()


@contextmanager
def process_group(device: str) -> Iterator[Process]:
    """Join the processes that `torchrun` has started, if any, for the time of a block.

    Args:
        device: "auto" (CUDA where there is one), "cpu", "cuda" or "mps"; each process of a machine takes its own GPU.

    Yields:
        This process.

    Raises:
        InputError: The machine has no such device, or fewer GPUs than processes.
    """
    world, rank = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", "1"), ("RANK", "0")))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Process(device=chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Process(rank=rank, world=world, device=chosen)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if present["cuda"] else "cpu"
    if not present[name]:
        found = ", ".join(kind for kind, there in present.items() if there)
        raise InputError("device", got=name, expected=f"one that this machine has: {found}", remedy="use device: auto")
    if name != "cuda":
        return torch.device(name)
    if local_rank >= torch.cuda.device_count():
        got = f"process {local_rank} of a machine with {torch.cuda.device_count()} GPUs"
        raise InputError("torchrun", got=got, expected="at most one process for each GPU")
    return torch.device("cuda", local_rank)
