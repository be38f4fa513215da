"""Pairs of a command: of a CSV (`--pairs`), or of a set of a recipe (`--recipe`, `--set`)."""

from __future__ import annotations

from pathlib import Path

from SPRCore.cli.console import progress_display
from SPRCore.errors import InputError
from SPRCore.io.pairs import PARTS, PairList, read_pairs
from SPRCore.training.data.evaluation import EVALUATED, recipe_pairs
from SPRCore.training.recipe import read_recipe

_Words = tuple[tuple[str, ...], ...]


def given_pairs(pairs: Path | None, recipe: Path | None, words: _Words) -> PairList:
    """Read the pairs of a list, or prepare those of a set of a recipe.

    Args:
        pairs: The list, or None.
        recipe: The recipe, or None.
        words: Values of `--set`: the set, and changes KEY=VALUE to the recipe.

    Raises:
        InputError: The options do not fit each other (`check_source`), or the pairs cannot be used.
        OutputError: Prepared images cannot be written.
    """
    check_source(pairs, recipe, words)
    if recipe is None:
        return read_pairs(pairs)
    (part,), changes = _divided(words)
    changed = read_recipe(recipe, changes)
    try:
        with progress_display() as report_stage:
            return recipe_pairs(changed, part, report_stage)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command resumes the preparation of images") from None


def check_source(pairs: Path | None, recipe: Path | None, words: _Words) -> None:
    """Refuse both or neither of a list and a recipe, `--set` with a list, and a recipe without one of its sets."""
    if (pairs is None) == (recipe is None):
        got = "neither" if pairs is None else "both"
        raise InputError("--pairs, --recipe", got=got, expected="a list of pairs, or a recipe with its set: --set test")
    sets, changes = _divided(words)
    if recipe is None and (sets or changes):
        raise InputError("--set", got=[*sets, *changes][0], expected="it with --recipe alone")
    if recipe is not None and (len(sets) != 1 or sets[0] not in EVALUATED):
        got, expected = " ".join(sets) or "no set", f"one of {', '.join(EVALUATED)}, besides changes KEY=VALUE"
        raise InputError("--set", got=got, expected=expected)


def pair_init(init: str, recipe: Path | None) -> str:
    """Return the affine pre-alignment: "auto" is none for the images of a recipe, which has aligned them."""
    return "none" if init == "auto" and recipe is not None else init


def input_files(pairs: PairList) -> list[Path]:
    """Return the files of all pairs."""
    return [path for pair in pairs for part in PARTS if (path := getattr(pair, part)) is not None]


def _divided(words: _Words) -> tuple[list[str], list[str]]:
    """Return the sets among the values of `--set`, and the changes."""
    given = [word for group in words for word in group]
    return [word for word in given if "=" not in word], [word for word in given if "=" in word]
