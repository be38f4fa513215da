"""Pairs of prepared images as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from SPRCore.errors import InputError
from SPRCore.training.config import AugmentationConfig
from SPRCore.training.data.augmentation import augmented
from SPRCore.training.data.cases import Pair, PairList, Sample, Source
from SPRCore.typing import Tensor

_AUGMENT = 1  # stream of random numbers, apart from that of the order


class PairDataset(Dataset[dict[str, Any]]):
    """Pairs of prepared images.

    Asked for a number it gives the pair as it is; asked for (epoch, number), as `EpochSampler` does, it gives the pair
    as it is augmented in that epoch, whichever process asks.

    Args:
        pairs: Names of the cases of each pair.
        source: Where the cases come from.
        augmentation: Random changes in training; None for none.
        seed: Seed of these changes.

    Attributes:
        pairs: The pairs.
    """

    def __init__(
        self, pairs: PairList, source: Source, *, augmentation: AugmentationConfig | None = None, seed: int = 0
    ) -> None:
        self.pairs: tuple[Pair, ...] = tuple(pairs)
        self._source, self._seed = source, seed
        changes = augmentation is not None and augmentation != AugmentationConfig()
        self._augmentation = augmentation if changes else None

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return a pair.

        Args:
            key: Number of the pair, or epoch and number.

        Returns:
            ``moving`` and ``fixed`` (1, X, Y, Z) float32 in [0, 1]; ``spacing`` (3,) float32 in mm; ``names``, moving
            first; where both have them ``moving_labels`` and ``fixed_labels`` (X, Y, Z) int16, and ``moving_points``
            and ``fixed_points`` (N, 3) float32 in voxels.

        Raises:
            InputError: The two do not share a shape.
        """
        epoch, index = key if isinstance(key, tuple) else (None, key)
        pair = self.pairs[index]
        moving, fixed = self._source.load(pair.moving), self._source.load(pair.fixed)
        if moving.image.shape != fixed.image.shape:
            got = f"{moving.image.shape} and {fixed.image.shape}"
            remedy = "set preprocessing.shape, or preprocessing.align"
            raise InputError(f"{pair.moving} and {pair.fixed}", got=got, expected="the same shape", remedy=remedy)
        if epoch is not None and self._augmentation is not None:
            rng = np.random.default_rng([self._seed, _AUGMENT, epoch, index])
            moving, fixed = augmented(moving, fixed, self._augmentation, rng)
        return _item(pair, moving, fixed)


def _item(pair: Pair, moving: Sample, fixed: Sample) -> dict[str, Any]:
    item: dict[str, Any] = {
        "moving": _tensor(moving.image)[None],
        "fixed": _tensor(fixed.image)[None],
        "spacing": torch.tensor(fixed.spacing_mm, dtype=torch.float32),
        "names": (pair.moving, pair.fixed),
    }
    for part in ("labels", "points"):
        both = getattr(moving, part), getattr(fixed, part)
        if both[0] is not None and both[1] is not None:
            item[f"moving_{part}"], item[f"fixed_{part}"] = map(_tensor, both)
    return item


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
