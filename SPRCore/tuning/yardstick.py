"""What is measured at each setting of a pair: on the grid of the method, in a fraction of the time that it takes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from SPRCore.functional import warp
from SPRCore.geometry import Field, Grid, Volume, resample
from SPRCore.geometry.annotations import Annotations
from SPRCore.geometry.units import transform_points
from SPRCore.metrics import dice, dice_mean
from SPRCore.metrics.landmarks import sample_displacement_mm
from SPRCore.registration.level import lies_inside
from SPRCore.similarity import FixedStatistics, lncc, window_radius
from SPRCore.tuning.ready import ReadyPair, Solved
from SPRCore.tuning.regularity import folding_and_ndv
from SPRCore.typing import Affine, Scalars, Vectors

_WINDOW = 9  # of the correlation, as SPRCore.metrics.local_correlation has it


class Yardstick:
    """Measures what a method gave for a pair.

    All is prepared once: the fixed labels on the grid of the method, the nearest each; the moving labels in their own
    resolution, read at the displaced places; the statistics of the fixed image.

    Args:
        pair: The pair.
        given: Its labels and landmarks, each may be absent.
    """

    def __init__(self, pair: ReadyPair, given: Annotations) -> None:
        self._pair, self._given = pair, given
        self._labels = _Labels.of(pair, given)
        unit = _unit_range(pair.fixed, pair.valid)
        self._fixed = FixedStatistics.of(unit, window_radius(_WINDOW), pair.valid)
        self._moving = _unit_range(pair.moving, pair.moving_valid)

    @torch.no_grad()
    def measure(self, solved: Solved) -> dict[str, Any]:
        """Measure what was found.

        Args:
            solved: What the method gave.

        Returns:
            Fields of a `SurfacePoint`: those that can be measured.
        """
        displacement_vox = solved.displacement_vox.float()
        folding, ndv = folding_and_ndv(displacement_vox, self._pair.mask)
        overlap = {} if self._labels is None else self._labels.overlap(displacement_vox)
        return {
            "dice": {str(label): value for label, value in overlap.items()},
            "dice_mean": dice_mean(overlap) if overlap else None,
            "tre_mm": self._tre_mm(displacement_vox),
            "lncc": self._similarity(displacement_vox),
            "folding_percent": folding,
            "ndv_percent": ndv,
            "weight_mean": None if solved.weight is None else float(solved.weight.mean()),
            "map_gap": solved.map_gap,
        }

    def _similarity(self, displacement_vox: Vectors) -> float:
        """Local correlation where both images have data, as `SPRCore.metrics.evaluate` has it."""
        seen = lies_inside(displacement_vox)
        if self._pair.moving_valid is not None:
            seen &= warp(self._pair.moving_valid, displacement_vox, mode="nearest") > 0.5
        fixed = self._fixed if bool(seen.all()) else self._fixed.within(seen)
        return float(lncc(fixed, warp(self._moving, displacement_vox)))

    def _tre_mm(self, displacement_vox: Vectors) -> float | None:
        points, partners = self._given.fixed_points, self._given.moving_points
        if points is None or partners is None or not len(points):
            return None
        field = Field.from_tensor_vox(displacement_vox, self._pair.grid.affine)
        moved = np.asarray(points, dtype=np.float64) + sample_displacement_mm(field, points)
        if self._pair.affine_ras is not None:
            moved = transform_points(moved, self._pair.affine_ras)
        return float(np.linalg.norm(moved - partners, axis=1).mean())


class _Labels:
    """Fixed labels on a grid, and moving labels to be read at displaced places in their own resolution.

    Looked at is only the box that holds the fixed labels, and all places from which a displacement reaches the moving
    ones: everywhere else both are background.
    """

    def __init__(self, fixed: np.ndarray, moving: Volume, names: np.ndarray, grid: Grid, affine: Affine | None) -> None:
        # Places in the list of names, the background at 0: grid_sample works in float32, which holds no large labels.
        self._names, self._background = names, int(np.searchsorted(names, 0))
        self._fixed = np.searchsorted(names, fixed).astype(np.int32) - self._background
        places = np.searchsorted(names, moving.array).astype(np.float32) - self._background
        self._moving = torch.from_numpy(places)[None, None]
        world = np.eye(4) if affine is None else affine
        to_index = np.linalg.inv(moving.affine) @ world @ grid.affine
        self._boxes = _box(self._fixed, np.eye(4)), _box(places, np.linalg.inv(to_index))
        # Indices in -1 to 1 between the outermost centers, last axis first, as grid_sample takes them.
        scale = np.diag([*(2.0 / np.maximum(np.array(moving.shape) - 1, 1)), 1.0])
        normal = (scale @ to_index)[:3]
        normal[:, 3] -= 1.0
        self._turn = torch.from_numpy(normal[::-1, :3].copy()).float()
        self._start = torch.from_numpy(_affine_places(normal[::-1], grid.shape))

    @classmethod
    def of(cls, pair: ReadyPair, given: Annotations) -> _Labels | None:
        if given.fixed_labels is None or given.moving_labels is None:
            return None
        fixed, moving = resample(given.fixed_labels, pair.grid, labels=True), given.moving_labels
        names = np.union1d(np.union1d(fixed.array, moving.array), 0)
        return cls(fixed.array, moving, names, pair.grid, pair.affine_ras)

    def overlap(self, displacement_vox: Vectors) -> dict[int, float]:
        """Dice of every label by its name."""
        box = self._within(displacement_vox)
        shift = displacement_vox[0][(slice(None), *box)].cpu()
        start = self._start[box]
        places = torch.addmm(start.reshape(-1, 3), shift.reshape(3, -1).T, self._turn.T).view(1, *start.shape)
        warped = torch.grid_sampler_3d(self._moving, places, 1, 0, True)[0, 0]  # the nearest voxel, 0 outside all
        scores = dice(self._fixed[box], warped.numpy().astype(np.int32))
        return {int(self._names[place + self._background]): value for place, value in scores.items()}

    def _within(self, displacement_vox: Vectors) -> tuple[slice, ...]:
        """The box that is looked at."""
        reach = displacement_vox[0].abs().amax(dim=(1, 2, 3)).cpu().numpy()
        (fixed_low, fixed_high), (moving_low, moving_high) = self._boxes
        low = np.minimum(fixed_low, moving_low - reach)
        high = np.maximum(fixed_high, moving_high + reach)
        sizes = np.array(self._fixed.shape)
        low = np.clip(np.floor(low), 0, sizes - 1)
        high = np.clip(np.ceil(high) + 1, low + 1, sizes)
        return tuple(slice(int(first), int(last)) for first, last in zip(low, high, strict=True))


def _box(labels: np.ndarray, matrix: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest index of all that is not background, brought to another grid, half a voxel and more around."""
    spans = [np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not spans[0].size:
        return np.full(3, np.inf), np.full(3, -np.inf)
    corners = np.array(list(itertools.product(*((span[0] - 1.0, span[-1] + 1.0) for span in spans))))
    moved = transform_points(corners, matrix)
    return moved.min(axis=0), moved.max(axis=0)


def _affine_places(matrix: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A matrix (3, 4) applied to the indices of all voxels of a grid, (X, Y, Z, 3)."""
    x, y, z = (np.arange(size, dtype=np.float64) for size in shape)
    columns = [x[:, None, None] * row[0] + y[:, None] * row[1] + z * row[2] + row[3] for row in matrix]
    return np.stack(columns, axis=-1).astype(np.float32)


def _unit_range(image: Scalars, valid: Scalars | None) -> Scalars:
    """The image with its 0.5th and 99.5th percentile at 0 and 1, as `SPRCore.metrics.local_correlation` takes it."""
    data = image if valid is None else image[valid > 0.5]
    low, high = np.percentile(data.cpu().numpy(), (0.5, 99.5))
    return (image - float(low)) / max(float(high - low), float(np.finfo(np.float32).tiny))
