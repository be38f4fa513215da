"""Anatomy presets, the same as in `SPRCore.regularization.presets`, which needs torch; a test compares them."""

from __future__ import annotations

from typing import Any

from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.parameters import HYPERPARAMETERS, AnatomyChoice, PriorChoice, StartChoice

PRIOR = PriorChoice.BETA
"""The prior of all presets, and of the general recommendation."""

SETTINGS = {
    AnatomyChoice.NONE: {"alpha": 0.1, "lambda_max": 1.0},
    AnatomyChoice.BRAIN: {"alpha": 0.03, "lambda_max": 1.0},
    AnatomyChoice.HEART: {"alpha": 0.1, "lambda_max": 1.0},
    AnatomyChoice.LUNG: {"alpha": 0.05, "lambda_max": 5.0},
    AnatomyChoice.LIVER: {"alpha": 0.02, "lambda_max": 20.0},
    AnatomyChoice.PELVIS: {"alpha": 0.1, "lambda_max": 1.0},
}

LARGE_MOTION = (AnatomyChoice.LIVER, AnatomyChoice.LUNG)
"""Parts of the body whose motion is too large for a start from rest."""


def fields_of(anatomy: AnatomyChoice) -> dict[str, Any]:
    """Return a preset: values by the fields of the parameters."""
    values = {field: SETTINGS[anatomy][name] for name, field in HYPERPARAMETERS[PRIOR].items()}
    return {"start": StartChoice.SEARCH if anatomy in LARGE_MOTION else StartChoice.REST, "prior": PRIOR, **values}


def choose(parameters: Any, anatomy: AnatomyChoice) -> None:
    """Choose an anatomy, with its prior, values and start, as one change of the parameter node."""
    was_modifying = parameters.StartModify()
    try:
        parameters.anatomy = anatomy
        for field, value in fields_of(anatomy).items():
            setattr(parameters, field, value)
    finally:
        parameters.EndModify(was_modifying)


def start_of(parameters: Any) -> StartChoice:
    """Return the start of the optimization; task models have no choice."""
    return parameters.start if parameters.method == INSTANCE else StartChoice.REST
