"""Values of the parameters that a page sends: checked before they are set."""

from __future__ import annotations

from typing import Any

from SPRRegistrationLib import anatomies, panel_state
from SPRRegistrationLib.controller import Controller
from SPRRegistrationLib.sliders import take_model

from SPRCore.errors import InputError
from SPRExplorer.fields import CHANGEABLE, converted


def take(controller: Controller, field: str, value: Any) -> bool:
    """Set a field of the parameters to a value from a page.

    Args:
        controller: The controller of the registration.
        field: One of `CHANGEABLE`.
        value: A number, a text or a boolean; of an enumeration the name that the worker knows.

    Returns:
        Whether the value differs from the one before.

    Raises:
        InputError: The page may not set the field, or not to this value.
    """
    if field not in CHANGEABLE:
        raise InputError("setting", got=str(field)[:40], expected="one that the page shows")
    parameters, models = controller.parameters, {model.name: model for model in controller.models}
    try:
        value = converted(type(getattr(parameters, field)), value)
        if field == "method" and value not in models:  # not a path: a page must not name files
            raise ValueError(value)
        if getattr(parameters, field) == value:
            return False
        _check_slider(controller, field, value)
        if field == "method":
            take_model(parameters, models[value])
        elif field == "anatomy":
            anatomies.choose(parameters, value)
        else:
            setattr(parameters, field, value)
    except (TypeError, ValueError) as error:
        raise InputError(field, got=repr(value)[:40], expected="a value in its range") from error
    return True


def _check_slider(controller: Controller, field: str, value: Any) -> None:
    """Refuse a value outside of the slider; addresses hold rounded ends."""
    ranges = panel_state.slider_states(controller).ranges
    if field in ranges:
        low, high = ranges[field][:2]
        if not 0.999 * low <= value <= 1.001 * high:
            raise InputError(field, got=f"{value:g}", expected=f"{low:g} to {high:g}")
