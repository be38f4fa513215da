"""The space of settings: where a setting lies between the ends of the sliders, and the points that a sweep visits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from SPRCore.errors import InputError

Setting = Mapping[str, float]
Key = tuple[float, ...]
"""A setting as a key: its values in the order of their names, to nine digits."""

START = ("rest", "search")
"""What the instance solver starts from: rest, or displacements of blocks that a discrete search finds."""

_RATIO = 4.0  # a range over more than this from end to end is divided evenly in its logarithm
_POINTS = {1: (3, 5, 9), 2: (3, 5)}


def key_of(setting: Setting) -> Key:
    """Return a setting as a key; settings that print alike to nine digits are one."""
    return tuple(float(f"{setting[name]:.9g}") for name in sorted(setting))


def checked(changes: Mapping[str, object], names: Sequence[str]) -> dict[str, float]:
    """Return changes of a setting as numbers.

    Args:
        changes: Values by name.
        names: Hyperparameters that there are.

    Returns:
        The same as floats.

    Raises:
        InputError: A name that is not among them, or a value that is no finite number.
    """
    for name, value in changes.items():
        if name not in names:
            raise InputError("setting", got=name, expected=f"one of: {', '.join(names)}")
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number:
            raise InputError(name, got=repr(value)[:64], expected="a finite number")
    return {name: float(value) for name, value in changes.items()}  # type: ignore[arg-type]


def widened(ranges: Mapping[str, tuple[float, float]], setting: Setting) -> dict[str, tuple[float, float]]:
    """Return ranges that include a setting: that of an anatomy, or one that was chosen, may lie beyond the usual ones.

    Args:
        ranges: Lowest and highest value of each hyperparameter.
        setting: Values by name; those that are missing or not above 0 change nothing.
    """
    inside = {name: setting[name] if setting.get(name, 0.0) > 0 else low for name, (low, _) in ranges.items()}
    return {name: (min(low, inside[name]), max(high, inside[name])) for name, (low, high) in ranges.items()}


class Axes:
    """The sliders as axes of a space whose range is [0, 1] along each.

    Args:
        ranges: Lowest and highest value of each hyperparameter that has a slider.
    """

    def __init__(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.ranges = {name: (float(low), float(high)) for name, (low, high) in ranges.items()}

    def place(self, setting: Setting) -> np.ndarray:
        """Return where a setting lies, shape (axes,); outside [0, 1] beyond the ends of a slider."""
        return np.array([_to_unit(setting[name], *ends) for name, ends in self.ranges.items()])

    def values(self, place: Sequence[float]) -> dict[str, float]:
        """Return the values at a place; `place` undoes it."""
        return {name: _from_unit(at, *ends) for (name, ends), at in zip(self.ranges.items(), place, strict=True)}

    def setting(self, place: Sequence[float]) -> dict[str, float]:
        """Return the values at a place, to three digits, as far as they stay in their ranges."""
        return {
            name: min(max(float(f"{value:.3g}"), self.ranges[name][0]), self.ranges[name][1])
            for name, value in self.values(place).items()
        }

    def sweep(self) -> list[dict[str, float]]:
        """Return the settings of a sweep, each finer grid after the coarser one, each from its middle outwards.

        Returns:
            25 settings for two hyperparameters, 9 for one, none for none.
        """
        order: list[tuple[float, ...]] = []
        for count in _POINTS.get(len(self.ranges), ()):
            ticks = [index / (count - 1) for index in range(count)]
            grid = itertools.product(ticks, repeat=len(self.ranges))
            order += sorted(set(grid) - set(order), key=lambda at: (math.dist(at, [0.5] * len(at)), at))
        return [self.setting(place) for place in order]


def _to_unit(value: float, low: float, high: float) -> float:
    if _is_even_in_logarithm(low, high):
        return math.log(max(value, 1e-3 * low) / low) / math.log(high / low)
    return (value - low) / (high - low) if high > low else 0.0


def _from_unit(at: float, low: float, high: float) -> float:
    return low * (high / low) ** at if _is_even_in_logarithm(low, high) else low + at * (high - low)


def _is_even_in_logarithm(low: float, high: float) -> bool:
    return low > 0 and high > _RATIO * low
