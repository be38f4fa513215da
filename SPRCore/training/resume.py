"""Whether a folder may be trained into, and whether what lies there is the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from .recipe import Recipe
from .state import list_checkpoints

RECIPE, SPLIT = "recipe.yaml", "split.json"
_FREE = {
    *("output", "device", "workers", "checkpoint", "validation", "card"),
    *("data.folder", "data.listing", "data.also.folder", "data.also.listing", "data.cache"),
    *("data.split.file", "data.split.hashes"),
}
"""What may change between two parts of a run: none of it changes the weights that come out."""


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse to train over a run that is there.

    Args:
        folder: Folder of the run.
        resume: Whether the run is to go on.

    Raises:
        InputError: The folder holds a run that is not to go on.
    """
    if not resume and (list_checkpoints(folder) or (folder / RECIPE).exists()):
        remedy = "go on with --resume, or choose another --set output=DIR"
        raise InputError(str(folder), got="a run that is there already", expected="a new folder", remedy=remedy)


def identity(recipe: Recipe, split: dict[str, Any], world: int) -> dict[str, Any]:
    """Return what must be the same for a run to go on as it would have.

    Args:
        recipe: The recipe.
        split: Who is trained with.
        world: Number of processes.

    Returns:
        Plain values by name.
    """
    plain = {key: value for key, value in _flat(recipe.to_dict()).items() if not _is_free(key)}
    return {"processes": world, **plain, SPLIT: json.loads(json.dumps(split))}


def check_same_run(kept: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with another recipe, other data or another number of processes.

    Args:
        kept: `identity` of the checkpoint.
        now: That of the run which is to go on.

    Raises:
        InputError: Something is different; the first such thing is named.
    """
    for name in [*now, *kept]:
        if kept.get(name) != now.get(name):
            shown = [json.dumps(values.get(name))[:80] for values in (now, kept)]
            if name == SPLIT:
                shown = ["other subjects or files", "those of the run, see split.json"]
            remedy = "resume with what the run began with, or begin a new one with --set output=DIR"
            raise InputError(f"resume: {name}", got=shown[0], expected=shown[1], remedy=remedy)


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in _FREE)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat
