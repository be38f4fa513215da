"""Metrics of one pair at many settings, computed on the grid of the method."""

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
from SPRCore.networks import RegistrationOutput
from SPRCore.registration.level import lies_inside
from SPRCore.regularization import Prior
from SPRCore.similarity import FixedStatistics, lncc, window_radius
from SPRCore.training.losses import map_gap
from SPRCore.tuning.ready import ReadyPair
from SPRCore.tuning.regularity import folding_and_ndv
from SPRCore.typing import Affine, Scalars, Vectors

_WINDOW = 9  # of the correlation, as in SPRCore.metrics.local_correlation


class Evaluator:
    """Computes the metrics of registrations of one pair.

    Prepared once: the fixed labels on the grid of the method, nearest neighbor; the moving labels in their own
    resolution, sampled at displaced positions; the statistics of the fixed image.

    Args:
        pair: The pair.
        annotations: Its labels and landmarks, each optional.
    """

    def __init__(self, pair: ReadyPair, annotations: Annotations) -> None:
        self._pair, self._annotations = pair, annotations
        self._labels = LabelOverlap.of(pair, annotations)
        self._fixed = FixedStatistics.of(_unit_range(pair.fixed, pair.valid), window_radius(_WINDOW), pair.valid)
        self._moving = _unit_range(pair.moving, pair.moving_valid)

    @torch.no_grad()
    def measure(self, output: RegistrationOutput, prior: Prior) -> dict[str, Any]:
        """Measure a registration on the grid of the pair, under its prior.

        Returns:
            Metrics by the field names of a `SurfacePoint`; None where the annotations are missing.
        """
        displacement_vox = output.displacement.float()
        folding, ndv = folding_and_ndv(displacement_vox, self._pair.mask)
        overlap = {} if self._labels is None else self._labels.overlap(displacement_vox)
        gap = map_gap(output, self._pair.step, prior) if self._pair.has_predicted_weight else None
        return {
            "dice": {str(label): value for label, value in overlap.items()},
            "dice_mean": dice_mean(overlap) if overlap else None,
            "tre_mm": self._tre_mm(displacement_vox),
            "lncc": self._similarity(displacement_vox),
            "folding_percent": folding,
            "ndv_percent": ndv,
            "weight_mean": None if output.weight is None else float(output.weight.mean()),
            "map_gap": gap,
        }

    def _similarity(self, displacement_vox: Vectors) -> float:
        """Local correlation where both images have data, as in `SPRCore.metrics.evaluate`."""
        seen = lies_inside(displacement_vox)
        if self._pair.moving_valid is not None:
            seen &= warp(self._pair.moving_valid, displacement_vox, mode="nearest") > 0.5
        fixed = self._fixed if bool(seen.all()) else self._fixed.within(seen)
        return float(lncc(fixed, warp(self._moving, displacement_vox)))

    def _tre_mm(self, displacement_vox: Vectors) -> float | None:
        points, partners = self._annotations.fixed_points, self._annotations.moving_points
        if points is None or partners is None or not len(points):
            return None
        field = Field.from_tensor_vox(displacement_vox, self._pair.grid.affine)
        moved = np.asarray(points, dtype=np.float64) + sample_displacement_mm(field, points)
        if self._pair.affine_ras is not None:
            moved = transform_points(moved, self._pair.affine_ras)
        return float(np.linalg.norm(moved - partners, axis=1).mean())


