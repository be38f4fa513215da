"""Diffeomorphic demons of SimpleITK, from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SPRCore.errors import ConvergenceError
from SPRCore.geometry import Field, Volume, flip_lps_ras
from SPRCore.io.itk import from_itk, to_itk

if TYPE_CHECKING:
    import SimpleITK as sitk

_LEAST_VOXELS = 12  # an axis is not made coarser than this


@dataclass(frozen=True, kw_only=True)
class Demons:
    """Demons on intensities whose histograms have been matched.

    Attributes:
        shrink: How much coarser the images of each level are.
        iterations: Iterations of each level.
        smoothing_voxels: Standard deviation of the smoothing of the whole field after each iteration.
        update_smoothing_voxels: Standard deviation of the smoothing of each update; 0 for none.

    References:
        Vercauteren et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.10.040.
    """

    shrink: tuple[int, ...] = (4, 2, 1)
    iterations: tuple[int, ...] = (100, 50, 25)
    smoothing_voxels: float = 1.5
    update_smoothing_voxels: float = 0.0

    def check(self) -> None:
        """SimpleITK is a dependency of the package."""

    def register(self, fixed: Volume, moving: Volume) -> Field:
        """Deform one image onto the other; see `Baseline`."""
        import SimpleITK as sitk

        images = [to_itk(volume.array.astype(np.float32), volume.affine) for volume in (fixed, moving)]
        matching = sitk.HistogramMatchingImageFilter()
        matching.SetNumberOfHistogramLevels(256)
        matching.SetNumberOfMatchPoints(16)
        matching.ThresholdAtMeanIntensityOn()
        images[1] = matching.Execute(images[1], images[0])
        field = None
        try:
            for shrink, count in zip(self.shrink, self.iterations, strict=True):
                field = self._level(*(_coarser(image, shrink) for image in images), field, count)
            field = _onto(field, images[0])
        except RuntimeError as error:
            raise ConvergenceError("method demons", got=str(error).strip().splitlines()[-1]) from error
        array, affine = from_itk(field)
        if not np.isfinite(array).all():
            raise ConvergenceError("method demons", got="NaN or infinity")
        return Field(flip_lps_ras(array).astype(np.float32), affine)

    def _level(self, fixed: sitk.Image, moving: sitk.Image, start: sitk.Image | None, count: int) -> sitk.Image:
        import SimpleITK as sitk

        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(count)
        demons.SetSmoothDisplacementField(self.smoothing_voxels > 0)
        demons.SetStandardDeviations(max(self.smoothing_voxels, 0.1))
        demons.SetSmoothUpdateField(self.update_smoothing_voxels > 0)
        demons.SetUpdateFieldStandardDeviations(max(self.update_smoothing_voxels, 0.1))
        if start is None:
            return demons.Execute(fixed, moving)
        return demons.Execute(fixed, moving, _onto(start, fixed))


def _coarser(image: sitk.Image, shrink: int) -> sitk.Image:
    import SimpleITK as sitk

    factors = [max(1, min(shrink, size // _LEAST_VOXELS)) for size in image.GetSize()]
    return sitk.BinShrink(image, factors)


def _onto(field: sitk.Image, image: sitk.Image) -> sitk.Image:
    """Resample a field onto the grid of an image, with nearest-neighbor extrapolation."""
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(image)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    resampler.SetOutputPixelType(sitk.sitkVectorFloat64)
    return resampler.Execute(field)
