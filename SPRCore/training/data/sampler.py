"""Which pairs are seen in which order: the same on every machine, from any place on, divided among processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from SPRCore.errors import InputError


class EpochSampler(Sampler[tuple[int, int]]):
    """Order of the pairs of an epoch, without repetition, that depends on the seed and the epoch alone.

    It holds no random state: an epoch and a position say all, and iterating changes neither, since a loader reads
    ahead of what has been trained on. The loop counts what it has used and calls `start`.

    Args:
        size: Number of pairs to draw from.
        per_epoch: Pairs of an epoch, all processes together; None takes each once.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes. Process r takes places r, r + world, … of the order, so that a step of all processes
            sees the pairs that one process would see in as many steps. An epoch that cannot be divided goes on with its
            first pairs.
        shuffle: Whether the order is random; otherwise it is that of the data.

    Raises:
        InputError: There are no pairs, or rank and world do not fit.
    """

    def __init__(
        self,
        size: int,
        *,
        per_epoch: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
    ) -> None:
        if size < 1 or (per_epoch is not None and per_epoch < 1):
            raise InputError("sampler", got=f"{size} pairs, {per_epoch} per epoch", expected="one or more")
        if not 0 <= rank < world:
            raise InputError("sampler", got=f"process {rank} of {world}", expected="0 to one less than their number")
        self.size, self.per_epoch, self.seed = size, per_epoch or size, seed
        self.rank, self.world, self.shuffle = rank, world, shuffle
        self.epoch = self.position = 0

    def __len__(self) -> int:
        """Return the pairs that this process sees in a whole epoch."""
        return -(-self.per_epoch // self.world)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index) of this process's pairs of the epoch, from the position on."""
        order = self._order()
        order = np.resize(order, len(self) * self.world)  # goes on with its first ones
        for index in order[self.rank :: self.world][self.position :]:
            yield self.epoch, int(index)

    def start(self, epoch: int, position: int = 0) -> None:
        """Set what the next iteration yields.

        Args:
            epoch: The epoch, from 0.
            position: Pairs of this process that have been used of it already.

        Raises:
            InputError: There is no such place.
        """
        if epoch < 0 or not 0 <= position <= len(self):
            raise InputError("sampler", got=f"epoch {epoch}, position {position}", expected=f"up to {len(self)}")
        self.epoch, self.position = epoch, position

    def state_dict(self) -> dict[str, int]:
        """Return the place, and what must be the same for the place to mean the same."""
        return {name: getattr(self, name) for name in ("size", "per_epoch", "seed", "world", "epoch", "position")}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a place.

        Args:
            state: What `state_dict` gave.

        Raises:
            InputError: It is from other data, another seed or another number of processes.
        """
        for name in ("size", "per_epoch", "seed", "world"):
            if state[name] != getattr(self, name):
                what = {"world": "processes", "per_epoch": "pairs per epoch", "size": "pairs"}.get(name, name)
                remedy = "resume with the recipe and the processes of the run"
                raise InputError(what, got=str(getattr(self, name)), expected=f"{state[name]} as before", remedy=remedy)
        self.start(state["epoch"], state["position"])

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.resize(np.arange(self.size), self.per_epoch)
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.per_epoch <= self.size:
            return rng.permutation(self.size)[: self.per_epoch]
        rounds = -(-self.per_epoch // self.size)
        return np.concatenate([rng.permutation(self.size) for _ in range(rounds)])[: self.per_epoch]
