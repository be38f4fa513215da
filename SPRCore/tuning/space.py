"""What a study may try, and what it is judged by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.regularization import BetaPrior
from SPRCore.tuning.axes import RANGES, preset_ranges

OBJECTIVES: dict[str, tuple[str, Literal["maximize", "minimize"], str]] = {
    "dice": ("dice", "maximize", "pairs with labels"),
    "tre": ("tre_mm", "minimize", "pairs with landmarks"),
    "label-free": ("lncc", "maximize", "pairs"),
}
"""What is measured, which way is better, and what it takes, by the name of an objective."""

_MARKS: dict[str, Literal["labels", "points"]] = {"dice": "labels", "tre": "points"}


@runtime_checkable
class Marked(Protocol):
    """Data that may have labels or landmarks."""

    def has(self, kind: Literal["labels", "points"]) -> bool:
        """Whether labels or landmarks ("points") are there."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter to try values of.

    Attributes:
        name: A hyperparameter, or for a recipe also a key such as optimiser.lr.
        low: Lowest value.
        high: Highest value.
        log: Draw its logarithm.

    Raises:
        InputError: The range is empty, or has no logarithm.
    """

    name: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Check the range."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"range of {self.name}", got=f"{self.low:g} to {self.high:g}", expected="a rising range")
        if self.log and self.low <= 0:
            raise InputError(f"range of {self.name}", got=f"the logarithm of {self.low:g}", expected="values above 0")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What trials are judged by.

    Attributes:
        name: One of `OBJECTIVES`.
        max_folding: Without labels: most folding in percent; a trial beyond it is worse than all within. None for any.
    """

    name: str = "dice"
    max_folding: float | None = None

    def __post_init__(self) -> None:
        """Check the name."""
        check_name(self.name, OBJECTIVES, "objective")

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better."""
        return OBJECTIVES[self.name][1]

    def check(self, data: Marked) -> None:
        """Refuse data on which it cannot be measured (`InputError`), before anything is computed or written."""
        if self.name in _MARKS and not data.has(_MARKS[self.name]):
            raise self._missing()

    def _missing(self) -> InputError:
        needs, remedy = OBJECTIVES[self.name][2], f"give them, or choose another --objective: {', '.join(OBJECTIVES)}"
        return InputError(f"objective {self.name}", got="none of it in the data", expected=needs, remedy=remedy)

    def value(self, measures: Mapping[str, Any]) -> float:
        """Return the value of a trial.

        Args:
            measures: What was measured.

        Returns:
            The value; NaN where it is none.

        Raises:
            InputError: It was not measured at all.
        """
        key = OBJECTIVES[self.name][0]
        if key not in measures:
            raise self._missing()
        return math.nan if measures[key] is None else float(measures[key])

    def excess(self, measures: Mapping[str, Any]) -> float:
        """Return by how much a trial folds too much; 0 or less is allowed."""
        folding = measures.get("folding_percent")
        return -1.0 if self.max_folding is None or folding is None else float(folding) - self.max_folding

    def better(self, value: float, other: float) -> bool:
        """Whether a value is better than another one."""
        return value > other if self.direction == "maximize" else value < other


def parameters(
    known: Mapping[str, tuple[float, float] | None],
    written: Mapping[str, str],
    preset: str | None,
    other: Iterable[str] | None = None,
    prior: str = BetaPrior.name,
) -> tuple[Parameter, ...]:
    """Return what a study tries.

    Args:
        known: Hyperparameters of what is tuned, with the range of each where there is one.
        written: What the user wrote, LOW:HIGH or LOW:HIGH:log, by parameter.
        preset: One of `RANGES` for the paper's, or None.
        other: Other names that may be written; None for none.
        prior: Name of the prior whose hyperparameters they are.

    Returns:
        The parameters; those of the preset or of `known` that were not written come first.

    Raises:
        InputError: A name or range that cannot be, or nothing to try.
    """
    if preset is not None:
        check_name(preset, RANGES, "preset")
    for name in written:
        check_name(name, [*known, *(other or ())], "parameter")
    own = {} if preset is None else preset_ranges(preset, prior)
    spans = {name: span if preset is None or span is not None else own[name] for name, span in known.items()}
    found = [
        Parameter(name=name, low=span[0], high=span[1])
        for name, span in spans.items()
        if span is not None and name not in written
    ]
    found += [_read(name, text) for name, text in written.items()]
    if not found:
        remedy = "say what to try: --ranges NAME=LOW:HIGH, or --preset"
        raise InputError("parameters", got="none", expected=", ".join(known) or "at least one", remedy=remedy)
    return tuple(found)


def _read(name: str, text: str) -> Parameter:
    low, sign, rest = text.partition(":")
    high, _, kind = rest.partition(":")
    try:
        if not sign or kind not in ("", "log"):
            raise ValueError(text)
        return Parameter(name=name, low=float(low), high=float(high), log=kind == "log")
    except InputError:
        raise
    except ValueError:
        raise InputError(f"range of {name}", got=repr(text[:64]), expected="LOW:HIGH or LOW:HIGH:log") from None
