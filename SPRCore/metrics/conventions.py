"""Conventions of the metrics in which published results differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.geometry import MaskedVolume, Volume

LabelInterpolation = Literal["nearest", "linear"]
FoldingRegion = Literal["volume", "foreground"]


@dataclass(frozen=True, kw_only=True)
class MetricConventions:
    """How labels are warped, and over which voxels folding and non-diffeomorphic volume are taken.

    Attributes:
        label_interpolation: "nearest" takes the label of the nearest voxel. "linear" interpolates the indicator of each
            label and takes the highest, as the author of the paper does: smoother, and somewhat higher in Dice.
        folding_over: "volume" divides by all inner voxels (of the mask). "foreground" counts and divides by those where
            the fixed image is above its lowest value: the images of the paper are 0 around the skull-stripped head. Its
            author takes the moving image, which lies on the same grid.

    Raises:
        InputError: A name is unknown.
    """

    label_interpolation: LabelInterpolation = "nearest"
    folding_over: FoldingRegion = "volume"

    def __post_init__(self) -> None:
        check_name(self.label_interpolation, ("nearest", "linear"), "label interpolation")
        check_name(self.folding_over, ("volume", "foreground"), "region of folding")

    @property
    def labels(self) -> Literal[True, "linear"]:
        """The argument `labels` of `resample`."""
        return "linear" if self.label_interpolation == "linear" else True

    def region(self, fixed: MaskedVolume | None, mask: Volume | None) -> Volume | None:
        """Return the mask of folding and non-diffeomorphic volume on the fixed grid; None for all voxels.

        Raises:
            InputError: The foreground is asked for without a fixed image.
        """
        if self.folding_over == "volume":
            return mask
        if fixed is None:
            raise InputError("folding over the foreground", got="no fixed image", expected="the fixed image")
        image = fixed.original
        above = image.array > np.nanmin(image.array)
        return Volume((above if mask is None else above & (mask.array != 0)).astype(np.uint8), image.affine)
