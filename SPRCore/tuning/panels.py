"""Images and fields of one pair at a few settings of a sweep, for the figure that shows what the sliders do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from SPRCore.analysis.benchmark import BenchmarkOptions, measure
from SPRCore.analysis.isolated import run_isolated
from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.pairs import PairFiles
from SPRCore.analysis.saved_pairs import ABOUT, saved_folder
from SPRCore.tuning.axes import Axis, grid
from SPRCore.tuning.ready import setting_prior

PANELS = "panels"
"""Folder in that of a sweep."""

MOST = 5
"""Values of each hyperparameter that are shown."""


def panel_settings(axes: Sequence[Axis], most: int = MOST) -> list[dict[str, float]]:
    """Return a few settings of a grid, the ends of every axis among them.

    Args:
        axes: Axes of the grid.
        most: Most values of each.

    Returns:
        Every combination of the chosen values.
    """
    chosen = []
    for axis in axes:
        places = np.unique(np.linspace(0, len(axis.values) - 1, min(most, len(axis.values))).round().astype(int))
        chosen.append(Axis(name=axis.name, values=tuple(axis.values[place] for place in places)))
    return grid(chosen)


def keep_panels(
    pair: PairFiles,
    method: MethodSpec,
    settings: Sequence[dict[str, float]],
    folder: Path,
    options: BenchmarkOptions,
) -> None:
    """Register a pair at settings and keep images and fields; what is there already stays.

    Args:
        pair: The pair.
        method: A model, or the instance solver.
        settings: Values of its hyperparameters.
        folder: Folder of the sweep.
        options: Alignment and device.

    Raises:
        SPRError: A registration failed.
        OutputError: A file cannot be written.
    """
    for setting in settings:
        at = replace(method, prior=setting_prior(method, setting))
        place = saved_folder(folder / PANELS, pair.pair, at)
        if not (place / ABOUT).is_file():
            run_isolated(measure, pair, at, options, place)
