"""Labels, landmarks, masks and second channels of a pair of images."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry.masked import MaskedVolume, mask_on
from SPRCore.geometry.resampling import resample
from SPRCore.geometry.volume import Field, Grid, Volume

_LOG = logging.getLogger("SPRCore")


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Labels, landmarks, masks and second channels of a pair of images; each may be absent.

    Labels and landmarks measure a registration and are never used to register; masks restrict it, second channels take
    part in it.

    Args:
        fixed_labels: Label map of the fixed image, on any grid.
        moving_labels: Label map of the moving image, on any grid.
        fixed_points: Landmarks of the fixed image in RAS mm, shape (N, 3).
        moving_points: Corresponding landmarks of the moving image in RAS mm, shape (N, 3).
        fixed_mask: Nonzero where the fixed image is used, on any grid; None for the whole image.
        moving_mask: Nonzero where the moving image is used, on any grid; None for the whole image.
        fixed_channel: Second channel of the fixed image, such as the SUV of a CT, on any grid; it is resampled on that
            of the image and has the same part in the similarity.
        moving_channel: Second channel of the moving image.

    Raises:
        InputError: Labels are not integers, landmarks or second channel of one image only, or the numbers of landmarks
            differ.
    """

    fixed_labels: Volume | None = None
    moving_labels: Volume | None = None
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None
    fixed_mask: Volume | None = None
    moving_mask: Volume | None = None
    fixed_channel: Volume | None = None
    moving_channel: Volume | None = None

    def __post_init__(self) -> None:
        for what, labels in (("fixed labels", self.fixed_labels), ("moving labels", self.moving_labels)):
            if labels is not None and labels.array.dtype.kind not in "biu":
                raise InputError(what, got=f"values of type {labels.array.dtype}", expected="whole numbers")
        if (self.fixed_channel is None) != (self.moving_channel is None):
            raise InputError("second channel", got="that of one image only", expected="those of both images, or none")
        fixed, moving = self.fixed_points, self.moving_points
        if (fixed is None) != (moving is None):
            raise InputError("landmarks", got="those of one image only", expected="those of both images, in one order")
        if fixed is not None and moving is not None and len(fixed) != len(moving):
            got = f"{len(fixed)} in the fixed and {len(moving)} in the moving image"
            raise InputError("landmarks", got=got, expected="the same number, in the same order")

    def masked(self, fixed: Volume | MaskedVolume, moving: Volume | MaskedVolume) -> tuple[MaskedVolume, MaskedVolume]:
        """Return both images with the masks of their data, which these masks restrict, and their second channels.

        A `MaskedVolume` is returned unchanged.

        Raises:
            InputError: An image cannot be registered (see `MaskedVolume.of`).
        """
        sides = (
            (fixed, "fixed image", self.fixed_mask, self.fixed_channel),
            (moving, "moving image", self.moving_mask, self.moving_channel),
        )
        first, second = (
            image if isinstance(image, MaskedVolume) else MaskedVolume.of(image, what, mask).with_channel(channel)
            for image, what, mask, channel in sides
        )
        return first, second

    def on(self, grid: Grid) -> Annotations:
        """Return a copy with fixed labels and fixed mask on `grid` (nearest neighbor)."""
        if self.fixed_mask is not None and not self.fixed_mask.grid.matches(grid):
            return dataclasses.replace(self, fixed_mask=mask_on(self.fixed_mask, grid, "fixed image")).on(grid)
        labels = self.fixed_labels
        if labels is None or labels.grid.matches(grid):
            return self
        _LOG.info("fixed labels: resampled to the grid of the fixed image")
        resampled = resample(labels, grid, labels=True)
        if labels.array.any() and not resampled.array.any():
            raise InputError(
                "fixed labels",
                got="no label inside the fixed image",
                expected="labels of the fixed image",
                remedy="check that both have the same world coordinates",
            )
        return dataclasses.replace(self, fixed_labels=resampled)

    def warped_labels(self, displacement: Field) -> Volume | None:
        """Return the moving labels pulled onto the grid of a displacement, or None without labels."""
        if self.moving_labels is None:
            return None
        return resample(self.moving_labels, displacement.grid, displacement=displacement, labels=True)
