"""Search space and objective of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.regularization import BetaPrior
from SPRCore.tuning.axes import RANGES, preset_ranges

if TYPE_CHECKING:
    import optuna

OBJECTIVES: dict[str, tuple[str, Literal["maximize", "minimize"], str]] = {
    "dice": ("dice", "maximize", "pairs with labels"),
    "tre": ("tre_mm", "minimize", "pairs with landmarks"),
    "label-free": ("lncc", "maximize", "pairs"),
}
"""Metric, direction and required data of each objective."""

MAX_FOLDING = 0.1
"""Default limit of the mean folding of a trial in percent.

The diffeomorphic methods of the paper have 0.00 % and deedsBCV at most 0.05 %, so that 0.1 % leaves room for errors of
finite differences; VoxelMorph folds at 0.44 % in hearts and 4.33 % in brains. Judged by Dice alone such a setting can
be the best one, which Sect. 6.2.2 of the paper warns of.
"""

_NEEDED_ANNOTATIONS: dict[str, Literal["labels", "points"]] = {"dice": "labels", "tre": "points"}


class AnnotatedData(Protocol):
    """Data with or without labels and landmarks."""

    def has(self, kind: Literal["labels", "points"]) -> bool:
        """Whether there are labels or landmarks ("points")."""
        ...


@dataclass(frozen=True, kw_only=True)
class SearchParameter:
    """Range of one parameter.

    Attributes:
        name: A hyperparameter, or for a recipe also a key such as optimiser.lr.
        low: Lowest value.
        high: Highest value.
        log: Whether to sample its logarithm.

    Raises:
        InputError: The range is empty, or has no logarithm.
    """

    name: str
    low: float
    high: float
    log: bool = False

    def suggest(self, trial: optuna.Trial) -> float:
        """Return a value for a trial."""
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"range of {self.name}", got=f"{self.low:g} to {self.high:g}", expected="a rising range")
        if self.log and self.low <= 0:
            raise InputError(f"range of {self.name}", got=f"the logarithm of {self.low:g}", expected="values above 0")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Objective of the trials.

    Attributes:
        name: One of `OBJECTIVES`.
        max_folding: Largest mean folding in percent; a trial above it is infeasible. None for no limit.
    """

    name: str = "dice"
    max_folding: float | None = None

    def __post_init__(self) -> None:
        check_name(self.name, OBJECTIVES, "objective")

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Direction of improvement."""
        return OBJECTIVES[self.name][1]

    @property
    def sign(self) -> int:
        """1 where higher values are better, -1 where lower ones are."""
        return 1 if self.direction == "maximize" else -1

    def check(self, data: AnnotatedData) -> None:
        """Raise `InputError` for data without the annotations that it needs."""
        if self.name in _NEEDED_ANNOTATIONS and not data.has(_NEEDED_ANNOTATIONS[self.name]):
            raise self._missing()

    def _missing(self) -> InputError:
        needs, remedy = OBJECTIVES[self.name][2], f"give them, or choose another --objective: {', '.join(OBJECTIVES)}"
        return InputError(f"objective {self.name}", got="none in the data", expected=needs, remedy=remedy)

    def value(self, measures: Mapping[str, Any]) -> float:
        """Return the value of a trial; NaN where the metric is undefined, `InputError` where it is missing."""
        key = OBJECTIVES[self.name][0]
        if key not in measures:
            raise self._missing()
        return math.nan if measures[key] is None else float(measures[key])

    def excess(self, measures: Mapping[str, Any]) -> float:
        """Return the folding above the limit in percent; 0 or less is feasible, as without a limit or known folding."""
        folding = measures.get("folding_percent")
        return -1.0 if self.max_folding is None or folding is None else float(folding) - self.max_folding


def search_space(
    known: Mapping[str, tuple[float, float] | None],
    written: Mapping[str, str],
    preset: str | None,
    other: Iterable[str] | None = None,
    prior: str = BetaPrior.name,
) -> tuple[SearchParameter, ...]:
    """Return the search space of a study.

    Args:
        known: Hyperparameters of the target, with their ranges if known.
        written: Ranges of the user, LOW:HIGH or LOW:HIGH:log, by parameter.
        preset: One of `RANGES` for the ranges of the paper, or None.
        other: Further names that are allowed in `written`.
        prior: Name of the prior of the hyperparameters.

    Returns:
        The parameters; those of the preset or of `known` come before those in `written`.

    Raises:
        InputError: A name or range is invalid, or there is no parameter.
    """
    if preset is not None:
        check_name(preset, RANGES, "preset")
    for name in written:
        check_name(name, [*known, *(other or ())], "parameter")
    own = {} if preset is None else preset_ranges(preset, prior)
    spans = {name: span if preset is None or span is not None else own[name] for name, span in known.items()}
    found = [
        SearchParameter(name=name, low=span[0], high=span[1])
        for name, span in spans.items()
        if span is not None and name not in written
    ]
    found += [_read(name, text) for name, text in written.items()]
    if not found:
        remedy = "say what to try: --ranges NAME=LOW:HIGH, or --preset"
        raise InputError("parameters", got="none", expected=", ".join(known) or "at least one", remedy=remedy)
    return tuple(found)


def _read(name: str, text: str) -> SearchParameter:
    low, sign, rest = text.partition(":")
    high, _, kind = rest.partition(":")
    try:
        if not sign or kind not in ("", "log"):
            raise ValueError(text)
        return SearchParameter(name=name, low=float(low), high=float(high), log=kind == "log")
    except InputError:
        raise
    except ValueError:
        raise InputError(f"range of {name}", got=repr(text[:64]), expected="LOW:HIGH or LOW:HIGH:log") from None
