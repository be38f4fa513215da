"""Change of resolution on grids whose corner voxels coincide, for images and for displacements."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional as F

from SPRCore.functional.filters import gaussian_smooth
from SPRCore.typing import Images, Vectors


def resize(image: Images, shape: Sequence[int]) -> Images:
    """Resample linearly to another number of voxels, corner voxel centers fixed.

    An axis that shrinks is smoothed first (Gaussian, sigma 0.5·sqrt(factor² − 1) voxels: the blur of the larger voxel)
    to avoid aliasing.
    """
    if tuple(image.shape[2:]) == tuple(shape):
        return image
    factors = [step_ratio(old, new) for old, new in zip(image.shape[2:], shape, strict=True)]
    smooth = gaussian_smooth(image, [0.5 * (f**2 - 1) ** 0.5 if f > 1 else 0.0 for f in factors])
    return F.interpolate(smooth, size=tuple(shape), mode="trilinear", align_corners=True)


def resize_displacement(displacement_vox: Vectors, shape: Sequence[int]) -> Vectors:
    """Resample a displacement linearly, without smoothing, and express it in voxels of the new grid."""
    if tuple(displacement_vox.shape[2:]) == tuple(shape):
        return displacement_vox
    resized = F.interpolate(displacement_vox, size=tuple(shape), mode="trilinear", align_corners=True)
    ratios = [step_ratio(new, old) for old, new in zip(displacement_vox.shape[2:], shape, strict=True)]
    return resized * resized.new_tensor(ratios).view(1, 3, 1, 1, 1)


def step_ratio(old: int, new: int) -> float:
    """Return the size of a new voxel step in old voxels if the corner voxels coincide: (old - 1) / (new - 1).

    It is 1 if either number of voxels is 1.
    """
    return (old - 1) / (new - 1) if old > 1 and new > 1 else 1.0
