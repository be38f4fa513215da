"""The sliders of the hyperparameters: which fields they change, how far they go, and what is recommended."""

from __future__ import annotations

from typing import Any

from .models import INSTANCE, TaskModel
from .parameters import HYPERPARAMETERS, setting_of

RECOMMENDED = {"alpha": 0.1, "lambda_max": 1.0, "sigma": 0.5, "lambda_mean": 2.0, "lambda": 1.0}
"""What does well with the instance optimization; task models say their own."""

USUAL_RANGES = {
    "alpha": (0.01, 0.6),
    "lambda_max": (0.5, 5.0),
    "sigma": (0.1, 4.0),
    "lambda_mean": (0.5, 5.0),
    "lambda": (0.1, 10.0),
}
"""Ranges of the instance optimization, as long as no worker has said its own."""

FIELDS = {name: field for fields in HYPERPARAMETERS.values() for name, field in fields.items()}
"""For each hyperparameter, by the worker's name, the field that holds it."""


def ranges_of(session: Any, model: TaskModel) -> dict[str, tuple[float, ...]]:
    """Return lowest and highest values: as the worker says, otherwise as the task model or usage has it.

    Args:
        session: The `RegistrationSession`, or None.
        model: The method that is chosen.
    """
    if session is not None and session.ranges:
        return session.ranges
    return USUAL_RANGES if model.name == INSTANCE else model.ranges


def recommended_of(model: TaskModel) -> dict[str, float]:
    """Return the recommended values: tuned ones of the task model first."""
    return RECOMMENDED | model.optimum


def shown_names(parameters: Any, ranges: dict[str, tuple[float, ...]]) -> list[str]:
    """Return the hyperparameters of the prior that may be changed, in the order of the sliders."""
    return [name for name in setting_of(parameters) if name in ranges]
