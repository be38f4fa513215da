"""Presets saved by the user: setting, prior, start, similarity and method, under a name; `qt.presets` keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from SPRRegistrationLib.parameters import (
    HYPERPARAMETERS,
    INSTANCE,
    AnatomyChoice,
    PriorChoice,
    SimilarityChoice,
    StartChoice,
    apply_setting,
    setting_of,
)

LONGEST_NAME = 80

VERSION = 2
"""Of the format; entries of version 1, without a version, have no similarity: all of that time were of "lncc"."""


@dataclass(frozen=True)
class Preset:
    """A preset.

    Attributes:
        name: Its name.
        method: "instance" or the name of a task model.
        prior: The prior, by the worker's name.
        setting: The hyperparameters, by the worker's names.
        start: Start of the optimization, by the worker's name.
        similarity: Similarity of the optimization, by the worker's name.
    """

    name: str
    method: str
    prior: str
    setting: Mapping[str, float]
    start: str
    similarity: str


def clean_name(text: str) -> str:
    """Return a text as a name: on one line, of at most `LONGEST_NAME` characters; empty for none."""
    return " ".join(text.split())[:LONGEST_NAME].strip()


def preset_of(parameters: Any, name: str) -> Preset:
    """Return the setting of a registration as a preset."""
    prior, start, similarity = (getattr(parameters, field).value for field in ("prior", "start", "similarity"))
    return Preset(clean_name(name), parameters.method, prior, setting_of(parameters), start, similarity)


def take_preset(parameters: Any, preset: Preset) -> None:
    """Choose what a preset holds, as one change of the parameter node; a task model has its start and similarity."""
    was_modifying = parameters.StartModify()
    try:
        parameters.method = preset.method
        parameters.anatomy = AnatomyChoice.NONE
        apply_setting(parameters, dict(preset.setting))
        parameters.prior = PriorChoice(preset.prior)
        if preset.method == INSTANCE:
            parameters.start = StartChoice(preset.start)
            parameters.similarity = SimilarityChoice(preset.similarity)
    finally:
        parameters.EndModify(was_modifying)


def matching(parameters: Any, presets: list[Preset]) -> str:
    """Return the name of the first preset that a registration has; empty for none."""
    current = preset_of(parameters, "")
    for preset in presets:
        own = (preset.start, preset.similarity) == (current.start, current.similarity)
        if (preset.method, preset.prior) == (current.method, current.prior) and (own or current.method != INSTANCE):
            pairs = [(preset.setting[name], value) for name, value in current.setting.items()]
            if all(math.isclose(first, second, rel_tol=1e-6) for first, second in pairs):
                return preset.name
    return ""


def with_preset(presets: list[Preset], added: Preset) -> list[Preset]:
    """Return presets in the order of their names, with one that replaces another of the same name."""
    return sorted([*without(presets, added.name), added], key=lambda preset: preset.name.casefold())


def without(presets: list[Preset], name: str) -> list[Preset]:
    """Return the presets that have another name."""
    return [preset for preset in presets if preset.name != name]


def to_text(presets: list[Preset]) -> str:
    """Return presets as JSON, to be kept."""
    return json.dumps([{"version": VERSION, **asdict(preset)} for preset in presets])


def from_text(text: str) -> list[Preset]:
    """Return the presets of a text of `to_text`; entries that cannot be used, of another version, are left out."""
    try:
        entries = json.loads(text or "[]")
    except ValueError:
        return []
    found = [_read(entry) for entry in entries] if isinstance(entries, list) else []
    return [preset for preset in found if preset is not None]


def _read(entry: Any) -> Preset | None:
    try:
        version = entry.get("version", 1)
        if version not in (1, VERSION):
            return None
        prior, start = PriorChoice(entry["prior"]), StartChoice(entry["start"])
        similarity = SimilarityChoice.CORRELATION if version == 1 else SimilarityChoice(entry["similarity"])
        setting = {name: float(entry["setting"][name]) for name in HYPERPARAMETERS[prior]}
        name, method = clean_name(str(entry["name"])), str(entry["method"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    is_usable = name and method and all(math.isfinite(value) and value >= 0 for value in setting.values())
    return Preset(name, method, prior.value, setting, start.value, similarity.value) if is_usable else None
