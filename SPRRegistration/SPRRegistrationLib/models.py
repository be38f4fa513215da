"""The installed task models and their cards, read without torch.

Whether a model can be used is checked by the worker when it opens a pair.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SPRCore.errors import InputError, SPRError
from SPRCore.io.headers import parse_json, read_header
from SPRCore.io.places import SUFFIX, models_folder, packaged_folder
from SPRCore.regularization.gradient_units import VOXEL
from SPRCore.regularization.hyperparameters import (
    HYPERMORPH_WEIGHTING,
    PRIOR_WEIGHTING,
    slider_range,
    usable_range,
)
from SPRRegistrationLib import messages
from SPRRegistrationLib.i18n import tr as _

INSTANCE = "instance"
"""The method that needs no model."""


_WORD = re.compile(r"[a-z]+|[0-9]+")
_SPELLINGS = {"cardiac": "heart", "cardio": "heart", "mr": "mri", "pulmonary": "lung", "lungs": "lung", "head": "brain"}
_EMPTY = {"any", "and", "of", "the", "axis", "short", "image", "images", "weighted"}


@dataclass(frozen=True)
class TaskModel:
    """One entry of the list of methods.

    Attributes:
        name: "instance" or the name of a model.
        path: File of the model; None for the method that needs none.
        card: The model card; empty if it cannot be read.
        problem: Why it cannot be used, in words; empty for nothing.
        is_bundled: Whether it comes with the extension.
    """

    name: str
    path: Path | None
    card: Mapping[str, Any]
    problem: str = ""
    is_bundled: bool = False

    @property
    def title(self) -> str:
        """Name, anatomy, modality, and whether it can be used, for the list."""
        if self.name == INSTANCE:
            return _("Instance optimization (no training)")
        about = ", ".join(str(self.card[key]) for key in ("anatomy", "modality") if self.card.get(key))
        return self.name + (f" ({about})" if about else "") + (_(" - cannot be used") if self.problem else "")

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Ends of the slider of each hyperparameter; the high one is beyond the training."""
        weighting = str(self.card.get("weighting", PRIOR_WEIGHTING))
        return {name: slider_range(trained, weighting) for name, trained in self.card.get("ranges", {}).items()}

    @property
    def trained(self) -> dict[str, float]:
        """Highest value of each hyperparameter in the training."""
        return {name: float(high) for name, (_low, high) in self.card.get("ranges", {}).items()}

    @property
    def is_hypermorph(self) -> bool:
        """Whether it was trained with the weighting of HyperMorph."""
        return self.card.get("weighting") == HYPERMORPH_WEIGHTING

    @property
    def optimum(self) -> dict[str, float]:
        """Recommended values: the tuned ones, otherwise those of the training."""
        values = {**self.card.get("defaults", {}), **self.card.get("optimum", {})}
        return {name: float(value) for name, value in values.items()}


def find_models() -> list[TaskModel]:
    """Return all methods: first the one that needs no model, then the models by name.

    A model in the user's folder hides one of the same name that comes with the extension.
    """
    found = {}
    for folder, is_bundled in ((packaged_folder(), True), (models_folder(), False)):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            found[path.name[: -len(SUFFIX)]] = read_model(path, is_bundled)
    return [TaskModel(INSTANCE, None, {}), *(found[name] for name in sorted(found))]


def read_model(path: Path, is_bundled: bool = False) -> TaskModel:
    """Read the card of a model.

    Args:
        path: The file; nothing in it is executed.
        is_bundled: Whether it comes with the extension.

    Returns:
        The model; its `problem` says if it cannot be read.
    """
    name = path.name[: -len(SUFFIX)] if path.name.endswith(SUFFIX) else path.name
    try:
        return TaskModel(name, path, _card(path), is_bundled=is_bundled)
    except (SPRError, OSError) as error:
        return TaskModel(name, path, {}, problem=str(error), is_bundled=is_bundled)


