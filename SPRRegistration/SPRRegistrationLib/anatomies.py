"""Settings for a part of the body."""

from __future__ import annotations

from typing import Any

from SPRCore.regularization.hyperparameters import ANATOMY_SETTINGS, LARGE_MOTION
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS as TABLE
from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.parameters import HYPERPARAMETERS, AnatomyChoice, PriorChoice, StartChoice

PRIOR = PriorChoice.BETA
"""The prior of all anatomies, and of the recommended setting without one."""


def fields_of(anatomy: AnatomyChoice) -> dict[str, Any]:
    """Return what the choice of an anatomy sets: values by the fields of the parameters."""
    defaults = {key: item.default for key, item in TABLE[PRIOR.value].items()}
    setting = ANATOMY_SETTINGS.get(anatomy.value, defaults)
    values = {field: setting[name] for name, field in HYPERPARAMETERS[PRIOR].items()}
    return {
        "start": StartChoice.SEARCH if anatomy.value in LARGE_MOTION else StartChoice.REST,
        "prior": PRIOR,
        **values,
    }


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
