"""The prior of the options of a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from SPRCore.errors import InputError
from SPRCore.io import ModelCard
from SPRCore.registration import model_prior
from SPRCore.regularization import Prior
from SPRCore.regularization.hyperparameters import BY_KEY, HYPERPARAMETERS, prior_name
from SPRCore.regularization.priors import make_prior


class HasPrior(Protocol):
    """A command with options for a prior and its hyperparameters."""

    prior: str | None
    alpha: float | None
    lambda_max: float | None
    sigma: float | None
    lambda_mean: float | None
    tv: float | None
    strength: float | None


def prior_from_options(options: HasPrior, card: ModelCard | None = None, *more: str) -> Prior | str | None:
    """Build the prior of the options of a command.

    Args:
        options: The options; without `prior` the hyperparameters determine it.
        card: Card of the model, with defaults for hyperparameters not given; None without model.
        more: Further values of `prior`, returned unchanged; they take no hyperparameters.

    Returns:
        The prior; without any option that of the model, or None without model.

    Raises:
        InputError: Values of different priors were given, or a value is out of range or not what the model takes.
    """
    if options.prior not in (None, *HYPERPARAMETERS, *more):
        raise InputError("--prior", got=repr(options.prior), expected=f"one of: {', '.join([*HYPERPARAMETERS, *more])}")
    given = {key: value for key, item in BY_KEY.items() if (value := getattr(options, item.attribute)) is not None}
    if options.prior in more:
        if given:
            got = f"together with --prior {options.prior}"
            raise InputError(_spelled(list(given)), got=got, expected="no values of a prior")
        return options.prior
    usual = () if card is None else (card.prior,)
    name = options.prior or (prior_name(given, usual) if given else None)
    if name is None:
        return None if card is None else model_prior(card)
    foreign = [key for key in given if key not in HYPERPARAMETERS[name]]
    if foreign:
        raise InputError(
            _spelled(foreign), got=f"together with the {name} prior", expected=_spelled(HYPERPARAMETERS[name])
        )
    defaults = card.defaults if card is not None and card.prior == name else {}
    prior = make_prior(name, {**defaults, **given})
    return prior if card is None else model_prior(card, prior)


def _spelled(names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
