"""The space of settings: positions of settings between the slider ends, and the settings of a sweep."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from SPRCore.errors import InputError
from SPRCore.regularization.hyperparameters import from_slider, to_slider

Setting = Mapping[str, float]
Key = tuple[float, ...]
"""Values of a setting to nine digits, sorted by name."""

START = ("rest", "search")
"""Starts of the instance optimization: rest, or the displacement found by a discrete search."""

_POINTS = {1: (3, 5, 9), 2: (3, 5)}


def key_of(setting: Setting) -> Key:
    """Return the key of a setting."""
    return tuple(float(f"{setting[name]:.9g}") for name in sorted(setting))


def checked(changes: Mapping[str, object], names: Sequence[str]) -> dict[str, float]:
    """Return changes of a setting as floats.

    Raises:
        InputError: A name that is not in `names`, or a value that is not a finite number.
    """
    for name, value in changes.items():
        if name not in names:
            raise InputError("setting", got=name, expected=f"one of: {', '.join(names)}")
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number:
            raise InputError(name, got=repr(value)[:64], expected="a finite number")
    return {name: float(value) for name, value in changes.items()}  # type: ignore[arg-type]


class Axes:
    """Unit cube of settings, one axis for each slider with its minimum and maximum."""

    def __init__(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.ranges = {name: (float(low), float(high)) for name, (low, high) in ranges.items()}

    def position(self, setting: Setting) -> np.ndarray:
        """Return the position of a setting, shape (axes,); outside [0, 1] beyond the slider ends."""
        return np.array([to_slider(setting[name], *ends) for name, ends in self.ranges.items()])

    def values(self, position: Sequence[float]) -> dict[str, float]:
        """Return the values at a position; the inverse of `position`."""
        return {name: from_slider(at, *ends) for (name, ends), at in zip(self.ranges.items(), position, strict=True)}

    def setting(self, position: Sequence[float]) -> dict[str, float]:
        """Return the values at a position, rounded to three digits within their ranges."""
        return {
            name: min(max(float(f"{value:.3g}"), self.ranges[name][0]), self.ranges[name][1])
            for name, value in self.values(position).items()
        }

    def sweep(self) -> list[dict[str, float]]:
        """Return the settings of a sweep from coarse to fine grids, each from its center outwards.

        25 settings for two hyperparameters, 9 for one, an empty list for none.
        """
        order: list[tuple[float, ...]] = []
        for count in _POINTS.get(len(self.ranges), ()):
            ticks = [index / (count - 1) for index in range(count)]
            grid = itertools.product(ticks, repeat=len(self.ranges))
            order += sorted(set(grid) - set(order), key=lambda at: (math.dist(at, [0.5] * len(at)), at))
        return [self.setting(position) for position in order]
