"""Images and fields of one pair at a few settings of a sweep, for the figure of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from SPRCore.analysis.benchmark import BenchmarkOptions, measure
from SPRCore.analysis.isolated import run_isolated
from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.saved_pairs import ABOUT, saved_folder
from SPRCore.io.pairs import PairFiles
from SPRCore.tuning.axes import Axis, grid
from SPRCore.tuning.ready import setting_prior

PANELS = "panels"
"""Folder in that of a sweep."""

_MAX_VALUES = 5
"""Values of each hyperparameter in the figure."""


def panel_settings(axes: Sequence[Axis], most: int = _MAX_VALUES) -> list[dict[str, float]]:
    """Return all combinations of at most `most` values of each axis, including its ends."""
    chosen = []
    for axis in axes:
        chosen_indices = np.unique(
            np.linspace(0, len(axis.values) - 1, min(most, len(axis.values))).round().astype(int)
        )
        chosen.append(Axis(name=axis.name, values=tuple(axis.values[index] for index in chosen_indices)))
    return grid(chosen)


def save_panels(
    pair: PairFiles,
    method: MethodSpec,
    settings: Sequence[dict[str, float]],
    folder: Path,
    options: BenchmarkOptions,
) -> None:
    """Register a pair at settings and save images and fields in the folder of the sweep, without those already saved.

    Raises:
        SPRError: A registration failed.
        OutputError: A file cannot be written.
    """
    for setting in settings:
        at = replace(method, prior=setting_prior(method, setting))
        saved = saved_folder(folder / PANELS, pair.pair, at)
        if not (saved / ABOUT).is_file():
            run_isolated(measure, pair, at, options, saved)
