"""What a sweep measures at each of its points beside the quality: overlap of labels and error at landmarks."""

from __future__ import annotations

import numpy as np

from SPRCore.geometry import Field, Grid, Volume, resample
from SPRCore.geometry.annotations import Annotations
from SPRCore.live.canvas import Picture
from SPRCore.live.reply import Setting, SweepPoint
from SPRCore.live.timing import milliseconds_since
from SPRCore.metrics import dice, dice_mean, summarize, tre_mm


class Yardstick:
    """Labels and landmarks, prepared to measure displacements on a coarse grid.

    Both label maps are read at the voxels of that grid, the nearest label each, where a moving label is read at the
    displaced place in its own resolution: a sample of the full overlap, not an overlap of coarse shapes.

    Args:
        given: Labels and landmarks, each may be absent.
        grid: The coarse grid.
    """

    def __init__(self, given: Annotations, grid: Grid) -> None:
        self._given = given
        both = given.fixed_labels is not None and given.moving_labels is not None
        self._fixed: Volume | None = resample(given.fixed_labels, grid, labels=True) if both else None

    def point(self, setting: Setting, picture: Picture, start: float) -> SweepPoint:
        """Measure the picture of a setting on which work began at a moment of `time.perf_counter`."""
        return SweepPoint(
            setting=setting,
            quality=picture.quality,
            dice_mean=self.dice_mean(picture.displacement),
            tre_mm=self.tre_mm(picture.displacement),
            milliseconds=milliseconds_since(start),
        )

    def dice_mean(self, displacement: Field) -> float | None:
        """Mean Dice of all labels under a total displacement on the coarse grid; None without labels."""
        if self._fixed is None:
            return None
        scores = dice(self._fixed, self._given.warped_labels(displacement))
        return dice_mean(scores) if scores else None

    def tre_mm(self, displacement: Field) -> float | None:
        """Mean error at the landmarks under a total displacement, in mm; None without landmarks."""
        fixed, moving = self._given.fixed_points, self._given.moving_points
        if fixed is None or moving is None or not len(fixed):
            return None
        return summarize(tre_mm(np.asarray(fixed), np.asarray(moving), displacement))["mean"]
