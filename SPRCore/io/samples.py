"""Prepared images: image, labels, landmarks and grid of one case in one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Grid
from SPRCore.io.atomic import atomic_path


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """A prepared case: one image on the grid of a recipe.

    Attributes:
        image: Intensities in [0, 1], float32, shape (X, Y, Z).
        labels: int16 of the same shape, or None.
        points: Landmarks in voxels, float32, shape (N, 3), or None.
        affine: Voxels to RAS mm, shape (4, 4).
        second_channel: Second channel, as the image, or None.
        displacements_vox: Displacements of the instance solver to the other image of a pair, shape (K, 3, X, Y, Z), or
            None.
    """

    image: np.ndarray
    labels: np.ndarray | None = None
    points: np.ndarray | None = None
    affine: np.ndarray = field(default_factory=lambda: np.eye(4))
    second_channel: np.ndarray | None = None
    displacements_vox: np.ndarray | None = None

    @property
    def channels(self) -> np.ndarray:
        """The image with its second channel if there is one, shape (C, X, Y, Z)."""
        return np.stack([self.image] if self.second_channel is None else [self.image, self.second_channel])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a voxel."""
        return Grid(self.image.shape, self.affine).spacing


def write_sample(sample: Sample, path: Path) -> None:
    """Write a sample, atomically (`OutputError` if impossible)."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in vars(sample).items() if array is not None}
    with atomic_path(path) as partial:
        save_file(arrays, partial)


def read_sample(path: Path) -> Sample:
    """Read a sample (`InputError` if its file is damaged or missing)."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return Sample(**load_file(path))
    except (OSError, SafetensorError, ValueError, TypeError):
        got, remedy = "a file that cannot be read", "remove it and run spr prepare again"
        raise InputError(str(path), got=got, expected="a prepared image", remedy=remedy) from None
