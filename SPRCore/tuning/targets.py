"""What can be tuned: a recipe, by training; a hyper model or the instance solver, on a cohort of pairs."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.pairs import PairFiles
from SPRCore.analysis.rows import SurfacePoint
from SPRCore.errors import ConvergenceError, InputError, OutputError
from SPRCore.functional import kept_memory
from SPRCore.io.places import SUFFIX
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS, above_zero
from SPRCore.training.data.cohort import find_cohort
from SPRCore.training.guards import BAD_BATCH
from SPRCore.training.journal import BOARD, METRICS, PICTURES, read_rows
from SPRCore.training.loop import Status, train
from SPRCore.training.model_card import LAST
from SPRCore.training.recipe import Recipe
from SPRCore.training.resume import RECIPE, SPLIT, check_folder
from SPRCore.training.state import FOLDER, list_checkpoints
from SPRCore.training.validate import Validation
from SPRCore.tuning.sweep import Plan, Surveyor

logger = logging.getLogger("SPRCore")

Measures = dict[str, Any]
Params = Mapping[str, float]
Tell = Callable[[int, Measures], None]

_OF_POINTS = {
    "dice": "dice_mean",
    "tre_mm": "tre_mm",
    "lncc": "lncc",
    "folding_percent": "folding_percent",
    "ndv_percent": "ndv_percent",
    "weight": "weight_mean",
    "map_gap": "map_gap",
}
_KEPT_PAIRS = 8  # in memory from one trial to the next


@runtime_checkable
class Target(Protocol):
    """Something with parameters; can be sent to other processes.

    Attributes:
        improving: Whether a trial gets better as it goes on; else it tells means over ever more pairs.
    """

    improving: ClassVar[bool]

    def opened(self) -> Callable[[int, Params, Tell], Measures]:
        """Return what does a trial: its slot, its parameters, whom to tell on the way; it gives what was measured."""
        ...

    def bundle(self, slot: int) -> Path | None:
        """Return the model of a trial, where there is one on this machine."""
        ...


@dataclass(frozen=True, kw_only=True)
class CohortTarget:
    """A hyper model or the instance solver on pairs; nothing is trained.

    Attributes:
        method: The method.
        pairs: The pairs.
        init: Alignment beforehand.
        device: Where to compute.
    """

    method: MethodSpec
    pairs: tuple[PairFiles, ...]
    improving: ClassVar[bool] = False
    init: str = "auto"
    device: str = "auto"

    def opened(self) -> Callable[[int, Params, Tell], Measures]:
        """Return what does a trial."""
        plan = Plan(method=self.method, init=self.init, device=self.device, path=None)
        surveyor = Surveyor(plan, keep=_KEPT_PAIRS)

        def trial(slot: int, params: Params, tell: Tell) -> Measures:
            points: list[SurfacePoint] = []
            with kept_memory():
                for pair in self.pairs:
                    point = surveyor.point(pair, params)
                    if point.failed is not None:
                        raise ConvergenceError(f"pair {pair.pair}", got=point.failed)
                    points.append(point)
                    tell(len(points), means(points))
            return means(points)

        return trial

    def has(self, kind: Literal["labels", "points"]) -> bool:
        """Whether all pairs have labels or landmarks."""
        return all(getattr(pair, f"fixed_{kind}") is not None for pair in self.pairs)

    def bundle(self, slot: int) -> Path | None:
        """Return the model, the same for all trials; None for the instance solver."""
        return self.method.path


@dataclass(frozen=True, kw_only=True)
class RecipeTarget:
    """A recipe: a trial is a training.

    Attributes:
        recipe: The recipe.
        folder: Folder of the study; each trial has one in it.
    """

    improving: ClassVar[bool] = True
    recipe: Recipe
    folder: Path

    def opened(self) -> Callable[[int, Params, Tell], Measures]:
        """Return what does a trial."""
        return self._trial

    def has(self, kind: Literal["labels", "points"]) -> bool:
        """Whether any image of the data set has labels or landmarks; generated ones have both."""
        data = self.recipe.data
        return data.dataset == "generated" or any(getattr(case, kind) for case in find_cohort(data).cases)

    def bundle(self, slot: int) -> Path | None:
        """Return the best model of a trial; None where it is on another machine."""
        path = self._place(slot) / f"{self.recipe.name}{SUFFIX}"
        return path if path.is_file() else None

    def _place(self, slot: int) -> Path:
        return self.folder / "trials" / f"{slot:04d}"

    def _trial(self, slot: int, params: Params, tell: Tell) -> Measures:
        recipe = changed(self.recipe, params, self._place(slot))
        best: list[Validation] = []

        def listen(status: Status) -> None:
            if status.doing != "validated":
                return
            found = Validation(pairs=(), summary=dict(status.validation), shown=())
            if not best or found.score > best[-1].score:
                best.append(found)  # so is the model that is kept
            tell(_epochs(status, recipe), _measures(found))

        try:
            self._train(recipe, listen, best)
        except (InputError, OutputError, KeyboardInterrupt):  # it will go on from its checkpoint
            raise
        except Exception:
            _tidy(recipe.folder)
            raise
        _tidy(recipe.folder)
        return _measures(best[-1])

    def _train(self, recipe: Recipe, listen: Callable[[Status], None], best: list[Validation]) -> None:
        """Train, from where a process that was lost had come to."""
        checkpoints = list_checkpoints(recipe.folder)
        if checkpoints:
            best += _validated(recipe.folder, int(checkpoints[-1].stem))
            try:
                train(recipe, resume=True, progress=listen)
                return
            except InputError as error:  # left by another study in this folder
                logger.warning("A trial begins anew: %s", error)
                best.clear()
        _clear(recipe)
        train(recipe, progress=listen)


def changed(recipe: Recipe, params: Params, folder: Path) -> Recipe:
    """Return a recipe with other values.

    Args:
        recipe: The recipe.
        params: Hyperparameters of its prior, or keys such as "optimiser.lr", with their values.
        folder: Folder of its run.

    Returns:
        The recipe; without pictures.

    Raises:
        InputError: A key or a value is refused.
    """
    values = recipe.to_dict()
    own = {
        name: above_zero(name, value) for name, value in params.items() if name in HYPERPARAMETERS[recipe.loss.prior]
    }
    for name, value in {**params, **own, "output": str(folder), "validation.pictures": 0}.items():
        *parents, last = key_of(name, recipe).split(".")
        place = values
        for parent in parents:
            place = place[parent] if isinstance(place, dict) and isinstance(place.get(parent), dict) else {}
        if last not in place:
            raise InputError(f"parameter {name}", got="no such key", expected="a key of the recipe with a number")
        place[last] = round(value) if isinstance(place[last], int) and not isinstance(place[last], bool) else value
    return Recipe.from_dict(values)


def key_of(name: str, recipe: Recipe) -> str:
    """Return the key of a recipe that a parameter stands for."""
    own = HYPERPARAMETERS[recipe.loss.prior]
    return f"loss.{own[name].attribute}" if name in own else name


def means(points: list[SurfacePoint]) -> Measures:
    """Return the means over pairs of what was measured at all of them."""
    found = {}
    for name, own in _OF_POINTS.items():
        values = [getattr(point, own) for point in points]
        if None not in values:
            found[name] = float(np.mean(values))
    return found


def _epochs(status: Status, recipe: Recipe) -> int:
    """Epochs that are done when a validation is told."""
    return status.epoch if status.step == status.steps else status.epoch - 1


def _measures(found: Validation) -> Measures:
    return {name: value for name, value in found.summary.items() if math.isfinite(value)}


def _validated(folder: Path, step: int) -> list[Validation]:
    """The best validation of a run until a step; empty if there was none."""
    rows = [row for row in read_rows(folder) if row.get("kind") == "validation" and row["step"] <= step]
    found = [{name: float(value) for name, value in row.items() if type(value) is float} for row in rows]
    ranked = sorted((Validation(pairs=(), summary=each, shown=()) for each in found), key=lambda each: each.score)
    return ranked[-1:]


def _clear(recipe: Recipe) -> None:
    """Remove what a trial that was lost has left, and nothing else that may lie in its folder."""
    if not (recipe.folder / RECIPE).exists():
        return
    check_folder(recipe, resume=True)
    names = (RECIPE, SPLIT, METRICS, f"{recipe.name}{SUFFIX}")
    for path in (*(recipe.folder / name for name in names), *recipe.folder.glob(f"{BAD_BATCH}-*.safetensors")):
        path.unlink(missing_ok=True)
    _tidy(recipe.folder, FOLDER, LAST, BOARD, PICTURES)


def _tidy(folder: Path, *parts: str) -> None:
    """Keep what a trial that is over has to show: its model, its recipe and its journal."""
    for part in parts or (FOLDER, LAST, BOARD):
        shutil.rmtree(folder / part, ignore_errors=True)