def best_match(models: list[TaskModel], about: str) -> TaskModel:
    """Return the model to propose for images: the one whose card says most of what is known of them.

    A model that was made for some anatomy and modality is proposed where both are named; one for any, which is quicker
    and less accurate than the method that needs no training, never by itself. Of several the one with the best overlap.

    Args:
        models: As `find_models` gives them.
        about: What is known of the images, such as their names and the modality; in any order.

    Returns:
        The model, or the method that needs no training.
    """
    known = _words(about)
    found = {}
    for model in models:
        said = [_words(str(model.card.get(part, ""))) & known for part in ("anatomy", "modality")]
        if not model.problem and all(said):
            overlap = [item["value"] for item in _metrics(model) if str(item.get("name")).startswith("Dice")]
            found[sum(map(len, said)), max(overlap, default=0.0)] = model
    return found[max(found)] if found else next(model for model in models if model.name == INSTANCE)


def search(models: list[TaskModel], text: str) -> list[TaskModel]:
    """Return the models in whose name or card all words of a text occur; all of them for no text."""
    words = text.lower().split()
    return [model for model in models if all(word in _said(model) for word in words)]


def import_model(path: str | Path) -> TaskModel:
    """Copy a model into the user's folder.

    Args:
        path: A file named `*.sprmodel.safetensors`.

    Returns:
        The model in the user's folder.

    Raises:
        InputError: It is no model; nothing was copied.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise InputError(path.name, got="another kind of file", expected=f"a task model (*{SUFFIX})")
    card = _card(path)
    name = str(card.get("name", ""))
    home = models_folder() / f"{name}{SUFFIX}"
    if not name or home.parent != models_folder() or Path(name).name != name:
        raise InputError(path.name, got="a model without a usable name", remedy="get the file again")
    if home != path:
        home.parent.mkdir(parents=True, exist_ok=True)
        partial = home.with_name(f".{home.name}.part")
        try:
            shutil.copyfile(path, partial)
            partial.replace(home)
        finally:
            partial.unlink(missing_ok=True)
    return read_model(home)


def card_lines(model: TaskModel) -> list[tuple[str, str]]:
    """Return the card as rows of name and text, for the fold under the list; empty entries are left out."""
    if model.name == INSTANCE:
        text = _("Registers any pair of images by optimization. Needs no training; takes longer than a task model.")
        return [(_("Method"), text)]
    names = {
        "task": _("Task"),
        "anatomy": _("Part of the body"),
        "modality": _("Kind of image"),
        "version": _("Version"),
        "training_data": _("Trained on"),
        "training_data_licence": _("License of these data"),
        "licence": _("License of the model"),
    }
    rows = [(title, str(model.card[key])) for key, title in names.items() if model.card.get(key)]
    rows += [(str(item.get("name")), f"{item.get('value'):.3g} ({item.get('how')})") for item in _metrics(model)]
    rows += [
        (messages.setting_names().get(name, name), messages.trained_range(trained, usable_range(trained)[1]))
        for name, trained in model.card.get("ranges", {}).items()
    ]
    rows += [(messages.hypermorph_stiffness(), messages.about_hypermorph())] if model.is_hypermorph else []
    rows += [(_("Smoothness measured in"), _("voxels"))] if model.card.get("units") == VOXEL else []
    rows += [(_("Authors"), ", ".join(map(str, model.card["authors"])))] if model.card.get("authors") else []
    return rows + ([(_("Cannot be used"), model.problem)] if model.problem else [])


def _metrics(model: TaskModel) -> list[dict]:
    entries = model.card.get("metrics", ())
    return [item for item in entries if isinstance(item, dict) and isinstance(item.get("value"), (int, float))]


def _card(path: Path) -> Mapping[str, Any]:
    text = read_header(path).metadata.get("card")
    card = parse_json((text or "null").encode(), "model card")
    if not isinstance(card, dict):
        raise InputError(path.name, got="a file without a model card", expected="a task model")
    for key in ("ranges", "defaults", "optimum"):
        if not isinstance(card.get(key, {}), dict):
            raise InputError(path.name, got=f"{key} of another type", expected="a task model")
    return card


def _words(text: str) -> set[str]:
    """Return the distinctive words of a text, each in one spelling."""
    return {_SPELLINGS.get(word, word) for word in _WORD.findall(text.lower())} - _EMPTY


def _said(model: TaskModel) -> str:
    return f"{model.title} {json.dumps(dict(model.card))}".lower()
