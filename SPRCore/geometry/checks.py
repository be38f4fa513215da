"""What an image must be to be registered."""

from __future__ import annotations

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry.volume import Volume

MIN_VOXELS = 4
"""Fewest voxels along an axis: below it neither derivatives nor a multi-resolution pyramid mean anything."""


def check_image(volume: Volume, what: str) -> None:
    """Refuse an image that cannot be registered.

    Args:
        volume: The image.
        what: What the user calls it, such as "fixed image"; the message starts with it.

    Raises:
        InputError: An axis has fewer than `MIN_VOXELS` voxels, a value is NaN or infinite, or all values are equal.
    """
    if min(volume.shape) < MIN_VOXELS:
        raise InputError(
            what, got=f"shape {volume.shape}", expected=f"a 3-D image with {MIN_VOXELS} or more voxels along each axis"
        )
    bad = volume.array.size - int(np.count_nonzero(np.isfinite(volume.array)))
    if bad:
        raise InputError(
            what,
            got=f"{bad} voxels that are NaN or infinite",
            expected="finite intensities",
            remedy="replace them, for instance by the background value",
        )
    lowest, highest = volume.array.min(), volume.array.max()
    if lowest == highest:
        raise InputError(what, got=f"the same intensity {lowest} everywhere", expected="an image with contrast")
