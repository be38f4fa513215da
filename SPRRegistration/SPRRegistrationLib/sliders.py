"""The sliders of the hyperparameters: which fields they change, how far they go, and what is recommended.

The worker's names are not enough to tell the sliders apart: two priors have a `lambda_max`, each of its own range. So
they go by their fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from SPRCore.regularization.hyperparameters import HYPERPARAMETERS as TABLE
from SPRRegistrationLib import anatomies, suggestion
from SPRRegistrationLib.models import INSTANCE, TaskModel
from SPRRegistrationLib.parameters import HYPERPARAMETERS, Anatomy, Prior

Value = TypeVar("Value")

_ITEMS = {item.node_field: item for items in TABLE.values() for item in items.values()}

RECOMMENDED = {field: item.default for field, item in _ITEMS.items()}
"""Default hyperparameters of the instance optimization, by field; task models have their own."""

USUAL_RANGES = {field: item.usual_range for field, item in _ITEMS.items()}
"""Ranges of the instance optimization by field, until the worker has sent its own."""

FIELDS = tuple(_ITEMS)
"""The fields that have a slider, in the order of the sliders."""


def by_field(prior: Prior | str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return values of hyperparameters by the fields that hold them.

    Args:
        prior: The prior that they belong to, or its name.
        values: Values by the names that the worker knows; those that the prior does not have are left out.
    """
    return {field: values[name] for name, field in HYPERPARAMETERS[Prior(prior)].items() if name in values}


def ranges_of(
    session: Any, model: TaskModel, usual: Mapping[str, tuple[float, ...]] = USUAL_RANGES
) -> dict[str, tuple[float, ...]]:
    """Return lowest and highest values by field: as the worker says, otherwise as the task model or usage has it.

    Args:
        session: The `RegistrationSession`, or None.
        model: The method that is chosen.
        usual: Ranges of the instance optimization.
    """
    if session is not None and session.ranges:
        return by_field(session.prior, session.ranges)
    return dict(usual) if model.name == INSTANCE else _of_model(model, model.ranges)


def recommended_of(model: TaskModel, anatomy: Anatomy = Anatomy.NONE) -> dict[str, float]:
    """Return the recommended values by field: tuned ones of the task model first, then those of an anatomy."""
    own = {} if model.name != INSTANCE else anatomies.fields_of(anatomy)
    return RECOMMENDED | {field: own[field] for field in own if field in FIELDS} | _of_model(model, model.optimum)


def take_model(parameters: Any, model: TaskModel) -> None:
    """Choose a task model; prior and sliders become what it recommends."""
    was_modifying = parameters.StartModify()
    try:
        parameters.method = model.name
        if model.name != INSTANCE and model.card.get("prior") in [prior.value for prior in Prior]:
            parameters.prior = Prior(model.card["prior"])
            for field, value in by_field(parameters.prior, model.optimum).items():
                setattr(parameters, field, value)
    finally:
        parameters.EndModify(was_modifying)


def shown_fields(parameters: Any, ranges: Mapping[str, tuple[float, ...]]) -> list[str]:
    """Return the fields of the prior that may be changed, in the order of the sliders."""
    return [field for field in HYPERPARAMETERS[parameters.prior].values() if field in ranges]


@dataclass(frozen=True)
class Sliders:
    """The sliders of the chosen prior: fields in order; by field their ranges, recommended and suggested values."""

    fields: tuple[str, ...]
    ranges: Mapping[str, tuple[float, ...]]
    recommended: Mapping[str, float]
    suggested: Mapping[str, float]


def sliders_of(
    parameters: Any, session: Any, model: TaskModel, usual: Mapping[str, tuple[float, ...]] = USUAL_RANGES
) -> Sliders:
    """Return how the sliders stand.

    The optimization takes any setting, so that its ranges include all that is marked, and end at the value in force or
    above it.

    Args:
        parameters: The parameters of the registration.
        session: The `RegistrationSession`, or None.
        model: The method that is chosen.
        usual: Ranges of the instance optimization.
    """
    ranges = ranges_of(session, model, usual)
    fields = tuple(shown_fields(parameters, ranges))
    recommended, suggested = recommended_of(model, parameters.anatomy), suggestion.marks(parameters)
    if model.name == INSTANCE:
        for field in fields:
            marked = (recommended[field], suggested.get(field, recommended[field]))
            ranges[field] = min(*ranges[field], *marked), max(*ranges[field], *marked, getattr(parameters, field))
    return Sliders(fields, {field: ranges[field] for field in fields}, recommended, suggested)


def _of_model(model: TaskModel, values: Mapping[str, Value]) -> dict[str, Value]:
    """Values of a task model by field; none for a model whose card names no prior that there is."""
    prior = model.card.get("prior", Prior.BETA.value)
    return by_field(prior, values) if prior in [known.value for known in Prior] else {}
