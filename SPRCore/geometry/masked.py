"""An image with a mask of the voxels that hold data."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from SPRCore.errors import InputError
from SPRCore.functional import box_count, box_sum
from SPRCore.geometry.resampling import lies_within, resample
from SPRCore.geometry.volume import Field, Grid, Volume
from SPRCore.typing import Affine, Images, Scalars

logger = logging.getLogger("SPRCore")

_MIN_VOXELS = 4
"""Least voxels along an axis, required by derivatives and the image pyramid."""

_RELAXATIONS = 6  # on each resolution: they smooth the steps between cells and at the border of the known voxels
_LARGE = 4_000_000  # voxels: a step there is small compared to the anatomy


@dataclass(frozen=True, eq=False)
class MaskedVolume:
    """An image with the voxels that hold data; made by `of`.

    Voxels without data are NaN or infinite, padding (see `padding_mask`), or outside a mask.

    Attributes:
        volume: The image, finite everywhere: voxels without data are filled smoothly.
        valid: Mask of the voxels with data, shape (X, Y, Z); None for all.
        original: The original image with its padding; non-finite voxels have its lowest value.
        channel: Second channel on the same grid, finite everywhere, or None.
    """

    volume: Volume
    valid: np.ndarray | None
    original: Volume
    channel: Volume | None = None

    @classmethod
    def of(cls, volume: Volume, what: str, mask: Volume | None = None) -> MaskedVolume:
        """Determine the voxels of an image that hold data.

        Args:
            volume: The image.
            what: Name of the image in messages, such as "fixed image".
            mask: Voxels that count (not 0), on any grid; None for all.

        Raises:
            InputError: An axis has fewer than `_MIN_VOXELS` voxels, there are no data, or all of them are equal.
        """
        if min(volume.shape) < _MIN_VOXELS:
            expected = f"a 3-D image with {_MIN_VOXELS} or more voxels along each axis"
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
        return cls(volume.with_array(_filled(volume.array, valid)), valid, original)

    @classmethod
    def whole(cls, volume: Volume) -> MaskedVolume:
        """Take all voxels of an image as data."""
        return cls(volume, None, volume)

    def with_channel(self, channel: Volume | None) -> MaskedVolume:
        """Return the image with a second channel, on any grid; None for none.

        It is resampled on the grid of the image, its border value repeated outside, and filled smoothly where it has
        no data.

        Raises:
            InputError: It cannot be registered, see `of`.
        """
        if channel is None:
            return self
        filled = MaskedVolume.of(channel, "second channel").volume
        if not filled.grid.matches(self.grid):
            logger.info("second channel: resampled to the grid of its image")
            filled = resample(filled, self.grid, continued=True)
        return dataclasses.replace(self, channel=filled)

    @property
    def grid(self) -> Grid:
        """The grid of the image."""
        return self.volume.grid

    @property
    def data(self) -> np.ndarray:
        """The intensities of the voxels with data: shape (N,), or that of the image if all have data."""
        return self.volume.array if self.valid is None else self.volume.array[self.valid]

    @property
    def mask(self) -> Volume | None:
        """The voxels with data as a mask of 0 and 1; None for all."""
        return None if self.valid is None else self.volume.with_array(self.valid.astype(np.uint8))

    def on(self, grid: Grid, affine_ras: Affine | None = None) -> tuple[Volume, np.ndarray | None]:
        """Resample the image on another grid, after a pull map from its points to those of the image in RAS mm, if any.

        Returns:
            The image, its border value repeated outside, and the mask of the voxels with data, None for all.
        """
        image = resample(self.volume, grid, affine_ras=affine_ras, continued=True)
        there = self.known_on(grid, affine_ras=affine_ras)
        return image, None if there.all() else there

    def tensor_on(self, grid: Grid, affine_ras: Affine | None = None) -> Images:
        """Return the image, with its second channel if there is one, on another grid as a tensor (1, C, X, Y, Z)."""
        parts = [self.volume] if self.channel is None else [self.volume, self.channel]
        if not (affine_ras is None and self.grid.matches(grid)):
            parts = [resample(part, grid, affine_ras=affine_ras, continued=True) for part in parts]
        return torch.cat([part.to_tensor() for part in parts], dim=1)

    def known_on(
        self,
        grid: Grid,
        *,
        displacement: Field | None = None,
        affine_ras: Affine | None = None,
        device: torch.device | None = None,
    ) -> np.ndarray:
        """Return the mask of the voxels of another grid at which the image has data; arguments as for `on`."""
        maps = {"displacement": displacement, "affine_ras": affine_ras}
        if self.valid is None:
            return lies_within(self.grid, grid, **maps, device=device)
        return resample(self.volume.with_array(self.valid.astype(np.uint8)), grid, **maps, labels=True).array != 0


def mask_on(mask: Volume, grid: Grid, what: str) -> Volume:
    """Resample a mask (not 0) on the grid of its image, as 0 and 1; `what` is the image in messages, as "fixed image".

    Raises:
        InputError: No voxel of it is in the image.
    """
    chosen = mask.with_array((mask.array != 0).astype(np.uint8))
    if not mask.grid.matches(grid):
        logger.info("The mask of the %s has another grid: resampled.", what)
        chosen = resample(chosen, grid, labels=True)
    if not chosen.array.any():
        got = f"no voxel set inside the {what}"
        raise InputError(f"{what.split()[0]} mask", got=got, expected="a region to register")
    return chosen


def _valid(array: np.ndarray, what: str) -> np.ndarray | None:
    """Return the mask of the finite voxels that are no padding; None for all."""
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
    from SPRCore.geometry.padding import padding_mask  # loads parts of SciPy that reading a file does not need

    padding = padding_mask(array if finite is None else np.where(finite, array, array[finite].min()))
    padding = padding if padding is None or finite is None else padding & finite
    if padding is None or not padding.any():
        return finite
    logger.info("%s: %.0f %% of its voxels are padding: there are no data there", what, 100.0 * padding.mean())
    return ~padding if finite is None else finite & ~padding


def _filled(array: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the image in float32, filled smoothly where there are no data."""
    known = torch.from_numpy(valid)[None, None]
    image = torch.from_numpy(np.where(valid, array, 0).astype(np.float32))[None, None]
    return fill(image, known)[0, 0].numpy()


def fill(image: Scalars, known: Scalars) -> Scalars:
    """Fill unknown voxels of an image (1, C, X, Y, Z) smoothly by means over cells of increasing size.

    The mask of known voxels, shape (1, 1, X, Y, Z), is not empty; their values stay unchanged.
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
