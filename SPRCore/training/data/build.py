"""From a recipe to the three sets of pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..recipe import Recipe
from .dataset import PairDataset
from .generated import GeneratedSource, generated_labels, generated_pairs

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The pairs of a recipe.

    Attributes:
        train: Pairs to train on, augmented.
        validation: Pairs to choose the best model by.
        test: Pairs for the final numbers; may be empty.
        labels: Labels that count, without 0; empty where there are none.
        report: What there is, in numbers, for logs and reports.
        split: What is written to `split.json`.
    """

    train: PairDataset
    validation: PairDataset
    test: PairDataset
    labels: tuple[int, ...]
    report: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)


def build_datasets(recipe: Recipe) -> Datasets:
    """Build the sets of pairs of a recipe.

    Everything is checked before this returns: what is wrong with the files is logged, one line each.

    Args:
        recipe: The recipe.

    Returns:
        The sets.

    Raises:
        InputError: Files, labels or the split cannot be used.
    """
    config = recipe.data.generated
    pairs = {part: generated_pairs(config, part) for part in PARTS}
    source = GeneratedSource(config, recipe.preprocessing.card_preprocessing(), recipe.data.split.seed)
    sets = {
        part: PairDataset(
            pairs[part], source, augmentation=recipe.augmentation if part == "train" else None, seed=recipe.seed
        )
        for part in PARTS
    }
    report = {"dataset": "generated", "pairs": {part: len(pairs[part]) for part in PARTS}}
    split = {"dataset": "generated", "seed": recipe.data.split.seed} | report["pairs"]
    return Datasets(**sets, labels=generated_labels(config), report=report, split=split)
