"""Card and bundle of a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from SPRCore.io.bundles import SUFFIX, write_bundle
from SPRCore.io.cards import Metric, ModelCard
from SPRCore.networks import RegistrationNetwork
from SPRCore.networks.loading import bundle_of
from SPRCore.regularization.hyperparameters import HYPERMORPH_WEIGHTING, PRIOR_WEIGHTING, strength_of
from SPRCore.regularization.priors import hyperparameters
from SPRCore.training.recipe import Recipe

_MEASURES = {
    "dice": "Dice, mean of the labels",
    "tre_mm": "landmark error in mm, mean",
    "lncc": "local correlation (LNCC)",
    "folding_percent": "folded voxels in %",
}
LAST = "last"
"""Folder of the latest model in that of the run; the best model is in the folder of the run itself."""


def card_of(recipe: Recipe, step: int = 0, summary: dict[str, float] | None = None) -> ModelCard:
    """Return the card of the model of a recipe after some steps, with the metrics of the validation by name, if any.

    A λ of HyperMorph's weighting becomes the strength λ/(1 - λ) of the solver.

    Raises:
        InputError: The hyperparameters of the recipe are outside the ranges of its network.
    """
    data = recipe.data
    before = "" if recipe.start is None else f" from {recipe.start.name.removesuffix(SUFFIX)}"
    how = f"validation of {recipe.name} after {step} steps{before}, mean of {(summary or {}).get('pairs', 0):.0f} pairs"
    measured = [(words, (summary or {}).get(name)) for name, words in _MEASURES.items()]
    return ModelCard(
        name=recipe.name,
        architecture=recipe.model.to_dict(),
        prior=recipe.loss.prior,
        conditioning=() if recipe.hyper is None else tuple(recipe.hyper.ranges),
        **_regularization(recipe),
        similarity=recipe.loss.similarity,
        grid=recipe.preprocessing.card_grid(),
        preprocessing=recipe.preprocessing.card_preprocessing(),
        second_channel=recipe.preprocessing.card_second_channel(),
        task=data.task.replace("-", " ") + (", semi-supervised" if recipe.loss.dice_weight else ""),
        metrics=tuple(Metric(name=words, value=value, how=how) for words, value in measured if value is not None),
        **_described(recipe),
    )


def _regularization(recipe: Recipe) -> dict[str, Any]:
    """Ranges, defaults, weighting and units."""
    ranges, weighting = ({}, PRIOR_WEIGHTING) if recipe.hyper is None else (recipe.hyper.ranges, recipe.hyper.weighting)
    defaults = hyperparameters(recipe.loss.make_prior())
    if weighting == HYPERMORPH_WEIGHTING:
        ranges = {name: tuple(strength_of(end) for end in ends) for name, ends in ranges.items()}
        defaults = {name: strength_of(value) for name, value in defaults.items()}
    return {"ranges": ranges, "defaults": defaults, "weighting": weighting, "units": recipe.loss.units}


def _described(recipe: Recipe) -> dict[str, Any]:
    names = ("version", "anatomy", "modality", "training_data", "training_data_licence", "authors", "licence")
    return {name: getattr(recipe.card, name) for name in names}


def write_model(
    network: RegistrationNetwork, recipe: Recipe, folder: Path, step: int, summary: dict[str, float] | None
) -> Path:
    """Write a network as a bundle for `spr register --method` into a folder, atomically, and return its path.

    Raises:
        InputError: A weight is not finite.
        OutputError: The file could not be written.
    """
    path = folder / f"{recipe.name}{SUFFIX}"
    write_bundle(bundle_of(network, card_of(recipe, step, summary)), path)
    return path
