"""Both images of a pair at the coarse resolution of the affine pre-alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from SPRCore.functional import sample_lattice
from SPRCore.geometry import MaskedVolume, robust_extremes
from SPRCore.geometry.resampling import lattice
from SPRCore.geometry.units import flip_lps_ras, flip_map_lps_ras, voxel_to_ras
from SPRCore.io.itk import first_clause, to_itk
from SPRCore.typing import Affine

if TYPE_CHECKING:
    import SimpleITK as sitk

_WORKING_VOXELS = 48**3
"""Approximate number of voxels of the reduced volumes: enough for twelve parameters, seconds instead of minutes."""

MOST_VOXELS = 4 * _WORKING_VOXELS
"""Maximum number of voxels of the larger volume, which has the resolution of the smaller one."""

LEAST_SIZE = 8
"""Least voxels of an axis: a thin slab must not become a single slice."""

BINS = 32
_LEAST_SHARE = 0.02  # of the smaller image; a smaller overlap scores 0


class AlignmentFailure(RuntimeError):
    """The optimisation of an alignment failed; the message says why."""


@dataclass(frozen=True, eq=False)
class _Reduced:
    """A reduced image in [0, 1], float32, and the mask of its data, shape (X, Y, Z), with its affine to RAS mm."""

    array: np.ndarray
    valid: np.ndarray
    affine: Affine

    @classmethod
    def of(cls, image: MaskedVolume, step_mm: float) -> _Reduced:
        shape = image.grid.shape
        factors = [
            max(1, min(round(step_mm / spacing), size // LEAST_SIZE))
            for spacing, size in zip(image.grid.spacing, shape, strict=True)
        ]
        low, high = robust_extremes(image.data)
        scaled = (np.clip(image.volume.array.astype(np.float32), low, high) - low) / (high - low)
        valid = np.ones(shape, np.float32) if image.valid is None else image.valid.astype(np.float32)
        means, parts = (
            F.avg_pool3d(torch.from_numpy(part)[None, None], factors)[0, 0].numpy() for part in (scaled * valid, valid)
        )
        change = np.diag([*map(float, factors), 1.0])
        change[:3, 3] = [(factor - 1) / 2.0 for factor in factors]
        known = parts >= 0.5
        return cls(np.where(known, means / np.maximum(parts, 1e-6), 0.0), known, image.grid.affine @ change)

    @property
    def voxel_mm3(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True, eq=False)
class ReducedPair:
    """A pair at a coarse resolution.

    Attributes:
        fixed_image: The fixed image.
        moving_image: The moving image.
        fixed: The fixed image, reduced.
        moving: The moving image, reduced.
        step_mm: Approximate voxel size of the reduced images.
    """

    fixed_image: MaskedVolume
    moving_image: MaskedVolume
    fixed: _Reduced
    moving: _Reduced
    step_mm: float

    @classmethod
    def of(cls, fixed: MaskedVolume, moving: MaskedVolume) -> ReducedPair:
        """Reduce both images to the resolution at which the smaller one has about `_WORKING_VOXELS` voxels."""
        sizes = [float(np.prod(np.array(image.grid.shape) * image.grid.spacing)) for image in (fixed, moving)]
        step_mm = max(min(sizes) / _WORKING_VOXELS, max(sizes) / MOST_VOXELS) ** (1 / 3)
        return cls(fixed, moving, _Reduced.of(fixed, step_mm), _Reduced.of(moving, step_mm), step_mm)

    def score(self, matrix: Affine) -> float:
        r"""Return the bias-corrected mutual information of an alignment, times the overlap.

        The mutual information of the intensities where both images have data, minus its bias
        :math:`(b_f - 1)(b_m - 1) / 2n` for the bins in use, times the fraction of the smaller image that overlaps: a
        small overlap must not score high.

        Args:
            matrix: Pull map from fixed to moving world points, shape (4, 4), RAS mm.

        Returns:
            Nats per voxel of the smaller image, 0 or more; 0 if less than a fiftieth of it overlaps.
        """
        to_index = np.linalg.inv(self.moving.affine) @ matrix @ self.fixed.affine
        image, known = (
            torch.from_numpy(part.astype(np.float32))[None, None] for part in (self.moving.array, self.moving.valid)
        )
        fixed_values, moving_values = [], []
        for slab, index_vox in lattice(self.fixed.array.shape, to_index):
            inside = torch.ones(index_vox[0].shape, dtype=torch.bool)
            for index, size in zip(index_vox, self.moving.array.shape, strict=True):
                inside &= (index >= -0.5) & (index < size - 0.5)
            inside &= sample_lattice(known, index_vox)[0, 0] > 0.5
            both = inside.numpy() & self.fixed.valid[slab]
            fixed_values.append(self.fixed.array[slab][both])
            moving_values.append(sample_lattice(image, index_vox)[0, 0].numpy()[both])
        one, two = np.concatenate(fixed_values), np.concatenate(moving_values)
        volumes = [part.valid.sum() * part.voxel_mm3 for part in (self.fixed, self.moving)]
        share = min(1.0, one.size * self.fixed.voxel_mm3 / min(volumes))
        return share * _information(one, two) if share > _LEAST_SHARE else 0.0

    def optimised(self, start: Affine, kind: str) -> Affine:
        """Maximise the mutual information from a start, by gradient descent on two resolutions.

        Lengths are in voxels of the reduced images, so that the size of the body and the unit of length do not matter.
        It runs on one thread, so that sums have one order.

        Args:
            start: Pull map from fixed to moving world points, shape (4, 4).
            kind: ``rigid`` (6 parameters) or ``affine`` (12).

        Raises:
            AlignmentFailure: The optimisation failed.
        """
        center = voxel_to_ras((np.array(self.fixed.array.shape) - 1) / 2.0, self.fixed.affine)
        images = [self._scaled(part, point) for part, point in self._with_centers(center, start)]
        transform = _transform(start[:3, :3], kind)
        method = _method(images)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(images[0][0], images[1][0])
        except RuntimeError as error:
            raise AlignmentFailure(first_clause(error)) from error
        linear, shift = _linear_ras(transform)
        result = np.eye(4)
        result[:3, :3] = linear
        moved = center @ start[:3, :3].T + start[:3, 3] + self.step_mm * shift
        result[:3, 3] = moved - linear @ center
        return result

    def _with_centers(self, center: np.ndarray, start: Affine) -> list[tuple[_Reduced, np.ndarray]]:
        """Return both images with their new origins: a point of the fixed image, and its image under the start."""
        return [(self.fixed, center), (self.moving, center @ start[:3, :3].T + start[:3, 3])]

    def _scaled(self, part: _Reduced, origin: np.ndarray) -> tuple[sitk.Image, sitk.Image]:
        """Return image and mask for ITK, in voxels of the reduced images relative to a point."""
        affine = part.affine.copy()
        affine[:3, 3] -= origin
        affine[:3] /= self.step_mm
        return to_itk(part.array.astype(np.float32), affine), to_itk(part.valid.astype(np.uint8), affine)


def _information(one: np.ndarray, two: np.ndarray) -> float:
    """Return the mutual information of intensities in [0, 1], in nats, minus its bias; 0 at least."""
    rows, columns = (np.clip(part * BINS, 0, BINS - 1).astype(np.int64) for part in (one, two))
    joint = np.bincount(rows * BINS + columns, minlength=BINS * BINS).reshape(BINS, BINS) / one.size
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    used = joint > 0
    plain = float((joint[used] * np.log(joint[used] / np.outer(rows, columns)[used])).sum())
    bias = (np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1) / (2.0 * one.size)
    return max(0.0, plain - bias)


def _transform(linear_ras: np.ndarray, kind: str) -> sitk.Transform:
    """Return a transform about the origin that starts at a linear map; a rigid one at its nearest rotation."""
    import SimpleITK as sitk

    matrix = np.eye(4)
    matrix[:3, :3] = linear_ras
    linear = flip_map_lps_ras(matrix)[:3, :3]
    if kind == "affine":
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(linear.ravel().tolist())
        return affine
    left, _, right = np.linalg.svd(linear)
    rigid = sitk.Euler3DTransform()
    rigid.SetMatrix((left @ right).ravel().tolist(), 1e-6)
    return rigid


def _linear_ras(transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Return the linear part and the shift of the origin of a transform, in RAS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    shift = flip_lps_ras(np.array(transform.TransformPoint((0.0, 0.0, 0.0))))
    return flip_map_lps_ras(matrix)[:3, :3], shift


def _method(images: list[tuple[sitk.Image, sitk.Image]]) -> sitk.ImageRegistrationMethod:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(images[0][1])
    method.SetMetricMovingMask(images[1][1])
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=0.5, minStep=5e-3, numberOfIterations=100, relaxationFactor=0.7, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    smallest = min(min(image.GetSize()) for image, _ in images)
    shrink = [2, 1] if smallest >= 2 * LEAST_SIZE else [1]
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel([1.0, 0.0][-len(shrink) :])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    return method
