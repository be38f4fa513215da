"""Similarity of intensities."""

from __future__ import annotations

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.geometry import Field, MaskedVolume, Volume, percentiles, resample
from SPRCore.metrics.checks import grid_mask
from SPRCore.similarity import features, fixed_side
from SPRCore.typing import Tensor


def local_correlation(fixed: Volume, warped: Volume, mask: Volume | np.ndarray | None = None, window: int = 9) -> float:
    """Mean squared local correlation (`SPRCore.similarity.lncc`) of two images on one grid, in [0, 1].

    Only voxels in the mask count. The window is in voxels, 9 as in the paper.

    Raises:
        InputError: Two different grids, or a mask that does not fit.
    """
    inside = grid_mask(mask, fixed.shape)
    similarity = Similarity(MaskedVolume(fixed, inside, fixed), window)
    return similarity.between(warped, inside)


class Similarity:
    """Similarity of moving images to one fixed image, where both have data.

    Args:
        fixed: Fixed image with its mask of data, any intensity scale.
        window: Window in voxels; 9 as in the paper.
        device: Compute device; None for the CPU.
        name: "lncc", "mind" or "mse".
    """

    def __init__(
        self, fixed: MaskedVolume, window: int = 9, device: torch.device | None = None, name: str = "lncc"
    ) -> None:
        self._fixed, self._window, self._device, self._name = fixed, window, device or torch.device("cpu"), name
        self._image = _unit_range(fixed.volume, fixed.valid).to(self._device)

    def measure(
        self, moving: MaskedVolume | None, displacement: Field | None = None, warped: Volume | None = None
    ) -> dict[str, float | None]:
        """Compare the fixed image with a moving one where both have data.

        Args:
            moving: Moving image with its mask of data; None if only the warped one is given.
            displacement: Pull displacement in RAS mm, or None.
            warped: Moving image on the fixed grid; computed from `moving` if absent, or if that is masked.

        Returns:
            The similarity by its name, and overlap_percent with `moving`: part of the data of the fixed image where
            the moving image has data. No similarity at an overlap of 0. Empty without moving and warped image.
        """
        if warped is None and moving is None:
            return {}
        grid, valid, known = self._fixed.grid, self._fixed.valid, None
        if moving is not None and (displacement is not None or warped is None):
            known = moving.known_on(grid, displacement=displacement, device=self._device)
        if warped is None or (known is not None and moving.valid is not None):  # no padding is mixed into its data
            # Descriptors depend on their neighbors: no edge at the border of the moving image.
            continued = self._name != "lncc"
            warped = resample(moving.volume, grid, displacement=displacement, continued=continued)
        both = valid if known is None else known if valid is None else known & valid
        share = None if known is None else float(both.sum() / (both.size if valid is None else valid.sum()))
        found = {} if share is None else {"overlap_percent": 100.0 * share}
        return found if share == 0.0 else {self._name: self.between(warped, both), **found}

    def between(self, warped: Volume, valid: np.ndarray | None) -> float:
        """Return the similarity to an image on the fixed grid, over the voxels that count.

        Raises:
            InputError: Another grid.
        """
        if not self._fixed.grid.matches(warped.grid):
            got = f"two grids, {self._fixed.grid.shape} and {warped.shape} voxels"
            raise InputError("images", got=got, expected="one grid")
        valid = None if valid is None or valid.all() else valid
        with torch.no_grad():
            mask = None if valid is None else torch.from_numpy(valid)[None, None].to(self._device, torch.float32)
            # A window of voxels, as in the paper; the neighbors of MIND depend on the voxel size.
            spacing = self._fixed.grid.spacing if self._name != "lncc" else (1.0, 1.0, 1.0)
            side = fixed_side(self._name, features(self._name, self._image, spacing), spacing, self._window, mask)
            moved = features(self._name, _unit_range(warped, valid).to(self._device), spacing)
            return float(side.compare(moved, derivatives=False).values.sum()) / side.total


def _unit_range(volume: Volume, valid: np.ndarray | None) -> Tensor:
    """The image with its 0.5th and 99.5th percentile at 0 and 1: the scale for which lncc's noise floor is set."""
    low, high = percentiles(volume.array if valid is None else volume.array[valid], (0.5, 99.5))
    scaled = volume.to_tensor().sub_(low).div_(max(high - low, float(np.finfo(np.float32).tiny)))
    return scaled.clamp_(-4.0, 5.0)  # a spike would reduce the precision of all other values
