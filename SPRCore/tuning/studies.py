"""Study files: all trials of a hyperparameter search in one JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from SPRCore.analysis.provenance import machine, versions
from SPRCore.analysis.rows import command_without_folders
from SPRCore.config import decode, encode, finite
from SPRCore.errors import InputError
from SPRCore.io import atomic_path

SCHEMA_VERSION = 1

STUDY = "study.json"
"""Name of the file in the folder of a study."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial of a study.

    Attributes:
        number: Its number in the storage.
        slot: Number of its first attempt: an interrupted or expired trial is repeated under a new number.
        params: Parameters by name.
        value: Value of the objective, or None.
        state: State.
        seconds: Duration, or None.
        intermediate: Intermediate values of the objective, by step (epoch, or pairs measured).
        measures: Metrics by name.
        failed: Reason of the failure, or None.
        infeasible: Whether its folding is above the limit of the study.
    """

    number: int
    slot: int
    params: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    state: Literal["complete", "pruned", "failed", "running"]
    seconds: float | None = None
    intermediate: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, Any] = field(default_factory=dict)
    failed: str | None = None
    infeasible: bool = False


@dataclass(frozen=True, kw_only=True)
class Study:
    """Outcome of a hyperparameter search.

    Attributes:
        name: Name of the study.
        target: Name of the recipe, model or method.
        objective: "dice", "tre" or "label-free".
        direction: Direction of improvement.
        ranges: Lowest and highest value of each parameter.
        wanted: Requested number of trials.
        trials: The trials by number, without interrupted and repeated ones.
        best: Number of the best trial, or None if none is complete and feasible.
        band: Largest difference to the best value of a trial within the tolerance.
        tolerance: Lowest and highest value of each parameter among the trials within the band.
        importances: Share of each parameter in the variance of the objective (fANOVA), adding up to 1.
        command: The command line, without folders.
        settings: Pruner, seed, folding limit, and the source of the pairs of a recipe.
        machine: Machine on which the file was written.
        versions: Versions of Python and the libraries there.
        schema_version: Version of this format.
    """

    name: str
    target: str
    objective: str
    direction: Literal["maximize", "minimize"]
    ranges: dict[str, tuple[float, float]]
    wanted: int
    trials: tuple[TrialRecord, ...] = ()
    best: int | None = None
    band: float = 0.0
    tolerance: dict[str, tuple[float, float]] = field(default_factory=dict)
    importances: dict[str, float] = field(default_factory=dict)
    command: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=machine)
    versions: dict[str, Any] = field(default_factory=versions)
    schema_version: int = SCHEMA_VERSION

    @property
    def best_trial(self) -> TrialRecord | None:
        """The best trial, or None."""
        return next((trial for trial in self.trials if trial.number == self.best), None)


def write_study(study: Study, path: Path) -> None:
    """Write a study atomically; folders in its command are removed, and non-finite values become null.

    Raises:
        OutputError: It cannot be written.
    """
    values = encode(study) | {"command": command_without_folders(study.command)}
    with atomic_path(path) as temporary:
        text = json.dumps(finite(values), allow_nan=False, ensure_ascii=False, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def read_study(path: Path) -> Study:
    """Read a study from its file or folder.

    Raises:
        InputError: The file is missing, or not a study of this version.
    """
    path = path / STUDY if path.is_dir() else path
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="a study, as spr tune writes it")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(str(path), got="no JSON", expected="a study, as spr tune writes it") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(str(path), got=f"schema_version {version}", expected=str(SCHEMA_VERSION))
    return decode(Study, values, keys=(path.name,))
