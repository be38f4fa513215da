"""Preparation of images for a network: the working grid and the intensities of its model card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from SPRCore.errors import InputError
from SPRCore.functional import gaussian_smooth
from SPRCore.geometry import Grid, MaskedVolume, Volume, resample, robust_extremes
from SPRCore.geometry.orientation import reoriented
from SPRCore.io.cards import Preprocessing, WorkingGrid
from SPRCore.typing import Affine

MAX_VOXELS = 2**27
"""Maximum number of voxels of a working grid (512³)."""


def working_grid(fixed: Grid, wanted: WorkingGrid) -> Grid:
    """Return the working grid of a network over the field of view of the fixed image.

    The axes of the fixed image are swapped and reversed but never rotated. An axis that has the right spacing keeps its
    voxels, so that it is not interpolated. The grid covers the whole field of view, or has the shape of the card and
    the same center.

    Raises:
        InputError: The grid would have more than `MAX_VOXELS` voxels.
    """
    grid = fixed if wanted.orientation is None else reoriented(fixed, wanted.orientation)
    spacings = _coarsened(grid, wanted)
    axes = [
        _axis(size, spacing, spacings and spacings[axis], wanted.shape and wanted.shape[axis])
        for axis, (size, spacing) in enumerate(zip(grid.shape, grid.spacing, strict=True))
    ]
    shape = tuple(size for size, _, _ in axes)
    if math.prod(shape) > MAX_VOXELS:
        expected = f"{MAX_VOXELS} voxels at most, such as {MAX_VOXELS ** (1 / 3):.0f} along each axis"
        remedy = "crop the image, or check its spacing"
        raise InputError(
            "fixed image", got=f"a shape of {shape} at the model's spacing", expected=expected, remedy=remedy
        )
    change = np.diag([*(step for _, step, _ in axes), 1.0])
    change[:3, 3] = [start for _, _, start in axes]
    return Grid(shape, grid.affine @ change)


def prepared(image: MaskedVolume, intensities: Sequence[Preprocessing], what: str) -> list[Volume]:
    """Scale the intensities of each channel of an image to [0, 1], float32, by all its data.

    Args:
        image: The image; its second channel counts where the image has data.
        intensities: Preprocessing of each channel.
        what: Name of the image for messages.

    Raises:
        InputError: A channel has no contrast within the bounds of the intensities.
    """
    channels = [image] if image.channel is None else [image, replace(image, volume=image.channel)]
    names = (what, f"second channel of the {what}")
    return [_scaled(*parts) for parts in zip(channels, intensities, names[: len(channels)], strict=True)]


def _scaled(image: MaskedVolume, preprocessing: Preprocessing, what: str) -> Volume:
    array, data = image.volume.array.astype(np.float32), image.data.astype(np.float32)
    if preprocessing.clip is not None:
        array, data = (np.clip(part, *preprocessing.clip) for part in (array, data))
    low, high = _bounds(data, preprocessing)
    if not data.min() < data.max() or not low < high:
        within = "" if preprocessing.clip is None else " within {:g} to {:g}".format(*preprocessing.clip)
        expected = "an image of the kind that the model was made for"
        raise InputError(what, got=f"no contrast{within}", expected=expected, remedy="see spr models show")
    return image.volume.with_array(np.clip((array - low) / (high - low), 0.0, 1.0))


def onto(volume: Volume, grid: Grid, affine_ras: Affine | None = None) -> Volume:
    """Resample a prepared image on the working grid, smoothed first where that is coarser; it is 0 outside."""
    world = np.eye(4) if affine_ras is None else affine_ras
    step = np.linalg.inv(volume.affine[:3, :3]) @ world[:3, :3] @ grid.affine[:3, :3]
    # Steps of the working grid along each axis of the image, in its voxels; the same blur as in `functional.resize`.
    factors = np.linalg.norm(step, axis=1)
    sigma_vox = [0.5 * math.sqrt(factor**2 - 1.0) if factor > 1.01 else 0.0 for factor in factors]
    if any(sigma_vox):
        volume = volume.with_array(gaussian_smooth(volume.to_tensor(), sigma_vox)[0, 0].numpy())
    return resample(volume, grid, affine_ras=affine_ras, outside=0.0)


def _coarsened(grid: Grid, wanted: WorkingGrid) -> tuple[float, ...] | None:
    """Return the spacing of the working grid: the wanted one, enlarged to meet the maximum number of voxels."""
    spacings = wanted.spacing_mm or grid.spacing
    if wanted.voxels is None:
        return wanted.spacing_mm
    count = math.prod(n * old / new for n, old, new in zip(grid.shape, grid.spacing, spacings, strict=True))
    if count <= wanted.voxels:
        return wanted.spacing_mm
    factor = (count / wanted.voxels) ** (1 / 3)
    return tuple(factor * spacing for spacing in spacings)


def _axis(size: int, spacing: float, wanted: float | None, count: int | None) -> tuple[int, float, float]:
    """Return the number of voxels, their step and the position of the first one, in voxels of the image."""
    if wanted is None or abs(wanted - spacing) < 1e-3 * spacing:
        count = count or size
        return count, 1.0, float((size - count) // 2)
    step = wanted / spacing
    count = count or max(1, math.ceil(size / step - 1e-3))
    return count, step, 0.5 * ((size - 1) - (count - 1) * step)


def _bounds(data: np.ndarray, preprocessing: Preprocessing) -> tuple[float, float]:
    if preprocessing.normalize == "clip" and preprocessing.clip is not None:
        return preprocessing.clip[0], preprocessing.clip[1]
    if preprocessing.normalize == "percentile":
        low, high = np.percentile(data, preprocessing.percentiles)
        return float(low), float(high)
    return robust_extremes(data)
