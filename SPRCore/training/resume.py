"""Checks of the folder of a run before training starts or resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from SPRCore.errors import InputError
from SPRCore.io.places import SUFFIX
from SPRCore.training.journal import METRICS, PICTURES
from SPRCore.training.model_card import LAST
from SPRCore.training.recipe import Recipe, read_recipe
from SPRCore.training.state import list_checkpoints

RECIPE, SPLIT = "recipe.yaml", "split.json"
_FREE = {
    *("output", "device", "workers", "checkpoint", "validation", "card"),
    *("data.folder", "data.listing", "data.also.folder", "data.also.listing", "data.cache"),
    *("data.split.file", "data.split.hashes"),
}
"""Keys that may change on resume: they do not affect the weights."""


def check_folder(recipe: Recipe, resume: bool) -> None:
    """Refuse to overwrite a run that is not resumed, or files that no run has written (`InputError`)."""
    folder, remedy = recipe.folder, "choose another --set output=DIR"
    is_run = (folder / RECIPE).exists() and _is_written(folder / RECIPE)
    if not resume and (list_checkpoints(folder) or is_run):
        got, ways = "an existing run", f"continue it with --resume, or {remedy}"
        raise InputError(str(folder), got=got, expected="a new folder", remedy=ways)
    if is_run or list_checkpoints(folder):
        return
    model = f"{recipe.name}{SUFFIX}"
    for name in (RECIPE, SPLIT, METRICS, model, f"{LAST}/{model}", f"{PICTURES}/curves.png"):
        if (folder / name).exists():
            got = "a file that no training has written"
            raise InputError(str(folder / name), got=got, expected="a new folder", remedy=remedy)


def _is_written(path: Path) -> bool:
    """Whether a run has written the recipe, with every default, and not a user."""
    try:
        return read_recipe(path, []).to_yaml() == path.read_text(encoding="utf-8")
    except InputError:
        return False


def identity(recipe: Recipe, split: dict[str, Any], world: int) -> dict[str, Any]:
    """Return what must be unchanged to resume a run: recipe, content of `split.json`, number of processes."""
    plain = {key: value for key, value in _flat(recipe.to_dict()).items() if not _is_free(key)}
    return {"processes": world, **plain, SPLIT: json.loads(json.dumps(split))}


def check_same_run(kept: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume if the `identity` of the checkpoint and of the resumed run differ.

    Raises:
        InputError: A value differs; the first one is named.
    """
    for name in [*now, *kept]:
        if kept.get(name) != now.get(name):
            shown = [json.dumps(values.get(name))[:80] for values in (now, kept)]
            if name == SPLIT:
                shown = ["other subjects or files", "those of the run, see split.json"]
            remedy = "resume with the original value, or start a new run with --set output=DIR"
            raise InputError(f"resume: {name}", got=shown[0], expected=shown[1], remedy=remedy)


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in _FREE)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat
