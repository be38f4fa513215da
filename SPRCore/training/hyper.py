"""Hyperparameters of a training step: those of the recipe, or drawn for every pair where the network takes a code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SPRCore.regularization import Prior
from SPRCore.regularization.gradient_units import MM
from SPRCore.regularization.hyperparameters import HYPERMORPH_WEIGHTING, above_zero, strength_of
from SPRCore.regularization.priors import hyperparameters, make_prior
from SPRCore.training.config import HyperConfig, LossConfig


@dataclass(frozen=True, kw_only=True)
class LossSetting:
    """Hyperparameters of the loss for one pair.

    Attributes:
        prior: Prior on the weight.
        code: Input of the network: each conditioned hyperparameter over its maximum, or λ itself under HyperMorph's
            weighting; empty without conditioning.
        data_weight: Factor d of the similarity in the loss: 1, or 1 − λ under HyperMorph's weighting.
        units: Unit of the squared gradient.
    """

    prior: Prior
    code: tuple[float, ...] = ()
    data_weight: float = 1.0
    units: str = MM


def default_setting(loss: LossConfig, hyper: HyperConfig | None) -> LossSetting:
    """Return the setting of the recipe: used in validation, and in training without ranges."""
    return setting_of(hyperparameters(loss.make_prior()), loss, hyper)


def draw_setting(loss: LossConfig, hyper: HyperConfig | None, seed: int, number: int) -> LossSetting:
    """Draw a setting over the ranges, as the paper does in every iteration; `default_setting` without ranges.

    The draw depends on the seed of the training and on the number of the pair since its start alone.
    """
    return setting_of(draw_values(loss, hyper, np.random.default_rng([seed, number])), loss, hyper)


def draw_values(loss: LossConfig, hyper: HyperConfig | None, rng: np.random.Generator) -> dict[str, float]:
    """Draw the hyperparameters that have a range; the others are those of the recipe."""
    ranges, skew = ({}, 1.0) if hyper is None else (hyper.ranges, hyper.skew)
    shares = (rng.random(len(ranges)) ** skew).tolist()
    drawn = {
        name: low + share * (high - low) for (name, (low, high)), share in zip(ranges.items(), shares, strict=True)
    }
    return hyperparameters(loss.make_prior()) | drawn


def setting_of(values: dict[str, float], loss: LossConfig, hyper: HyperConfig | None) -> LossSetting:
    """Return the setting of given hyperparameters, one for each of the prior."""
    ranges = {} if hyper is None else hyper.ranges
    baseline = hyper is not None and hyper.weighting == HYPERMORPH_WEIGHTING
    code = tuple(values[name] / (1.0 if baseline else high) for name, (_, high) in ranges.items())
    floored = {name: above_zero(name, value) for name, value in values.items()}
    data_weight = 1.0 - floored["lambda"] if baseline else 1.0
    return LossSetting(prior=make_prior(loss.prior, floored), code=code, data_weight=data_weight, units=loss.units)


def solver_prior(values: dict[str, float], loss: LossConfig, hyper: HyperConfig | None) -> Prior:
    """Return the prior of the instance solver with the energy of the loss: HyperMorph's λ becomes λ/(1 - λ)."""
    floored = {name: above_zero(name, value) for name, value in values.items()}
    if hyper is not None and hyper.weighting == HYPERMORPH_WEIGHTING:
        floored["lambda"] = strength_of(floored["lambda"])
    return make_prior(loss.prior, floored)
