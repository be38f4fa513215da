"""Values of the parameters that a page sends: checked before they are taken."""

from __future__ import annotations

from typing import Any

from SPRRegistrationLib import anatomies
from SPRRegistrationLib.sliders import sliders_of, take_model

from SPRCore.errors import InputError
from SPRExplorer.fields import CHANGEABLE, converted


def take(panel: Any, field: str, value: Any) -> bool:
    """Set a field of the parameters to a value from a page.

    Args:
        panel: The panel.
        field: One of `CHANGEABLE`.
        value: A number, a text or a boolean; of an enumeration the name that the worker knows.

    Returns:
        Whether that is another value than before.

    Raises:
        InputError: The field or the value is none that a page may set.
    """
    if field not in CHANGEABLE:
        raise InputError("setting", got=str(field)[:40], expected="one that the page shows")
    kind = type(getattr(panel.parameters, field))
    try:
        value = converted(kind, value)
        if field == "method" and value not in [model.name for model in panel.models]:
            raise ValueError(value)  # not a path: a page must not name files
        if getattr(panel.parameters, field) == value:
            return False
        _check_slider(panel, field, value)
        if field == "method":
            take_model(panel.parameters, next(model for model in panel.models if model.name == value))
        elif field == "anatomy":
            anatomies.choose(panel.parameters, value)
        else:
            setattr(panel.parameters, field, value)
    except (TypeError, ValueError) as error:
        raise InputError(field, got=repr(value)[:40], expected="a value in its range") from error
    return True


def _check_slider(panel: Any, field: str, value: Any) -> None:
    """Refuse a value that no slider can take; the ends are rounded in addresses."""
    ranges = sliders_of(panel.parameters, panel.session, panel.model).ranges
    if field in ranges:
        low, high = ranges[field][:2]
        if not 0.999 * low <= value <= 1.001 * high:
            raise InputError(field, got=f"{value:g}", expected=f"{low:g} to {high:g}")
