"""An image and where it holds data: outside of it nothing is known, and nothing may be concluded from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from SPRCore.errors import InputError
from SPRCore.functional import box_count, box_sum
from SPRCore.geometry.resampling import lies_within, resample
from SPRCore.geometry.volume import Field, Grid, Volume
from SPRCore.typing import Affine, Scalars

logger = logging.getLogger("SPRCore")

MIN_VOXELS = 4
"""Fewest voxels along an axis: below it neither derivatives nor a multi-resolution pyramid mean anything."""

_RELAXATIONS = 6  # on each resolution: they take away the steps between cells, and at the edge of what is known
_LARGE = 4_000_000  # voxels: a step there is small beside the anatomy


@dataclass(frozen=True, eq=False)
class MaskedVolume:
    """An image with the voxels that hold data; made by `of`.

    No data are voxels that are NaN or infinite, padding (see `padding_mask`), and what a mask leaves out.

    Attributes:
        volume: The image, finite everywhere: where there are no data, its data are continued smoothly.
        valid: Truth values of shape (X, Y, Z), true where there are data; None for everywhere.
        original: The image as it came, its padding included; voxels that are not finite hold its lowest data.
    """

    volume: Volume
    valid: np.ndarray | None
    original: Volume

    @classmethod
    def of(cls, volume: Volume, what: str, mask: Volume | None = None) -> MaskedVolume:
        """Find out where an image holds data.

        Args:
            volume: The image.
            what: What the user calls it, such as "fixed image"; messages start with it.
            mask: Voxels that count (not 0), on any grid; None for all.

        Returns:
            The image with its data.

        Raises:
            InputError: An axis has fewer than `MIN_VOXELS` voxels, there are no data, or all of them are equal.
        """
        if min(volume.shape) < MIN_VOXELS:
            expected = f"a 3-D image with {MIN_VOXELS} or more voxels along each axis"
            raise InputError(what, got=f"shape {volume.shape}", expected=expected)
        valid = _valid(volume.array, what)
        if mask is not None:
            chosen = mask_on(mask, volume.grid, what).array != 0
            valid = chosen if valid is None else valid & chosen
        values = volume.array if valid is None else volume.array[valid]
        if not values.size:
            remedy = "check its values, and the mask if there is one"
            raise InputError(what, got="no voxel with data", expected="finite intensities", remedy=remedy)
        if values.min() == values.max():
            got = f"the same intensity {values.min()} everywhere"
            raise InputError(what, got=got, expected="an image with contrast")
        if valid is None or valid.all():
            return cls.whole(volume)
        original = volume.with_array(np.where(np.isfinite(volume.array), volume.array, values.min()))
        return cls(volume.with_array(_continued(volume.array, valid)), valid, original)

    @classmethod
    def whole(cls, volume: Volume) -> MaskedVolume:
        """Take all voxels of an image as data."""
        return cls(volume, None, volume)

    @property
    def grid(self) -> Grid:
        """The grid of the image."""
        return self.volume.grid

    @property
    def data(self) -> np.ndarray:
        """The intensities that are data: shape (N,), or that of the image where all of them are."""
        return self.volume.array if self.valid is None else self.volume.array[self.valid]

    @property
    def mask(self) -> Volume | None:
        """The voxels that hold data as a mask of 0 and 1; None for all."""
        return None if self.valid is None else self.volume.with_array(self.valid.astype(np.uint8))

    def on(self, grid: Grid, affine_ras: Affine | None = None) -> tuple[Volume, np.ndarray | None]:
        """Pull the image onto another grid.

        Args:
            grid: Grid of the result.
            affine_ras: Pull map from points of `grid` to those of the image in RAS mm, shape (4, 4); None for none.

        Returns:
            The image, its border continued outside of its field of view, and where it holds data on `grid`, None for
            everywhere.
        """
        image = resample(self.volume, grid, affine_ras=affine_ras, continued=True)
        there = self.known_on(grid, affine_ras=affine_ras)
        return image, None if there.all() else there

    def known_on(
        self,
        grid: Grid,
        *,
        displacement: Field | None = None,
        affine_ras: Affine | None = None,
        device: torch.device | None = None,
    ) -> np.ndarray:
        """Tell where the image has data when it is pulled onto another grid.

        Args:
            grid: The grid.
            displacement: Pull displacement in RAS mm; None for none.
            affine_ras: As for `on`.
            device: Where to compute for an image whose voxels are all data; None for the CPU.

        Returns:
            Truth values of the shape of `grid`, those of the nearest voxel of the image.
        """
        by = {"displacement": displacement, "affine_ras": affine_ras}
        if self.valid is None:
            return lies_within(self.grid, grid, **by, device=device)
        return resample(self.volume.with_array(self.valid.astype(np.uint8)), grid, **by, labels=True).array != 0


def mask_on(mask: Volume, grid: Grid, what: str) -> Volume:
    """Bring a mask to the grid of the image that it is for.

    Args:
        mask: Voxels that count (not 0), on any grid.
        grid: Grid of the image.
        what: What the user calls the image, such as "fixed image".

    Returns:
        The mask on `grid`, 0 or 1.

    Raises:
        InputError: No voxel of it lies in the image, or it holds NaN.
    """
    chosen = mask.with_array((mask.array != 0).astype(np.uint8))
    if not mask.grid.matches(grid):
        logger.info("The mask of the %s is on a grid of its own: resampled.", what)
        chosen = resample(chosen, grid, labels=True)
    if not chosen.array.any():
        got = f"no voxel set inside the {what}"
        raise InputError(f"{what.split()[0]} mask", got=got, expected="a region to register")
    return chosen


def _valid(array: np.ndarray, what: str) -> np.ndarray | None:
    """True where an image is finite and no padding; None where it is so everywhere."""
    finite = None
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if finite.all():
            finite = None
        else:
            bad = array.size - int(np.count_nonzero(finite))
            logger.warning("%s: %d voxels are NaN or infinite: there are no data there", what, bad)
            if not finite.any():
                return finite
    from SPRCore.geometry.padding import padding_mask  # brings parts of SciPy that reading a file does not need

    padding = padding_mask(array if finite is None else np.where(finite, array, array[finite].min()))
    padding = padding if padding is None or finite is None else padding & finite
    if padding is None or not padding.any():
        return finite
    logger.info("%s: %.0f %% of its voxels are padding: there are no data there", what, 100.0 * padding.mean())
    return ~padding if finite is None else finite & ~padding


def _continued(array: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The image in float32, continued smoothly into the voxels without data."""
    known = torch.from_numpy(valid)[None, None]
    image = torch.from_numpy(np.where(valid, array, 0).astype(np.float32))[None, None]
    return fill(image, known)[0, 0].numpy()


def fill(image: Scalars, known: Scalars) -> Scalars:
    """Continue fields into voxels where they are not known: means of ever larger cells, from the nearest that know.

    Args:
        image: Shape (1, C, X, Y, Z).
        known: Truth values, shape (1, 1, X, Y, Z), at least one of them true.

    Returns:
        Same shape as the image; unchanged where it is known.
    """
    if bool(known.all()):
        return image
    weight, shape = known.to(image.dtype), image.shape[2:]
    cell = [2 if size > 1 else 1 for size in shape]
    sums = F.avg_pool3d(image * weight, cell, ceil_mode=True)
    counts = F.avg_pool3d(weight, cell, ceil_mode=True)
    coarse = fill(sums / counts.clamp(min=1e-12), counts > 0)
    radius = [1 if length > 2 else 0 for length in shape]
    filled = F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=False)
    count = box_count(image, radius)
    for _ in range(_RELAXATIONS if known.numel() < _LARGE else _RELAXATIONS // 3):
        filled = box_sum(torch.where(known, image, filled), radius).div_(count)
    return torch.where(known, image, filled)
