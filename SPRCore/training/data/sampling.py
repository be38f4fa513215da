"""From the images of a subject to what a network sees of them, as the recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ...errors import InputError
from ...geometry import Grid, Volume, ras_to_voxel, resample, voxel_to_ras
from ...networks.network import MIN_SIZE
from ...registration.prealign import prealign
from ...registration.working import onto, prepared, working_grid
from ..data_config import PreprocessingConfig
from .cases import Sample
from .grouping import grouped
from .reading import Images


@dataclass(frozen=True, eq=False)
class Box:
    """A part of a grid, which may reach beyond it.

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
        """The part of it that lies inside the grid."""
        low = np.maximum(self.start, 0)
        high = np.minimum(np.add(self.start, self.shape), self.grid.shape)
        return _moved(self.grid, low, tuple(int(n) for n in high - low))

    @property
    def outer(self) -> Grid:
        """All of it as a grid."""
        return _moved(self.grid, np.array(self.start), self.shape)

    @property
    def margins(self) -> tuple[tuple[int, int], ...]:
        """Voxels beyond the grid, before and behind, along each axis."""
        return tuple(
            (max(0, -start), max(0, start + size - full))
            for start, size, full in zip(self.start, self.shape, self.grid.shape, strict=True)
        )


def sample_subject(
    images: Sequence[Images], config: PreprocessingConfig, grouping: str | None, reference: Images | None
) -> list[tuple[Sample, Grid]]:
    """Prepare the images of a subject, all on one grid.

    Args:
        images: The images; alignment and grid follow from the first one.
        config: How to prepare.
        grouping: Name of the grouping of labels, or None.
        reference: Image to align with, or None.

    Returns:
        Each image as a network sees it, and its grid in the world.

    Raises:
        InputError: An image has no contrast, labels cannot be kept, or the crop is too small for a network.
    """
    images = [_stripped(item) if config.strip else item for item in images]
    first, affine_ras = images[0], None
    if reference is None:
        box = box_of(images, config)
    else:
        reference = _stripped(reference) if config.strip else reference
        box = box_of([reference], config)
        if first.image is not reference.image:
            affine_ras = prealign(reference.image, first.image, config.align).affine_ras
    if min(box.shape) < MIN_SIZE and config.shape is None:
        remedy = "set preprocessing.shape, which repeats the border"
        raise InputError("image", got=f"{box.shape} voxels", expected=f"{MIN_SIZE} along each axis", remedy=remedy)
    return [(_sample(item, box, config, grouping, affine_ras), box.outer) for item in images]


def box_of(images: Sequence[Images], config: PreprocessingConfig) -> Box:
    """Lay the box that a network sees over the grid of the first image.

    Args:
        images: Images of a subject, whose labels may tell where the middle is.
        config: Orientation, spacing, shape and what it is laid around.

    Returns:
        The box; the whole field of view where no shape is asked for.

    Raises:
        InputError: The middle of labels is asked for and there are none.
    """
    grid = working_grid(images[0].image.grid, config.card_grid())
    if config.shape is None:
        return Box(grid, (0, 0, 0), grid.shape)
    middle = (np.array(grid.shape) - 1) / 2
    if config.crop == "labels":
        middle = _middle_of_labels(images, config.crop_labels, grid)
    start = np.floor(middle - (np.array(config.shape) - 1) / 2 + 0.5).astype(int)
    return Box(grid, tuple(int(n) for n in start), config.shape)


def _middle_of_labels(images: Sequence[Images], members: tuple[int, ...] | None, grid: Grid) -> np.ndarray:
    """Middle of the box around the labels of all images, in voxels of the grid."""
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


def _sample(
    item: Images, box: Box, config: PreprocessingConfig, grouping: str | None, affine_ras: np.ndarray | None
) -> Sample:
    # Intensities first, by all of the field of view: a model is given whole images later.
    image = onto(prepared(item.image, config.card_preprocessing(), "image"), box.inner, affine_ras)
    labels = points = None
    if item.labels is not None:
        source = item.labels.with_array(grouped(item.labels.array, grouping))
        inside = resample(source, box.inner, affine_ras=affine_ras, labels=True).array
        labels = np.pad(inside, box.margins)
    if item.points_mm is not None:
        back = np.eye(4) if affine_ras is None else np.linalg.inv(affine_ras)
        points = ras_to_voxel(voxel_to_ras(item.points_mm, back), box.outer.affine).astype(np.float32)
    array = np.pad(image.array, box.margins, mode="edge")
    return Sample(image=array, labels=labels, points=points, spacing_mm=box.inner.spacing)


def _stripped(item: Images) -> Images:
    if item.labels is None:
        raise InputError("image", got="no labels", expected="labels to strip it by", remedy="preprocessing.strip=false")
    array = np.where(item.labels.array > 0, item.image.array, item.image.array.min())
    return Images(image=Volume(array, item.image.affine), labels=item.labels, points_mm=item.points_mm)


def _moved(grid: Grid, start: np.ndarray, shape: tuple[int, ...]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    return Grid(shape, affine)
