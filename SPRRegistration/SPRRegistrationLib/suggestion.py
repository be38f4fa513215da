"""The setting that the worker suggests for a pair: saved with the pair, shown as marks and in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SPRRegistrationLib import messages
from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.parameters import HYPERPARAMETERS, PriorChoice, apply_setting, setting_of
from SPRRegistrationLib.scene import inputs

DEPENDS_ON = (
    *("fixedVolume", "movingVolume", "fixedChannel", "movingChannel", "alignment", "start", "similarity"),
    *("stiffnessSegments", "stiffnessFactors"),
)
"""Fields of the parameters that a suggestion depends on; a change of one of them invalidates it."""


@dataclass(frozen=True)
class SuggestedSetting:
    """A setting by the worker's names, its warnings, and whether settings could be compared at all."""

    prior: PriorChoice
    setting: Mapping[str, float]
    compared: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SuggestionState:
    """What a face shows of a suggestion.

    Attributes:
        is_there: Whether the method has suggestions, so that their controls are shown.
        can_ask: Whether one can be requested now.
        can_take: Whether there is one that is not set yet.
        line: The suggestion in words.
        marks: Suggested values by the fields of the sliders of the prior that is chosen.
    """

    is_there: bool
    can_ask: bool
    can_take: bool
    line: str
    marks: Mapping[str, float] = field(default_factory=dict)


def keep(parameters: Any, chosen: Any) -> None:
    """Keep the suggestion of the worker for the pair of the parameters.

    Args:
        parameters: The parameters of a registration.
        chosen: The `Chosen` of the worker.
    """
    values = {"prior": chosen.prior, "setting": dict(chosen.setting), "compared": chosen.compared}
    values |= {"warnings": list(chosen.warnings), "of": _pair(parameters)}
    parameters.suggestion = json.dumps(values)


def suggestion_of(parameters: Any) -> SuggestedSetting | None:
    """Return the suggestion for the pair of the parameters; None for none."""
    if not parameters.suggestion or parameters.method != INSTANCE:
        return None
    try:
        values = json.loads(parameters.suggestion)
        found = SuggestedSetting(
            PriorChoice(values["prior"]), values["setting"], values["compared"], tuple(values["warnings"])
        )
        return found if values["of"] == _pair(parameters) else None
    except (KeyError, TypeError, ValueError):  # a scene edited by hand
        return None


def marked(parameters: Any) -> Mapping[str, float]:
    """Return the suggested setting by the worker's names; empty for none."""
    found = suggestion_of(parameters)
    return found.setting if found is not None and found.compared else {}


def marks(parameters: Any) -> dict[str, float]:
    """Return the suggested values by the fields of the sliders, if they belong to the chosen prior."""
    found = suggestion_of(parameters)
    if found is None or not found.compared or found.prior is not parameters.prior:
        return {}
    return {field: found.setting[name] for name, field in HYPERPARAMETERS[found.prior].items()}


def take(parameters: Any) -> None:
    """Set prior and sliders to the suggestion, if there is one."""
    setting = marked(parameters)
    if setting:
        apply_setting(parameters, dict(setting))


def state_of(parameters: Any, session: Any) -> SuggestionState:
    """Return what a face shows.

    Args:
        parameters: The parameters of a registration.
        session: The `RegistrationSession`, or None.
    """
    is_there = parameters.method == INSTANCE
    is_choosing = session is not None and session.is_choosing
    can_ask = is_there and not is_choosing and not messages.why_not_apply(parameters)
    found = suggestion_of(parameters)
    if is_choosing:
        return SuggestionState(is_there, can_ask, False, messages.choosing(), marks(parameters))
    if found is None:
        return SuggestionState(is_there, can_ask, False, "")
    if not found.compared:
        return SuggestionState(is_there, can_ask, False, messages.nothing_suggested())
    is_same = found.prior is parameters.prior
    in_force = is_same and _is_same(found.setting, setting_of(parameters))
    line = messages.suggested("" if is_same else found.prior.label(), found.setting, in_force)
    return SuggestionState(is_there, can_ask, not in_force, " ".join([line, *found.warnings]), marks(parameters))


def _is_same(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(abs(one[name] - other[name]) <= 1e-6 * abs(one[name]) for name in one)


def _pair(parameters: Any) -> list[Any]:
    values = inputs.chosen(parameters, DEPENDS_ON)
    return [getattr(value, "value", value) for value in values]
