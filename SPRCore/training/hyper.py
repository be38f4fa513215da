"""Hyperparameters of one step: those of the recipe, or drawn anew for every pair for networks that take a code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SPRCore.regularization import Prior
from SPRCore.regularization.hyperparameters import above_zero
from SPRCore.regularization.priors import hyperparameters, make_prior
from SPRCore.training.config import HyperConfig, LossConfig


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


def usual_setting(loss: LossConfig, hyper: HyperConfig | None) -> Setting:
    """Return the setting of the recipe: the one in validation, and in training where nothing is drawn.

    Args:
        loss: Holds the hyperparameters.
        hyper: Ranges of those that the network takes as its code, or None.

    Returns:
        The setting.
    """
    return _setting(hyperparameters(loss.make_prior()), loss, hyper)


def draw_setting(loss: LossConfig, hyper: HyperConfig | None, seed: int, number: int) -> Setting:
    """Draw a setting over the ranges, as the paper does in every iteration.

    Args:
        loss: Holds the hyperparameters that are not drawn.
        hyper: The ranges, or None.
        seed: Seed of the training.
        number: Number of the pair since the start of the training: whichever process computes it, and after whatever
            interruption, the draw is the same.

    Returns:
        The setting; `usual_setting` where nothing is drawn.
    """
    ranges, skew = ({}, 1.0) if hyper is None else (hyper.ranges, hyper.skew)
    shares = (np.random.default_rng([seed, number]).random(len(ranges)) ** skew).tolist()
    drawn = {
        name: low + share * (high - low) for (name, (low, high)), share in zip(ranges.items(), shares, strict=True)
    }
    return _setting(hyperparameters(loss.make_prior()) | drawn, loss, hyper)


def _setting(values: dict[str, float], loss: LossConfig, hyper: HyperConfig | None) -> Setting:
    ranges = {} if hyper is None else hyper.ranges
    code = tuple(values[name] / high for name, (_, high) in ranges.items())
    floored = {name: above_zero(name, value) for name, value in values.items()}
    baseline = hyper is not None and hyper.weighting == "hypermorph"
    data_weight = 1.0 - floored["lambda"] if baseline else 1.0
    return Setting(prior=make_prior(loss.prior, floored), code=code, data_weight=data_weight)
