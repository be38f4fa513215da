"""Order of the pairs in training: reproducible, resumable and divided among processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from SPRCore.errors import InputError


class EpochSampler(Sampler[tuple[int, int]]):
    """Random order of the pairs of an epoch, without repetition, that depends on the seed and the epoch alone.

    It holds no random state, and iterating does not change it, since a loader reads ahead of the training. The loop
    counts the pairs it has used and calls `start`.

    Args:
        size: Number of pairs to draw from.
        per_epoch: Pairs of an epoch in all processes; None takes each once.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes. Process r takes positions r, r + world, … of the order, so that a step of all
            processes sees the pairs that one process would see in as many steps. An epoch that does not divide evenly
            continues with its first pairs.

    Raises:
        InputError: There are no pairs, or rank and world do not fit.
    """

    def __init__(
        self, size: int, *, per_epoch: int | None = None, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if size < 1 or (per_epoch is not None and per_epoch < 1):
            raise InputError("sampler", got=f"{size} pairs, {per_epoch} per epoch", expected="one or more")
        if not 0 <= rank < world:
            raise InputError("sampler", got=f"process {rank} of {world}", expected="0 to one less than their number")
        self.size, self.per_epoch, self.seed = size, per_epoch or size, seed
        self.rank, self.world = rank, world
        self.epoch = self.position = 0

    def __len__(self) -> int:
        return -(-self.per_epoch // self.world)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index) of this process's pairs of the epoch, from the position on."""
        order = np.resize(self._order(), len(self) * self.world)
        for index in order[self.rank :: self.world][self.position :]:
            yield self.epoch, int(index)

    def start(self, epoch: int, position: int = 0) -> None:
        """Set the epoch and position of the next iteration.

        Args:
            epoch: The epoch, from 0.
            position: Pairs of this process that the epoch has used already.

        Raises:
            InputError: The position is outside the epoch.
        """
        if epoch < 0 or not 0 <= position <= len(self):
            raise InputError("sampler", got=f"epoch {epoch}, position {position}", expected=f"up to {len(self)}")
        self.epoch, self.position = epoch, position

    def _order(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.per_epoch <= self.size:
            return rng.permutation(self.size)[: self.per_epoch]
        rounds = -(-self.per_epoch // self.size)
        return np.concatenate([rng.permutation(self.size) for _ in range(rounds)])[: self.per_epoch]
