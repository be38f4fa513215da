"""Hyperparameters that change from step to step, for networks that take them as a code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..regularization import Prior
from ..regularization.naming import HYPERPARAMETERS, make_prior

_LEAST = 1e-6  # strengths of a prior are above 0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Hyperparameters of one step.

    Attributes:
        prior: Prior on the weight.
        code: What the network is given: each conditioned hyperparameter over its maximum; empty for none.
        data_weight: Factor of the similarity in the loss.
    """

    prior: Prior
    code: tuple[float, ...] = ()
    data_weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The hyperparameters of a training: fixed, or drawn anew for every pair over ranges.

    Attributes:
        prior: Name of the prior.
        values: Hyperparameters by name: all of a training without ranges, and those used in validation with them.
        ranges: Lowest and highest value of each that is drawn, in the order of the network's code; none for a network
            without a code.
        hypermorph: Weight the similarity by 1 − λ and the regularization by λ, as HyperMorph does: for the uniform
            prior, whose λ is then in [0, 1].

    Raises:
        InputError: The prior has no such hyperparameter, or HyperMorph's weighting does not fit.
    """

    prior: str
    values: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    hypermorph: bool = False

    def __post_init__(self) -> None:
        """Check that all fits together."""
        make_prior(self.prior, self.values)
        foreign = [name for name in self.ranges if name not in HYPERPARAMETERS[self.prior]]
        if foreign:
            expected = ", ".join(HYPERPARAMETERS[self.prior])
            raise InputError("hyper ranges", got=f"{foreign[0]} with the {self.prior} prior", expected=expected)
        highest = [high for _, high in self.ranges.values()] or [self.values.get("lambda", 1.0)]
        if self.hypermorph and (self.prior != "uniform" or highest[0] > 1.0):
            got = f"the {self.prior} prior up to {highest[0]:g}"
            raise InputError("hypermorph weighting", got=got, expected="the uniform prior with lambda in [0, 1]")

    def usual(self) -> Setting:
        """Return the setting used in validation, and in training where nothing is drawn."""
        return self._setting(dict(self.values))

    def draw(self, seed: int, index: int) -> Setting:
        """Draw a setting uniformly over the ranges, as the paper does in every iteration.

        Args:
            seed: Seed of the training.
            index: Number of the pair since the start of the training: the same whatever process computes it, and after
                whatever interruption.

        Returns:
            The setting; `usual()` where nothing is drawn.
        """
        shares = np.random.default_rng([seed, index]).random(len(self.ranges))
        drawn = {
            name: low + share * (high - low)
            for (name, (low, high)), share in zip(self.ranges.items(), shares.tolist(), strict=True)
        }
        return self._setting({**self.values, **drawn})

    def _setting(self, values: dict[str, float]) -> Setting:
        code = tuple(values[name] / high for name, (_, high) in self.ranges.items())
        floored = {name: value if name in ("alpha", "sigma") else max(value, _LEAST) for name, value in values.items()}
        data_weight = 1.0 - floored["lambda"] if self.hypermorph else 1.0
        return Setting(prior=make_prior(self.prior, floored), code=code, data_weight=data_weight)
