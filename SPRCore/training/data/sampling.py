"""Cropping, alignment and sampling of images for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, MaskedVolume, ras_to_voxel, resample, voxel_to_ras
from SPRCore.io.samples import Sample
from SPRCore.networks.network import MIN_SIZE
from SPRCore.registration.prealign import overlap_fraction, prealign
from SPRCore.registration.working import onto, prepared, working_grid
from SPRCore.training.data.grouping import grouped
from SPRCore.training.data.reading import Images
from SPRCore.training.data_config import PreprocessingConfig
from SPRCore.typing import Affine


@dataclass(frozen=True, eq=False)
class Box:
    """A box of voxels, which may extend beyond its grid.

    Attributes:
        grid: The grid.
        start: First voxel along each axis.
        shape: Number of voxels.
    """

    grid: Grid
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def inner(self) -> Grid:
        """The part inside the grid."""
        low = np.maximum(self.start, 0)
        high = np.minimum(np.add(self.start, self.shape), self.grid.shape)
        return _moved(self.grid, low, tuple(int(n) for n in high - low))

    @property
    def outer(self) -> Grid:
        """The box as a grid."""
        return _moved(self.grid, np.array(self.start), self.shape)

    @property
    def margins(self) -> tuple[tuple[int, int], ...]:
        """Voxels before and after the grid, along each axis."""
        return tuple(
            (max(0, -start), max(0, start + size - full))
            for start, size, full in zip(self.start, self.shape, self.grid.shape, strict=True)
        )


def crop_box(images: Sequence[Images], config: PreprocessingConfig) -> Box:
    """Return the crop of the grid of the first image.

    Args:
        images: Images of a subject, with labels for a crop around them.
        config: Orientation, spacing, shape and center of the crop.

    Returns:
        The box; the whole field of view without a shape.

    Raises:
        InputError: Labels for the center are missing, or the box is too small for a network.
    """
    grid = working_grid(images[0].image.grid, config.card_grid())
    if config.shape is None:
        if min(grid.shape) < MIN_SIZE:
            remedy = "set preprocessing.shape, which repeats the border"
            raise InputError("image", got=f"{grid.shape} voxels", expected=f"{MIN_SIZE} along each axis", remedy=remedy)
        return Box(grid, (0, 0, 0), grid.shape)
    middle = (np.array(grid.shape) - 1) / 2
    if config.crop == "labels":
        middle = _center_of_labels(images, config.crop_labels, grid)
    start = np.floor(middle - (np.array(config.shape) - 1) / 2 + 0.5).astype(int)
    if (start >= grid.shape).any() or (start + config.shape <= 0).any():
        raise InputError("labels", got="a middle outside of the image", expected="labels of this image")
    return Box(grid, tuple(int(n) for n in start), config.shape)


def align(item: Images, reference: Images, config: PreprocessingConfig) -> Affine | None:
    """Compute the affine pre-alignment of an image with the reference.

    Returns:
        Pull map from the reference to the image in RAS mm, shape (4, 4); None for the reference itself.

    Raises:
        InputError: The images do not overlap.
    """
    if item.image is reference.image:
        return None
    pair = (MaskedVolume.of(part.image, "image") for part in (reference, item))
    return prealign(*pair, config.align).affine_ras


def check_together(item: Images, first: Images) -> None:
    """Refuse an image that does not overlap the first one of its subject, on whose grid it is sampled.

    Raises:
        InputError: The fields of view do not overlap.
    """
    if overlap_fraction(first.image.grid, item.image.grid) == 0:
        remedy = "set preprocessing.align, or check where its header places it"
        raise InputError("image", got="no overlap with the first image of its subject", remedy=remedy)


def stripped(item: Images) -> Images:
    """Set voxels without a label to the lowest intensity.

    Raises:
        InputError: There are no labels.
    """
    if item.labels is None:
        raise InputError("image", got="no labels", expected="labels to strip it by", remedy="preprocessing.strip=false")
    there, channel = item.labels.array > 0, item.channel
    if channel is not None and not channel.grid.matches(item.image.grid):
        channel = resample(channel, item.image.grid, continued=True)
    image, channel = (
        None if part is None else part.with_array(np.where(there, part.array, part.array.min()))
        for part in (item.image, channel)
    )
    return replace(item, image=image, channel=channel)


def sample_image(
    item: Images, box: Box, config: PreprocessingConfig, grouping: str | None, affine_ras: Affine | None
) -> Sample:
    """Crop an image with its labels, landmarks and second channel to a box, and prepare its intensities.

    Intensities are prepared over the whole field of view, as for the images given to a model later. `affine_ras` is the
    pull map from the grid to the image in RAS mm, or None.

    Raises:
        InputError: The image has no contrast or is outside the box, or its labels are out of range.
    """
    whole = MaskedVolume.of(item.image, "image").with_channel(item.channel)
    channels = []
    for what, volume in zip(("image", "second channel"), prepared(whole, config.intensities(), "image"), strict=False):
        array = onto(volume, box.inner, affine_ras).array
        if array.min() == array.max():
            raise InputError(what, got="a single value within the crop", remedy="see preprocessing.shape and crop")
        channels.append(np.pad(array, box.margins, mode="edge"))
    labels = points = None
    if item.labels is not None:
        source = item.labels.with_array(grouped(item.labels.array, grouping))
        labels = np.pad(resample(source, box.inner, affine_ras=affine_ras, labels=True).array, box.margins)
    if item.points_mm is not None:
        back = np.eye(4) if affine_ras is None else np.linalg.inv(affine_ras)
        points = ras_to_voxel(voxel_to_ras(item.points_mm, back), box.outer.affine).astype(np.float32)
    image, second = channels if len(channels) == 2 else (channels[0], None)
    return Sample(image=image, labels=labels, points=points, affine=box.outer.affine, second_channel=second)


def _center_of_labels(images: Sequence[Images], members: tuple[int, ...] | None, grid: Grid) -> np.ndarray:
    """Center of the bounding box of the labels of all images, in voxels of the grid."""
    corners = []
    for item in images:
        if item.labels is None:
            continue
        array = item.labels.array
        inside = np.argwhere(array > 0 if members is None else np.isin(array, members))
        if len(inside):
            ends = np.stack([inside.min(axis=0), inside.max(axis=0)])
            index = np.array([[ends[side, axis] for axis, side in enumerate(way)] for way in product((0, 1), repeat=3)])
            corners.append(ras_to_voxel(voxel_to_ras(index.astype(float), item.labels.affine), grid.affine))
    if not corners:
        raise InputError(
            "labels", got="none to crop around", expected="labels", remedy="--set preprocessing.crop=center"
        )
    points = np.concatenate(corners)
    return (points.min(axis=0) + points.max(axis=0)) / 2


def _moved(grid: Grid, start: np.ndarray, shape: tuple[int, ...]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    return Grid(shape, affine)
