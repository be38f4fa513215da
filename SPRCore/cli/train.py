"""`spr train`: from a recipe to a model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from tyro.conf import Positional, UseAppendAction, arg

from SPRCore.cli.console import console, logging_to, say
from SPRCore.training.loop import TrainingStatus, train
from SPRCore.training.recipe import read_recipe
from SPRCore.training.state import list_checkpoints


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model by a recipe; under torchrun, on many processes and machines."""

    recipe: Annotated[Positional[Path], arg(metavar="RECIPE.yaml")]
    """Recipe: data, network, loss, optimiser and all the rest."""

    overrides: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]],
        arg(name="set", metavar="KEY=VALUE", help_behavior_hint="(repeatable)"),
    ] = ()
    """Changes to the recipe, such as optimiser.lr=1e-3 or output=DIR."""

    resume: bool = False
    """Go on with the run in the output folder from its last checkpoint; begin where there is none."""

    def run(self, command: str) -> None:
        """Train, show how it goes, and say where the model is."""
        recipe = read_recipe(self.recipe, [change for group in self.overrides for change in group])
        first = os.environ.get("RANK", "0") == "0"
        try:
            with _shown(first) as tell:
                best = train(recipe, resume=self.resume, progress=tell)
        except KeyboardInterrupt:
            found = list_checkpoints(recipe.folder)
            where = f"after step {int(found[-1].stem)}" if found else "from its beginning"
            raise KeyboardInterrupt(f"interrupted; spr train --resume goes on {where}") from None
        if first:
            say(f"best model: {best}; use it with spr register --method {best}")


@contextmanager
def _shown(first: bool) -> Iterator[_Lines | _Bar | None]:
    """Show how a run goes: a bar on a terminal, a line for each validation elsewhere; one process of many shows it."""
    if not first:
        yield None
        return
    screen = console()
    with logging_to(screen):
        if not screen.is_terminal:
            yield _Lines()
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=screen, transient=True) as bar:
            yield _Bar(bar)


class _Lines:
    """One line when something was measured."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._loss: float | None = None

    def __call__(self, status: TrainingStatus) -> None:
        self._loss = self._loss if status.loss is None else status.loss
        if status.validation and status.validation != self._seen:
            self._seen = status.validation
            loss = "" if self._loss is None else f", loss {self._loss:.4f}"
            say(f"step {status.step} of {status.steps}{loss}, {_measured(status)}; {_left(status)}")


class _Bar:
    """A bar with the step, the loss, what was last measured and the time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._loss = progress, ""
        self._task = progress.add_task("starting", total=None, left="")

    def __call__(self, status: TrainingStatus) -> None:
        self._loss = self._loss if status.loss is None else f", loss {status.loss:.4f}"
        words = f"{status.activity}: epoch {status.epoch}, step {status.step} of {status.steps}{self._loss}"
        words += f", {_measured(status)}" if status.validation else ""
        left = _left(status)
        self._progress.update(self._task, description=words, total=status.steps, completed=status.step, left=left)


def _measured(status: TrainingStatus) -> str:
    names = {
        "dice": "Dice {:.4f}",
        "tre_mm": "TRE {:.2f} mm",
        "lncc": "LNCC {:.4f}",
        "folding_percent": "folding {:.3g} %",
    }
    shown = [form.format(status.validation[name]) for name, form in names.items() if name in status.validation]
    return ", ".join(shown)


def _left(status: TrainingStatus) -> str:
    if status.seconds_left is None:
        return ""
    minutes, seconds = divmod(round(status.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min left" if hours else f"{minutes} min {seconds:02d} s left"
