"""Pairs of a command: of a CSV (`--pairs`), or of a set of a recipe (`--recipe`, `--set`)."""

from __future__ import annotations

from pathlib import Path

from SPRCore.cli.console import progress_display
from SPRCore.errors import InputError
from SPRCore.io.pairs import PARTS, PairList, read_pairs
from SPRCore.training.data.evaluation import EVALUATED, recipe_pairs
from SPRCore.training.recipe import read_recipe

_OPTIONS = "--pairs, --recipe"


def given_pairs(pairs: Path | None, recipe: Path | None, words: tuple[tuple[str, ...], ...]) -> PairList:
    """Read the pairs of a list, or prepare those of a set of a recipe.

    Args:
        pairs: The list, or None.
        recipe: The recipe, or None.
        words: Values of `--set`: the set, and changes KEY=VALUE to the recipe.

    Raises:
        InputError: Both or neither are given, the set is missing or unknown, or the pairs cannot be used.
        OutputError: Prepared images cannot be written.
    """
    given = [word for group in words for word in group]
    if (pairs is None) == (recipe is None):
        got = "neither" if pairs is None else "both"
        raise InputError(_OPTIONS, got=got, expected="a list of pairs, or a recipe with its set: --set test")
    if recipe is None:
        if given:
            raise InputError("--set", got=given[0], expected="it with --recipe alone")
        return read_pairs(pairs)
    sets = [word for word in given if "=" not in word]
    if len(sets) != 1 or sets[0] not in EVALUATED:
        got, expected = " ".join(sets) or "no set", f"one of {', '.join(EVALUATED)}, besides changes KEY=VALUE"
        raise InputError("--set", got=got, expected=expected)
    changed = read_recipe(recipe, [word for word in given if "=" in word])
    try:
        with progress_display() as report_stage:
            return recipe_pairs(changed, sets[0], report_stage)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command resumes the preparation of images") from None


def pair_init(init: str, recipe: Path | None) -> str:
    """Return the affine pre-alignment: "auto" is none for the images of a recipe, which has aligned them."""
    return "none" if init == "auto" and recipe is not None else init


def input_files(pairs: PairList) -> list[Path]:
    """Return the files of all pairs."""
    return [path for pair in pairs for part in PARTS if (path := getattr(pair, part)) is not None]
