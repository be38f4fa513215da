"""Pairs of prepared images as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from SPRCore.errors import InputError
from SPRCore.io.samples import Sample
from SPRCore.training.batches import Batch
from SPRCore.training.config import AugmentationConfig
from SPRCore.training.data.augmentation import augmented
from SPRCore.training.data.cases import Pair, Source
from SPRCore.training.data.teacher import Teacher
from SPRCore.typing import Tensor

_AUGMENT, _SETTING = 1, 3  # streams of random numbers, apart from that of the order

_Settings = tuple[dict[str, float], ...]


class PairDataset(Dataset[Batch]):
    """Pairs of prepared images, each a batch of one.

    Index `number` gives the unchanged pair; (epoch, number), as `EpochSampler` yields, the pair as augmented in that
    epoch, the same in every process.

    Args:
        pairs: Names of the cases of each pair.
        source: Reads the cases.
        labels: Labels that count in the overlap.
        augmentation: Random changes in training; None for none.
        seed: Seed of these changes.
        teacher: Displacements of the instance solver, or None. A pair that is drawn by epoch gets one of them, or two.
        compared: Whether a pair is drawn under two settings.

    Attributes:
        pairs: The pairs.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        source: Source,
        *,
        labels: tuple[int, ...] = (),
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
        teacher: Teacher | None = None,
        compared: bool = False,
    ) -> None:
        self.pairs: tuple[Pair, ...] = tuple(pairs)
        self._teacher, self._compared = teacher, compared
        self._source, self._labels, self._seed = source, labels, seed
        changes = augmentation is not None and augmentation != AugmentationConfig()
        self._augmentation = augmentation if changes else None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        """Return a pair, by its number or by epoch and number, on the CPU (`InputError` if the images differ in shape).

        Images are float32; if both cases have them, labels are int16 and landmarks float32.
        """
        epoch, index = key if isinstance(key, tuple) else (None, key)
        pair = self.pairs[index]
        moving, fixed = self._source.load(pair.moving), self._source.load(pair.fixed)
        if moving.image.shape != fixed.image.shape:
            got = f"{moving.image.shape} and {fixed.image.shape}"
            remedy = "set preprocessing.shape, or preprocessing.align"
            raise InputError(f"{pair.moving} and {pair.fixed}", got=got, expected="the same shape", remedy=remedy)
        settings = None
        if epoch is not None and self._teacher is not None:
            rng = np.random.default_rng([self._seed, _SETTING, epoch, index])
            fixed, settings = self._taught(pair, fixed, rng)
        if epoch is not None and self._augmentation is not None:
            rng = np.random.default_rng([self._seed, _AUGMENT, epoch, index])
            moving, fixed = augmented(moving, fixed, self._augmentation, rng)
        return self._batch(pair, moving, fixed, settings)

    def solved(self, index: int) -> Batch | None:
        """Return a pair once for each setting of the teacher, with its displacements; None without a teacher."""
        if self._teacher is None:
            return None
        pair = self.pairs[index]
        fixed, settings = self._taught(pair, self._source.load(pair.fixed))
        return self._batch(pair, self._source.load(pair.moving), fixed, settings)

    def _taught(self, pair: Pair, fixed: Sample, rng: np.random.Generator | None = None) -> tuple[Sample, _Settings]:
        """Add displacements of the teacher to the fixed sample: all of them, or some drawn at random."""
        known = self._teacher.load(pair)
        count = len(known.settings)
        chosen = range(count) if rng is None else rng.permutation(count)[: 2 if self._compared else 1].tolist()
        fields = known.displacements_vox[list(chosen)]
        return replace(fixed, displacements_vox=fields), tuple(known.settings[number] for number in chosen)

    def _batch(self, pair: Pair, moving: Sample, fixed: Sample, settings: _Settings | None) -> Batch:
        parts: dict[str, Any] = {}
        if moving.labels is not None and fixed.labels is not None:
            parts["moving_labels"], parts["fixed_labels"] = (_tensor(one.labels)[None, None] for one in (moving, fixed))
        if moving.points is not None and fixed.points is not None:
            parts["moving_points"], parts["fixed_points"] = ((_tensor(one.points),) for one in (moving, fixed))
        dx, dy, dz = np.float32(fixed.spacing_mm).tolist()
        batch = Batch(
            moving=_tensor(moving.channels)[None],
            fixed=_tensor(fixed.channels)[None],
            spacings=((dx, dy, dz),),
            labels=self._labels,
            names=((pair.moving, pair.fixed),),
            **parts,
        )
        if settings is None:
            return batch
        fields = _tensor(fixed.displacements_vox).float()
        return replace(Batch.joined([batch] * len(settings)), teacher_vox=fields, settings=settings)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
