"""The sliders of the hyperparameters: their fields, ranges and recommended values.

Sliders are identified by their fields: two priors have a `lambda_max`, each with its own range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from SPRCore.regularization.hyperparameters import HYPERPARAMETERS as TABLE
from SPRRegistrationLib import anatomies, messages, suggestion
from SPRRegistrationLib.models import INSTANCE, TaskModel
from SPRRegistrationLib.parameters import HYPERPARAMETERS, AnatomyChoice, PriorChoice

Value = TypeVar("Value")

_ITEMS = {item.node_field: item for items in TABLE.values() for item in items.values()}

RECOMMENDED = {field: item.default for field, item in _ITEMS.items()}
"""Default hyperparameters of the instance optimization, by field; task models have their own."""

USUAL_RANGES = {field: item.usual_range for field, item in _ITEMS.items()}
"""Ranges of the instance optimization by field, until the worker has sent its own."""

FIELDS = tuple(_ITEMS)
"""The fields that have a slider, in the order of the sliders."""


def by_field(prior: PriorChoice | str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return values of hyperparameters by the fields that hold them.

    Args:
        prior: The prior that they belong to, or its name.
        values: Values by the worker's names; those of other priors are left out.
    """
    return {field: values[name] for name, field in HYPERPARAMETERS[PriorChoice(prior)].items() if name in values}


def ranges_of(session: Any, model: TaskModel) -> dict[str, tuple[float, ...]]:
    """Return lowest and highest values by field: of the worker, otherwise of the task model or usual ones.

    Args:
        session: The `RegistrationSession`, or None.
        model: The method that is chosen.
    """
    if session is not None and session.ranges:
        return by_field(session.prior, session.ranges)
    return dict(USUAL_RANGES) if model.name == INSTANCE else _of_model(model, model.ranges)


def trained_of(session: Any, model: TaskModel) -> dict[str, float]:
    """Return the largest values of the training of a task model by field; empty for the instance optimization.

    Args:
        session: The `RegistrationSession`, or None.
        model: The method that is chosen.
    """
    if session is not None and session.ranges:
        return by_field(session.prior, session.trained)
    return {} if model.name == INSTANCE else _of_model(model, model.trained)


def recommended_of(model: TaskModel, anatomy: AnatomyChoice = AnatomyChoice.NONE) -> dict[str, float]:
    """Return the recommended values by field: tuned ones of the task model first, then those of an anatomy."""
    own = {} if model.name != INSTANCE else anatomies.fields_of(anatomy)
    return RECOMMENDED | {field: own[field] for field in own if field in FIELDS} | _of_model(model, model.optimum)


def take_model(parameters: Any, model: TaskModel) -> None:
    """Choose a task model; prior and sliders become what it recommends."""
    was_modifying = parameters.StartModify()
    try:
        parameters.method = model.name
        if model.name != INSTANCE and model.card.get("prior") in [prior.value for prior in PriorChoice]:
            parameters.prior = PriorChoice(model.card["prior"])
            for field, value in by_field(parameters.prior, model.optimum).items():
                setattr(parameters, field, value)
    finally:
        parameters.EndModify(was_modifying)


def shown_fields(parameters: Any, ranges: Mapping[str, tuple[float, ...]]) -> list[str]:
    """Return the fields of the prior that have a range, in the order of the sliders."""
    return [field for field in HYPERPARAMETERS[parameters.prior].values() if field in ranges]


@dataclass(frozen=True)
class SliderStates:
    """The sliders of the chosen prior: fields in order; by field their ranges, recommended and suggested values.

    `trained` holds the largest values of the training of a task model; above them a slider is beyond training.
    `labels` holds the labels that differ from the usual ones.
    """

    fields: tuple[str, ...]
    ranges: Mapping[str, tuple[float, ...]]
    recommended: Mapping[str, float]
    suggested: Mapping[str, float]
    trained: Mapping[str, float]
    labels: Mapping[str, str]


def sliders_of(parameters: Any, session: Any, model: TaskModel) -> SliderStates:
    """Return the sliders of the chosen prior.

    The instance optimization accepts any setting, so its ranges include the marks and the current value.

    Args:
        parameters: The parameters of the registration.
        session: The `RegistrationSession`, or None.
        model: The method that is chosen.
    """
    ranges = ranges_of(session, model)
    fields = tuple(shown_fields(parameters, ranges))
    recommended, suggested = recommended_of(model, parameters.anatomy), suggestion.marks(parameters)
    if model.name == INSTANCE:
        for field in fields:
            marked = (recommended[field], suggested.get(field, recommended[field]))
            ranges[field] = min(*ranges[field], *marked), max(*ranges[field], *marked, getattr(parameters, field))
    own = {field: ranges[field] for field in fields}
    trained = {field: end for field, end in trained_of(session, model).items() if field in own and end < own[field][1]}
    labels = {"strength": messages.hypermorph_stiffness()} if model.is_hypermorph else {}
    return SliderStates(fields, own, recommended, suggested, trained, labels)


def _of_model(model: TaskModel, values: Mapping[str, Value]) -> dict[str, Value]:
    """Values of a task model by field; none for a model whose card names no prior that there is."""
    prior = model.card.get("prior", PriorChoice.BETA.value)
    return by_field(prior, values) if prior in [known.value for known in PriorChoice] else {}
