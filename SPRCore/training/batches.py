"""Pairs of images as tensors: what a network, the loss and the validation take."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from SPRCore.typing import Images, Tensor

_MAPS = ("moving", "fixed", "moving_labels", "fixed_labels", "teacher_vox")
_POINTS = ("moving_points", "fixed_points")
_LISTS = ("spacings", "names", "settings")


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One or more pairs on grids of one shape.

    Attributes:
        moving: Moving images, shape (B, C, X, Y, Z), intensities in [0, 1].
        fixed: Fixed images, same shape.
        spacings: Voxel size of each pair along each axis, in mm.
        moving_labels: Label maps of the moving images, integers, shape (B, 1, X, Y, Z), or None.
        fixed_labels: Label maps of the fixed images, or None.
        labels: Labels that count in the overlap.
        moving_points: Landmarks of each moving image in voxels, shape (N, 3), or None.
        fixed_points: Corresponding landmarks of each fixed image, or None.
        names: Moving and fixed name of each pair, for reports.
        teacher_vox: Displacement of the instance solver for each pair, shape (B, 3, X, Y, Z), or None.
        settings: Hyperparameters of that displacement by name, for each pair, or None.
    """

    moving: Images
    fixed: Images
    spacings: tuple[tuple[float, float, float], ...]
    moving_labels: Tensor | None = None
    fixed_labels: Tensor | None = None
    labels: tuple[int, ...] = ()
    moving_points: tuple[Tensor, ...] | None = None
    fixed_points: tuple[Tensor, ...] | None = None
    names: tuple[tuple[str, str], ...] = (("moving", "fixed"),)
    teacher_vox: Tensor | None = None
    settings: tuple[dict[str, float], ...] | None = None

    def __len__(self) -> int:
        return len(self.spacings)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size of the first pair, in mm."""
        return self.spacings[0]

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Concatenate batches; labels, landmarks and displacements are kept where all of them have them."""
        if len(batches) == 1:
            return batches[0]

        def parts(name: str) -> list[Any] | None:
            found = [getattr(batch, name) for batch in batches]
            return None if any(part is None for part in found) else found

        maps = {name: torch.cat(found) for name in _MAPS if (found := parts(name))}
        tuples = {name: tuple(itertools.chain(*found)) for name in (*_POINTS, *_LISTS) if (found := parts(name))}
        return cls(**maps, **tuples, labels=batches[0].labels)

    def split(self) -> list[Batch]:
        """Return each pair as a batch of its own."""

        def part(name: str, number: int) -> Any:
            value = getattr(self, name)
            return None if value is None else value[number : number + 1]

        names = (*_MAPS, *_POINTS, *_LISTS)
        return [replace(self, **{name: part(name, number) for name in names}) for number in range(len(self))]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; a `DataLoader` calls this."""
        return self._moved(Tensor.pin_memory)

    def swapped(self) -> Batch:
        """Return the batch with moving and fixed exchanged, without displacements."""
        return replace(
            self,
            moving=self.fixed,
            fixed=self.moving,
            moving_labels=self.fixed_labels,
            fixed_labels=self.moving_labels,
            moving_points=self.fixed_points,
            fixed_points=self.moving_points,
            names=tuple((fixed, moving) for moving, fixed in self.names),
            teacher_vox=None,
            settings=None,
        )

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        maps = {name: move(part) for name in _MAPS if (part := getattr(self, name)) is not None}
        points = {name: tuple(map(move, part)) for name in _POINTS if (part := getattr(self, name)) is not None}
        return replace(self, **maps, **points)
