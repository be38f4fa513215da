"""Displacements of the instance solver for pairs of a recipe, computed once and kept in files."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from SPRCore import __version__
from SPRCore.errors import InputError
from SPRCore.functional import kept_memory
from SPRCore.io.atomic import atomic_path
from SPRCore.io.samples import Sample
from SPRCore.registration.instance import InstanceConfig, InstanceProblem
from SPRCore.regularization import Prior
from SPRCore.regularization.gradient_units import spacing_in
from SPRCore.regularization.priors import hyperparameters
from SPRCore.training.data.cases import Pair, Source
from SPRCore.training.hyper import draw_values, solver_prior
from SPRCore.training.recipe import Recipe

logger = logging.getLogger("SPRCore")

_SETTINGS = 2  # stream of random numbers, apart from those of order and augmentation
_LOG_EVERY = 10
_CHANGE_STEPS = 16
"""Steps from the result at the setting of the recipe to that at another one. Two results from rest differ more by the
minima that they fall into than by their settings, which no network can learn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SolvedPair:
    """Displacements of the instance solver for one pair.

    Attributes:
        settings: Hyperparameters of each displacement by name.
        displacements_vox: Shape (K, 3, X, Y, Z), float16: 0.01 voxel up to 16 voxels.
    """

    settings: tuple[dict[str, float], ...]
    displacements_vox: np.ndarray


class Teacher(Dataset[int]):
    """The solver's displacements for the pairs of a recipe: from its result at the setting of the recipe to others.

    A file is named by a hash of all that determines its content: images, settings, solver. Indexing computes the file
    of a pair if it is missing.

    Args:
        recipe: The recipe; its loss has a teacher.
        pairs: The pairs.
        source: Reads the cases.
        folder: Folder of the files.
    """

    def __init__(self, recipe: Recipe, pairs: Sequence[Pair], source: Source, folder: Path) -> None:
        self.pairs = tuple(dict.fromkeys(pairs))
        self._recipe, self._source, self._folder = recipe, source, folder
        measure = {"similarity": recipe.loss.similarity, "window": recipe.loss.window}
        self._config, self._change = (
            InstanceConfig(**measure),
            replace(InstanceConfig.refining(_CHANGE_STEPS), **measure),
        )
        self._files: dict[Pair, Path] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> int:
        """Compute the file of a pair, if it is missing, and return the number."""
        if number >= len(self):
            raise IndexError(number)
        self._write(self.pairs[number], self._path(self.pairs[number]))
        return number

    def missing(self) -> list[int]:
        """Return the numbers of the pairs that have no file."""
        return [number for number, pair in enumerate(self.pairs) if not self._path(pair).exists()]

    def load(self, pair: Pair) -> SolvedPair:
        """Return the displacements of a pair (`InputError` if its file is damaged or missing)."""
        from safetensors import SafetensorError, safe_open

        path = self._path(pair)
        try:
            with safe_open(path, framework="numpy") as file:
                settings = json.loads(file.metadata()["settings"])
                return SolvedPair(settings=tuple(settings), displacements_vox=file.get_tensor("displacements"))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            got, remedy = "a file that cannot be read", "remove it and run spr prepare again"
            raise InputError(str(path), got=got, expected="displacements of the solver", remedy=remedy) from None

    def _path(self, pair: Pair) -> Path:
        if pair not in self._files:
            digest = hashlib.sha256(json.dumps(self._facts(pair)).encode())
            for sample in self._samples(pair):
                digest.update(sample.channels.tobytes())
            self._files[pair] = self._folder / f"{digest.hexdigest()[:32]}.safetensors"
        return self._files[pair]

    def _samples(self, pair: Pair) -> tuple[Sample, Sample]:
        return self._source.load(pair.moving), self._source.load(pair.fixed)

    def _facts(self, pair: Pair) -> dict[str, Any]:
        prior = self._recipe.loss.prior
        settings = self._settings(pair)
        return {
            **{"version": __version__, "prior": prior, "settings": settings, "spacing": self._spacing(pair)},
            "solver": asdict(self._config),
            "change": asdict(self._change),
        }

    def _prior(self, values: dict[str, float]) -> Prior:
        return solver_prior(values, self._recipe.loss, self._recipe.hyper)

    def _spacing(self, pair: Pair) -> list[float]:
        """Voxel size in the unit of the loss."""
        return [float(step) for step in spacing_in(self._recipe.loss.units, self._source.load(pair.fixed).spacing_mm)]

    def _settings(self, pair: Pair) -> list[dict[str, float]]:
        """Hyperparameters of a pair: they depend on its name and the seed alone."""
        recipe = self._recipe
        count = 1 if recipe.hyper is None else recipe.loss.teacher.settings
        name = int.from_bytes(hashlib.sha256(f"{pair.moving}\n{pair.fixed}".encode()).digest()[:8], "big")
        rng = np.random.default_rng([recipe.seed, _SETTINGS, name])
        return [draw_values(recipe.loss, recipe.hyper, rng) for _ in range(count)]

    def _write(self, pair: Pair, path: Path) -> None:
        from safetensors.torch import save_file

        moving, fixed = (torch.from_numpy(part.channels)[None] for part in self._samples(pair))
        spacing, settings = self._spacing(pair), self._settings(pair)
        with kept_memory():
            problem = InstanceProblem.of(fixed, moving, spacing, self._config)
            own, *priors = map(self._prior, (hyperparameters(self._recipe.loss.make_prior()), *settings))
            start = problem.course(own).completed().velocity_mm
            problem = replace(problem, config=self._change)
            fields = [problem.course(prior, start).completed().displacement_vox.half() for prior in priors]
        with atomic_path(path) as partial:
            save_file({"displacements": torch.cat(fields)}, partial, metadata={"settings": json.dumps(settings)})


def prepare_teacher(
    recipe: Recipe,
    pairs: Sequence[Pair],
    source: Source,
    folder: Path,
    report: Callable[[str, float], None] | None = None,
) -> Teacher:
    """Compute the displacements of all pairs that have no file yet, in `recipe.workers` processes.

    A call that is interrupted goes on where it stopped. `report` gets the activity and the fraction done, 0 to 1.

    Raises:
        ConvergenceError: The energy of a pair became NaN or infinite.
        OutputError: A file cannot be written.
    """
    teacher, began = Teacher(recipe, pairs, source, folder), time.monotonic()
    missing = Subset(teacher, teacher.missing())
    for done, _ in enumerate(DataLoader(missing, batch_size=None, num_workers=recipe.workers), start=1):
        if report is not None:
            report("registering the training pairs", done / len(missing))
        if done % _LOG_EVERY == 0 or done == len(missing):
            left = (time.monotonic() - began) / done * (len(missing) - done)
            logger.info("Teacher: %d of %d pairs registered, %.0f min left.", done, len(missing), left / 60)
    return teacher