class LabelOverlap:
    """Dice of fixed labels on a grid and moving labels sampled in their own resolution.

    Only a region is compared: the box of the fixed labels and of all positions from which a displacement reaches the
    moving ones. Elsewhere both are background.
    """

    def __init__(self, fixed: np.ndarray, moving: Volume, names: np.ndarray, grid: Grid, affine: Affine | None) -> None:
        # Indices into the list of labels, background 0: grid_sample works in float32, which cannot hold large labels.
        self._names, self._background = names, int(np.searchsorted(names, 0))
        self._fixed = np.searchsorted(names, fixed).astype(np.int32) - self._background
        indices = np.searchsorted(names, moving.array).astype(np.float32) - self._background
        self._moving = torch.from_numpy(indices)[None, None]
        world = np.eye(4) if affine is None else affine
        to_index = np.linalg.inv(moving.affine) @ world @ grid.affine
        self._boxes = _box(self._fixed, np.eye(4)), _box(indices, np.linalg.inv(to_index))
        # Coordinates in -1 to 1 between the outermost centers, last axis first, as grid_sample takes them.
        scale = np.diag([*(2.0 / np.maximum(np.array(moving.shape) - 1, 1)), 1.0])
        normal = (scale @ to_index)[:3]
        normal[:, 3] -= 1.0
        self._turn = torch.from_numpy(normal[::-1, :3].copy()).float()
        self._start = torch.from_numpy(_affine_coordinates(normal[::-1], grid.shape))

    @classmethod
    def of(cls, pair: ReadyPair, annotations: Annotations) -> LabelOverlap | None:
        """Prepare the labels of a pair; None where one image has none."""
        if annotations.fixed_labels is None or annotations.moving_labels is None:
            return None
        fixed, moving = resample(annotations.fixed_labels, pair.grid, labels=True), annotations.moving_labels
        names = np.union1d(np.union1d(fixed.array, moving.array), 0)
        return cls(fixed.array, moving, names, pair.grid, pair.affine_ras)

    def overlap(self, displacement_vox: Vectors) -> dict[int, float]:
        """Return the Dice of every label."""
        box = self.region(displacement_vox)
        shift = displacement_vox[0][(slice(None), *box)].cpu()
        start = self._start[box]
        at = torch.addmm(start.reshape(-1, 3), shift.reshape(3, -1).T, self._turn.T).view(1, *start.shape)
        warped = torch.grid_sampler_3d(self._moving, at, 1, 0, True)[0, 0]  # nearest voxel, 0 outside
        scores = dice(self._fixed[box], warped.numpy().astype(np.int32))
        return {int(self._names[index + self._background]): value for index, value in scores.items()}

    def region(self, displacement_vox: Vectors) -> tuple[slice, ...]:
        """Return the box that is compared."""
        reach = displacement_vox[0].abs().amax(dim=(1, 2, 3)).cpu().numpy()
        (fixed_low, fixed_high), (moving_low, moving_high) = self._boxes
        low = np.minimum(fixed_low, moving_low - reach)
        high = np.maximum(fixed_high, moving_high + reach)
        sizes = np.array(self._fixed.shape)
        low = np.clip(np.floor(low), 0, sizes - 1)
        high = np.clip(np.ceil(high) + 1, low + 1, sizes)
        return tuple(slice(int(first), int(last)) for first, last in zip(low, high, strict=True))


def _box(labels: np.ndarray, matrix: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest index of the foreground plus one voxel, transformed to another grid."""
    spans = [np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not spans[0].size:
        return np.full(3, np.inf), np.full(3, -np.inf)
    corners = np.array(list(itertools.product(*((span[0] - 1.0, span[-1] + 1.0) for span in spans))))
    moved = transform_points(corners, matrix)
    return moved.min(axis=0), moved.max(axis=0)


def _affine_coordinates(matrix: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A matrix (3, 4) applied to the indices of all voxels of a grid, (X, Y, Z, 3)."""
    x, y, z = (np.arange(size, dtype=np.float64) for size in shape)
    columns = [x[:, None, None] * row[0] + y[:, None] * row[1] + z * row[2] + row[3] for row in matrix]
    return np.stack(columns, axis=-1).astype(np.float32)


def _unit_range(image: Scalars, valid: Scalars | None) -> Scalars:
    """Image with its 0.5th and 99.5th percentile at 0 and 1, as in `SPRCore.metrics.local_correlation`."""
    data = image if valid is None else image[valid > 0.5]
    low, high = np.percentile(data.cpu().numpy(), (0.5, 99.5))
    return (image - float(low)) / max(float(high - low), float(np.finfo(np.float32).tiny))
