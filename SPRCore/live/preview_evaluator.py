"""Evaluation of previews against labels and landmarks, for sweeps."""

from __future__ import annotations

import numpy as np

from SPRCore.geometry import Annotations, Field, Grid, Volume, resample
from SPRCore.live.preview_grid import Preview
from SPRCore.live.protocol import SweepPoint
from SPRCore.live.reply import Setting
from SPRCore.live.timing import milliseconds_since
from SPRCore.metrics import dice, dice_mean, summarize, tre_mm


class PreviewEvaluator:
    """Computes Dice and landmark errors of displacements on the preview grid.

    Fixed labels are resampled to that grid; moving labels are sampled at the displaced positions in their own
    resolution. The result is a sample of the full-resolution overlap, not the overlap of coarse shapes.

    Args:
        annotations: Labels and landmarks.
        grid: Preview grid.
    """

    def __init__(self, annotations: Annotations, grid: Grid) -> None:
        self._annotations = annotations
        both = annotations.fixed_labels is not None and annotations.moving_labels is not None
        self._fixed: Volume | None = resample(annotations.fixed_labels, grid, labels=True) if both else None

    def point(self, setting: Setting, preview: Preview, start: float) -> SweepPoint:
        """Evaluate the preview of a setting whose computation began at `start` of `time.perf_counter`."""
        return SweepPoint(
            setting=dict(setting),
            quality=preview.quality,
            dice_mean=self.dice_mean(preview.displacement),
            tre_mm=self.tre_mm(preview.displacement),
            milliseconds=milliseconds_since(start),
        )

    def dice_mean(self, displacement: Field) -> float | None:
        """Mean Dice of all labels under a total displacement on the preview grid; None without labels."""
        if self._fixed is None:
            return None
        scores = dice(self._fixed, self._annotations.warped_labels(displacement))
        return dice_mean(scores) if scores else None

    def tre_mm(self, displacement: Field) -> float | None:
        """Mean landmark error under a total displacement, in mm; None without landmarks."""
        fixed, moving = self._annotations.fixed_points, self._annotations.moving_points
        if fixed is None or moving is None or not len(fixed):
            return None
        return summarize(tre_mm(np.asarray(fixed), np.asarray(moving), displacement))["mean"]
