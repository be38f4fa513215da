"""Names of the priors and of their hyperparameters, as reports, model cards and the command line write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from SPRCore.errors import InputError
from SPRCore.regularization.priors import BetaPrior, GaussianPrior, Prior, TotalVariationPrior, UniformPrior

_FIELDS = {
    BetaPrior: {"alpha": "alpha", "lambda_max": "lambda_max"},
    GaussianPrior: {"sigma": "sigma", "lambda_mean": "lambda_mean"},
    TotalVariationPrior: {"tv": "strength", "lambda_max": "lambda_max"},
    UniformPrior: {"lambda": "strength"},  # `lambda` is a word of the language
}

HYPERPARAMETERS = {kind.name: tuple(fields) for kind, fields in _FIELDS.items()}
"""Names of the hyperparameters of each prior, by the name of the prior."""


def hyperparameters(prior: Prior) -> dict[str, float]:
    """Return the hyperparameters of a prior by their names."""
    return {name: getattr(prior, field) for name, field in _FIELDS[type(prior)].items()}


def with_hyperparameters(prior: Prior, values: Mapping[str, float]) -> Prior:
    """Return a prior with some of its hyperparameters changed, all else as it is.

    Args:
        prior: The prior.
        values: Hyperparameters by name.

    Returns:
        A prior of the same kind.

    Raises:
        InputError: It has no such hyperparameter, or a value is out of range.
    """
    fields = _FIELDS[type(prior)]
    foreign = sorted(set(values) - set(fields))
    if foreign:
        raise InputError(", ".join(foreign), got=f"together with the {prior.name} prior", expected=", ".join(fields))
    return dataclasses.replace(prior, **{fields[key]: value for key, value in values.items()})


def make_prior(name: str, values: Mapping[str, float]) -> Prior:
    """Build a prior from its name and its hyperparameters.

    Args:
        name: "beta", "gaussian", "tv" or "uniform".
        values: Hyperparameters by name; those left out keep the defaults of the class.

    Returns:
        The prior.

    Raises:
        InputError: There is no such prior, it has no such hyperparameter, or a value is out of range.
    """
    kinds = {kind.name: kind for kind in _FIELDS}
    if name not in kinds:
        raise InputError("prior", got=repr(name), expected=f"one of: {', '.join(kinds)}")
    return with_hyperparameters(kinds[name](), values)


def prior_with(names: Iterable[str], first: Iterable[str] = ()) -> str:
    """Return the name of the prior that hyperparameters belong to.

    Args:
        names: Hyperparameters by name, at least one that there is.
        first: Priors to think of before the others, for names that belong to several.

    Returns:
        The first prior that has all of them; if none has, the first that has one.
    """
    wanted, order = set(names), dict.fromkeys([*first, *HYPERPARAMETERS])
    return next((name for name in order if wanted <= set(HYPERPARAMETERS[name])), None) or next(
        name for name in order if wanted & set(HYPERPARAMETERS[name])
    )


def as_prior(prior: Prior | str | None, defaults: Mapping[str, float] | None = None) -> Prior | None:
    """Return the prior that was given by itself or by its name.

    Args:
        prior: "beta", "gaussian", "tv" or "uniform", a prior, or None.
        defaults: Hyperparameters by name, for a prior that is given by its name.

    Returns:
        The prior, or None.

    Raises:
        InputError: It is neither.
    """
    if isinstance(prior, str):
        return make_prior(prior, defaults or {})
    if prior is None or type(prior) in _FIELDS:
        return prior
    expected = f"{', '.join(map(repr, HYPERPARAMETERS))} or a prior such as BetaPrior(alpha=0.01)"
    raise InputError("prior", got=f"a {type(prior).__name__}", expected=expected)
