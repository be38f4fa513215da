"""`spr tune`: search the best hyperparameters of a recipe, a hyper model or the instance solver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from SPRCore.cli.benchmark import assignments, check_processes
from SPRCore.cli.console import print_line, progress_display
from SPRCore.cli.evaluation_pairs import check_source, given_pairs, input_files, pair_init
from SPRCore.cli.sweep import method_of
from SPRCore.errors import InputError
from SPRCore.io import read_card
from SPRCore.io.outputs import check_outputs, check_replaceable, removed_if_refused
from SPRCore.io.places import SUFFIX
from SPRCore.registration.devices import pick_device
from SPRCore.regularization.hyperparameters import HYPERMORPH_WEIGHTING, HYPERPARAMETERS, slider_range
from SPRCore.training.recipe import Recipe, read_recipe
from SPRCore.tuning.axes import is_hypermorph, open_ranges
from SPRCore.tuning.space import MAX_FOLDING, Objective, SearchParameter, search_space
from SPRCore.tuning.storage import storage_url
from SPRCore.tuning.studies import STUDY, read_study
from SPRCore.tuning.study import Finished, run_study
from SPRCore.tuning.targets import CohortTarget, RecipeTarget, changed
from SPRCore.tuning.worker import StudyConfig

Words = UseAppendAction[tuple[tuple[str, ...], ...]]
_RECIPE = (".yaml", ".yml")
_BEGUN = (STUDY, "study.db", "study.db-journal")  # exist before the first trial


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Search the best hyperparameters by Bayesian optimization, on any number of processes and machines."""

    target: Annotated[Positional[str], arg(metavar="RECIPE.yaml|NAME|BUNDLE|instance")]
    """Target: a recipe, each trial a training; or without training a hyper model, instance or uniform."""

    trials: Annotated[int, arg(metavar="N")] = 50
    """Total number of trials, including those of earlier runs and other machines."""

    storage: Annotated[str | None, arg(metavar="URL|FILE", help_behavior_hint="(default: study.db in --out)")] = None
    """Storage of the trials: a file *.db (SQLite), a file *.log (journal, also on network drives), or the URL of a
    database. Run the same command on other machines to share the work."""

    study: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the target)")] = None
    """Name of the study in the storage."""

    out: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: runs/NAME-tune)")] = None
    """Folder for study.json, the best model and the trials."""

    pairs: Annotated[Path | None, arg(metavar="LIST.csv", help_behavior_hint="(for a model or instance)")] = None
    """Pairs to evaluate on, as for spr benchmark."""

    recipe: Annotated[Path | None, arg(metavar="RECIPE.yaml", help_behavior_hint="(for a model or instance)")] = None
    """Recipe with the pairs to evaluate on, as for spr benchmark."""

    overrides: Annotated[Words, arg(name="set", metavar="SET|KEY=VALUE", help_behavior_hint="(repeatable)")] = ()
    """Changes to the recipe, as for spr train; with --recipe also its set, validation or test."""

    ranges: Annotated[Words, arg(metavar="NAME=LOW:HIGH[:log],...", help_behavior_hint="(optional)")] = ()
    """Search space, such as alpha=0:0.1; for a recipe also keys, such as optimiser.lr=1e-4:1e-2:log. By default all
    hyperparameters, over the ranges of the model or of --preset."""

    preset: Annotated[Literal["body", "brain", "heart"] | None, arg(help_behavior_hint="(optional)")] = None
    """Ranges of the paper for this task."""

    objective: Literal["dice", "tre", "label-free"] = "dice"
    """Mean Dice, landmark error, or without labels the similarity."""

    max_folding: Annotated[float, arg(metavar="PERCENT")] = MAX_FOLDING
    """Maximum mean folding: a trial above it is infeasible and never the best, and the sampler avoids its neighborhood;
    100 for no limit."""

    pruner: Annotated[tuple[int, int, int], arg(metavar="TRIALS STEPS EVERY")] = (5, 30, 10)
    """Median pruning: number of trials before it begins, steps (epochs, or pairs) before a trial may be pruned, and
    steps between decisions."""

    band: Annotated[float | None, arg(metavar="B", help_behavior_hint="(default: 0.005; 0.1 mm with tre)")] = None
    """Maximum difference to the best trial within the tolerance that the card states."""

    processes: Annotated[int, arg(metavar="N")] = 1
    """Number of processes on this machine."""

    patience: Annotated[float, arg(metavar="SECONDS")] = 60.0
    """Time without a heartbeat after which a trial is repeated; not with a file *.log, which has no heartbeats."""

    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of the search."""

    init: Literal["auto", "none", "center", "rigid", "affine"] = "auto"
    """Affine pre-alignment, for a model or instance; with --recipe "auto" is none."""

    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | None,
        arg(help_behavior_hint="(default: auto, or that of the recipe)"),
    ] = None
    """Compute device."""

    def run(self, command: str) -> None:
        """Run the study, and print a summary."""
        self._check()
        name, task, folder = self._recipe_task() if Path(self.target).suffix in _RECIPE else self._cohort_task()
        band = self.band if self.band is not None else 0.1 if self.objective == "tre" else 0.005
        try:
            with removed_if_refused(folder, _BEGUN, lambda: _has_trials(folder)), progress_display() as report_stage:

                def show(done: int, count: int, best: float | None) -> None:
                    words = "" if best is None else f", best {self.objective} {best:.4f}"
                    report_stage(f"{done} of {count} trials{words}", done / count)

                found = run_study(
                    task, folder, target=name, band=band, processes=self.processes, command=command, report=show
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; finished trials are in {folder}, the same command resumes") from None
        for line in study_lines(found):
            print_line(line)

    def _check(self) -> None:
        check_processes(self.processes)
        if self.device is not None:
            pick_device(self.device)
        if self.trials < 1:
            raise InputError("--trials", got=str(self.trials), expected="1 or more")
        for name in ("patience", "max_folding", "band"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"--{name.replace('_', '-')}", got=f"{value:g}", expected="0 or more")
        if min(self.pruner) < 0 or self.pruner[2] < 1:
            expected = "numbers of 0 or more, the last one 1 or more"
            raise InputError("--pruner", got=" ".join(map(str, self.pruner)), expected=expected)

    def _recipe_task(self) -> tuple[str, StudyConfig, Path]:
        for option, given in (("--pairs", self.pairs), ("--recipe", self.recipe)):
            if given is not None:
                raise InputError(
                    option, got="it with a recipe to tune", expected="a recipe alone, which names its data"
                )
        device = [] if self.device is None else [f"device={self.device}"]
        recipe = read_recipe(Path(self.target), [*(change for group in self.overrides for change in group), *device])
        folder = self.out or Path(f"{recipe.folder}-tune")
        _check_place(folder, recipe.name, [Path(self.target)])
        written = assignments(self.ranges, "--ranges")
        taken = {} if recipe.hyper is None else recipe.hyper.ranges
        known = {name: None for name in HYPERPARAMETERS[recipe.loss.prior] if name not in taken}
        keys = [name for name in written if "." in name]
        tried = search_space(known, written, self.preset, keys, recipe.loss.prior)
        _try_out(recipe, tried)
        return recipe.name, self._task(recipe.name, RecipeTarget(recipe=recipe, folder=folder), tried, folder), folder

    def _cohort_task(self) -> tuple[str, StudyConfig, Path]:
        method = method_of(self.target)
        check_source(self.pairs, self.recipe, self.overrides)
        known, written = open_ranges(method), assignments(self.ranges, "--ranges")
        if is_hypermorph(method):  # even in the logarithm of λ/(1 - λ)
            ends = slider_range(known["lambda"], HYPERMORPH_WEIGHTING)
            written = {"lambda": "{:g}:{:g}:log".format(*ends)} | written
        tried = search_space(known, written, self.preset, prior=method.prior.name)
        name = method.label if method.path is None else read_card(method.path).name
        folder = self.out or Path("runs") / f"{name}-tune"
        pairs = given_pairs(self.pairs, self.recipe, self.overrides)
        _check_place(folder, name, [self.pairs, self.recipe, method.path, *input_files(pairs)])
        init = pair_init(self.init, self.recipe)
        target = CohortTarget(method=method, pairs=pairs, init=init, device=self.device or "auto")
        return name, self._task(name, target, tried, folder), folder

    def _task(
        self, name: str, target: CohortTarget | RecipeTarget, tried: tuple[SearchParameter, ...], folder: Path
    ) -> StudyConfig:
        objective = Objective(name=self.objective, max_folding=self.max_folding if self.max_folding < 100 else None)
        objective.check(target)
        return StudyConfig(
            study=self.study or name,
            storage=storage_url(self.storage, folder),
            target=target,
            parameters=tried,
            objective=objective,
            trials=self.trials,
            pruner=self.pruner,
            seed=self.seed,
            patience_seconds=max(self.patience, 1.0),
        )


def _has_trials(folder: Path) -> bool:
    return (folder / STUDY).exists() and any(trial.state != "running" for trial in read_study(folder).trials)


def _check_place(folder: Path, name: str, inputs: Sequence[Path | None]) -> None:
    """Refuse to overwrite inputs, and files of the user that have the names of those of a study."""
    model = folder / f"{name}{SUFFIX}"
    check_outputs([folder / STUDY, model], inputs)
    check_replaceable(folder / STUDY, lambda path: read_study(path) is not None)
    if not (folder / STUDY).exists():
        check_replaceable(model, lambda path: False)


def study_lines(found: Finished) -> Sequence[str]:
    """Return the lines of a summary of a study."""
    study, best = found.study, found.study.best_trial
    count = {state: sum(trial.state == state for trial in study.trials) for state in ("complete", "pruned", "failed")}
    counts = ", ".join(f"{number} {state}" for state, number in count.items() if number)
    beyond = [trial for trial in study.trials if trial.state == "complete" and trial.infeasible]
    words = f", {len(beyond)} of the complete ones infeasible" if beyond else ""
    lines = [f"{counts or 'no'} trials{words} in {found.path}"]
    if best is None and beyond:
        least = min(float(trial.measures["folding_percent"]) for trial in beyond)
        lines.append(f"no best trial: the least folding is {least:.3g} %, above --max-folding")
    if best is not None and best.value is not None:
        at = ", ".join(f"{name} {value:.4g}{_span(study.tolerance.get(name))}" for name, value in best.params.items())
        lines.append(f"best {study.objective}: {best.value:.4f} at {at}")
    if study.importances:
        lines.append("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in study.importances.items()))
    if found.bundle is not None:
        lines.append(f"best model: {found.bundle}")
    elif best is not None and not study.target.startswith(("instance", "uniform")):
        lines.append(f"the best model is on the machine of trial {best.number}: run the same command there")
    return lines


def _span(span: tuple[float, float] | None) -> str:
    return "" if span is None else f" ({span[0]:.4g} to {span[1]:.4g})"


def _try_out(recipe: Recipe, tried: Sequence[SearchParameter]) -> None:
    """Refuse keys and values that the recipe cannot take, before the first trial."""
    for end in ("low", "high"):
        changed(recipe, {each.name: getattr(each, end) for each in tried}, recipe.folder)
