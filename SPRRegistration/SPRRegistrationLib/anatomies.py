"""Settings for a part of the body that the user knows, as `SPRCore.regularization.presets` has them.

Written down a second time, since those need torch, which is not there before it was installed; a test compares them.
"""

from __future__ import annotations

from typing import Any

from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.parameters import HYPERPARAMETERS, AnatomyChoice, PriorChoice, StartChoice

PRIOR = PriorChoice.BETA
"""The prior of all of them, and of what is recommended for no part of the body."""

SETTINGS = {
    AnatomyChoice.NONE: {"alpha": 0.1, "lambda_max": 1.0},
    AnatomyChoice.BRAIN: {"alpha": 0.03, "lambda_max": 1.0},
    AnatomyChoice.HEART: {"alpha": 0.1, "lambda_max": 1.0},
    AnatomyChoice.LUNG: {"alpha": 0.05, "lambda_max": 5.0},
    AnatomyChoice.LIVER: {"alpha": 0.02, "lambda_max": 20.0},
    AnatomyChoice.PELVIS: {"alpha": 0.1, "lambda_max": 1.0},
}

LARGE_MOTION = (AnatomyChoice.LIVER, AnatomyChoice.LUNG)
"""Parts of the body whose motion is larger than what is found from rest."""


def fields_of(anatomy: AnatomyChoice) -> dict[str, Any]:
    """Return what the choice of an anatomy sets: values by the fields of the parameters."""
    values = {field: SETTINGS[anatomy][name] for name, field in HYPERPARAMETERS[PRIOR].items()}
    return {"start": StartChoice.SEARCH if anatomy in LARGE_MOTION else StartChoice.REST, "prior": PRIOR, **values}


def choose(parameters: Any, anatomy: AnatomyChoice) -> None:
    """Choose an anatomy and take prior, values and start from it, as one change of the parameter node."""
    was_modifying = parameters.StartModify()
    try:
        parameters.anatomy = anatomy
        for field, value in fields_of(anatomy).items():
            setattr(parameters, field, value)
    finally:
        parameters.EndModify(was_modifying)


def start_of(parameters: Any) -> StartChoice:
    """Return what the optimization starts from: the choice is that of the method without a model."""
    return parameters.start if parameters.method == INSTANCE else StartChoice.REST
