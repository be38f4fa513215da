"""Targets of tuning: a recipe, by training; a hyper model or the instance optimization, on a cohort of pairs."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.rows import SurfacePoint
from SPRCore.errors import ConvergenceError, InputError, OutputError
from SPRCore.functional import kept_memory
from SPRCore.io.pairs import PairList
from SPRCore.io.places import SUFFIX
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS, above_zero
from SPRCore.training.data.cohort import find_cohort
from SPRCore.training.guards import BAD_BATCH
from SPRCore.training.journal import BOARD, METRICS, PICTURES, read_rows
from SPRCore.training.loop import TrainingStatus, train
from SPRCore.training.model_card import LAST
from SPRCore.training.recipe import Recipe
from SPRCore.training.resume import RECIPE, SPLIT, check_folder
from SPRCore.training.state import FOLDER, list_checkpoints
from SPRCore.training.validate import score
from SPRCore.tuning.sweep import SweepWorker

logger = logging.getLogger("SPRCore")

_TrialMetrics = dict[str, Any]
_Params = Mapping[str, float]
_ReportStep = Callable[[int, _TrialMetrics], None]
RunTrial = Callable[[int, _Params, _ReportStep], _TrialMetrics]
"""Runs a trial: slot, parameters, callback for intermediate metrics; returns its metrics."""

_POINT_FIELDS = {
    "dice": "dice_mean",
    "tre_mm": "tre_mm",
    "lncc": "lncc",
    "folding_percent": "folding_percent",
    "ndv_percent": "ndv_percent",
    "weight": "weight_mean",
    "map_gap": "map_gap",
}
_CACHED_PAIRS = 8


class Target(Protocol):
    """Something with parameters; can be pickled.

    Attributes:
        improving: Whether a trial improves from step to step; otherwise its steps are means over more and more pairs.
    """

    improving: ClassVar[bool]

    def opened(self) -> RunTrial:
        """Return the function that runs a trial."""
        ...

    def bundle(self, slot: int) -> Path | None:
        """Return the model of a trial, if it is on this machine."""
        ...


@dataclass(frozen=True, kw_only=True)
class CohortTarget:
    """A hyper model or the instance optimization on pairs, without training.

    Attributes:
        method: The method.
        pairs: The pairs; their source is saved in the study.
        init: Affine pre-alignment.
        device: Compute device.
    """

    method: MethodSpec
    pairs: PairList
    improving: ClassVar[bool] = False
    init: str = "auto"
    device: str = "auto"

    def opened(self) -> RunTrial:
        """Return the function that runs a trial."""
        worker = SweepWorker(self.method, self.init, self.device, cached=_CACHED_PAIRS)

        def trial(slot: int, params: _Params, report: _ReportStep) -> _TrialMetrics:
            points: list[SurfacePoint] = []
            with kept_memory():
                for pair in self.pairs:
                    point = worker.point(pair, params)
                    if point.failed is not None:
                        raise ConvergenceError(f"pair {pair.pair}", got=point.failed)
                    points.append(point)
                    report(len(points), means(points))
            return means(points)

        return trial

    def has(self, kind: Literal["labels", "points"]) -> bool:
        """Whether all pairs have labels or landmarks."""
        return all(getattr(pair, f"fixed_{kind}") is not None for pair in self.pairs)

    def bundle(self, slot: int) -> Path | None:
        """Return the model, the same for all trials; None for the instance optimization."""
        return self.method.path


@dataclass(frozen=True, kw_only=True)
class RecipeTarget:
    """A recipe: a trial is a training.

    Attributes:
        recipe: The recipe.
        folder: Folder of the study, with a folder for each trial.
    """

    improving: ClassVar[bool] = True
    recipe: Recipe
    folder: Path

    def opened(self) -> RunTrial:
        """Return the function that runs a trial."""
        return self._trial

    def has(self, kind: Literal["labels", "points"]) -> bool:
        """Whether any image of the data set has labels or landmarks; generated images have both."""
        data = self.recipe.data
        return data.dataset == "generated" or any(getattr(case, kind) for case in find_cohort(data).cases)

    def bundle(self, slot: int) -> Path | None:
        """Return the best model of a trial; None where it is on another machine."""
        path = self._trial_folder(slot) / f"{self.recipe.name}{SUFFIX}"
        return path if path.is_file() else None

    def _trial_folder(self, slot: int) -> Path:
        return self.folder / "trials" / f"{slot:04d}"

    def _trial(self, slot: int, params: _Params, report: _ReportStep) -> _TrialMetrics:
        recipe = changed(self.recipe, params, self._trial_folder(slot))

        def listen(status: TrainingStatus) -> None:
            if status.is_validated:
                epochs = status.epoch if status.step == status.steps else status.epoch - 1
                report(epochs, {name: value for name, value in status.validation.items() if math.isfinite(value)})

        try:
            self._train(recipe, listen)
        except (InputError, OutputError, KeyboardInterrupt):  # it resumes from its checkpoint
            raise
        except Exception:
            _tidy(recipe.folder)
            raise
        _tidy(recipe.folder)
        return _best_validation(recipe.folder)

    def _train(self, recipe: Recipe, listen: Callable[[TrainingStatus], None]) -> None:
        """Train, from the last checkpoint of a lost process if there is one."""
        if list_checkpoints(recipe.folder):
            try:
                train(recipe, resume=True, progress=listen)
                return
            except InputError as error:  # left by another study in this folder
                logger.warning("A trial starts again: %s", error)
        _clear(recipe)
        train(recipe, progress=listen)


def changed(recipe: Recipe, params: _Params, folder: Path) -> Recipe:
    """Return a recipe with another folder, no pictures, and other hyperparameters or keys such as "optimiser.lr".

    Raises:
        InputError: A key or a value is refused.
    """
    values = recipe.to_dict()
    own = {
        name: above_zero(name, value) for name, value in params.items() if name in HYPERPARAMETERS[recipe.loss.prior]
    }
    for name, value in {**params, **own, "output": str(folder), "validation.pictures": 0}.items():
        *parents, last = key_of(name, recipe).split(".")
        owner = values
        for parent in parents:
            owner = owner[parent] if isinstance(owner, dict) and isinstance(owner.get(parent), dict) else {}
        if last not in owner:
            raise InputError(f"parameter {name}", got="no such key", expected="a key of the recipe with a number")
        owner[last] = round(value) if type(owner[last]) is int else value
    return Recipe.from_dict(values)


def key_of(name: str, recipe: Recipe) -> str:
    """Return the key of a parameter in a recipe."""
    own = HYPERPARAMETERS[recipe.loss.prior]
    return f"loss.{own[name].attribute}" if name in own else name


def means(points: list[SurfacePoint]) -> _TrialMetrics:
    """Return the means over pairs of the metrics that all of them have."""
    found = {}
    for name, own in _POINT_FIELDS.items():
        values = [getattr(point, own) for point in points]
        if None not in values:
            found[name] = float(np.mean(values))
    return found


def _best_validation(folder: Path) -> _TrialMetrics:
    """Return the metrics of the best validation in the journal of a run: those of the model that it keeps."""
    rows = [row for row in read_rows(folder) if row.get("kind") == "validation"]
    found = [{name: value for name, value in row.items() if type(value) is float} for row in rows]
    return max(found, key=score)


def _clear(recipe: Recipe) -> None:
    """Remove the files of an earlier attempt at the trial, and no others."""
    if not (recipe.folder / RECIPE).exists():
        return
    check_folder(recipe, resume=True)
    names = (RECIPE, SPLIT, METRICS, f"{recipe.name}{SUFFIX}")
    for path in (*(recipe.folder / name for name in names), *recipe.folder.glob(f"{BAD_BATCH}-*.safetensors")):
        path.unlink(missing_ok=True)
    _tidy(recipe.folder, FOLDER, LAST, BOARD, PICTURES)


def _tidy(folder: Path, *parts: str) -> None:
    """Remove parts of the folder of a trial; by default all but model, recipe and journal."""
    for part in parts or (FOLDER, LAST, BOARD):
        shutil.rmtree(folder / part, ignore_errors=True)
