"""`spr train`: train a model."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from SPRCore.cli.console import console, print_line, progress_display
from SPRCore.training.loop import TrainingStatus, train
from SPRCore.training.recipe import read_recipe
from SPRCore.training.state import list_checkpoints

if TYPE_CHECKING:
    from SPRCore.api import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model by a recipe; with torchrun on several processes and machines."""

    recipe: Annotated[Positional[Path], arg(metavar="RECIPE.yaml")]
    """Recipe: data, network, loss, optimiser and all other settings."""

    overrides: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]],
        arg(name="set", metavar="KEY=VALUE", help_behavior_hint="(repeatable)"),
    ] = ()
    """Changes to the recipe, such as optimiser.lr=1e-3 or output=DIR."""

    resume: bool = False
    """Resume the run in the output folder from its last checkpoint, or start one."""

    def run(self, command: str) -> None:
        """Train with progress display, and print the path of the model."""
        recipe = read_recipe(self.recipe, [change for group in self.overrides for change in group])
        is_first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun: the one that prints
        try:
            with progress_display() if is_first else nullcontext() as report_stage:
                progress = None if report_stage is None else TrainingProgress(report_stage, console().is_terminal)
                best = train(recipe, resume=self.resume, progress=progress)
        except KeyboardInterrupt:
            found = list_checkpoints(recipe.folder)
            where = f"after step {int(found[-1].stem)}" if found else "from its beginning"
            raise KeyboardInterrupt(f"interrupted; spr train --resume resumes {where}") from None
        if is_first:
            print_line(f"best model: {best}; use it with spr register --method {best}")


class TrainingProgress:
    """Reports the status of a run: on a terminal after every step, elsewhere after each new validation.

    Args:
        report_stage: Progress callback.
        every_step: Whether to report every step.
    """

    def __init__(self, report_stage: ProgressCallback, every_step: bool) -> None:
        self._report_stage, self._every_step = report_stage, every_step
        self._validation: dict[str, float] = {}
        self._loss: float | None = None

    def __call__(self, status: TrainingStatus) -> None:
        """Report a status."""
        self._loss = self._loss if status.loss is None else status.loss
        is_new = bool(status.validation) and status.validation != self._validation
        if not (is_new or self._every_step):
            return
        self._validation = status.validation
        words = f"step {status.step} of {status.steps}"
        words += "" if self._loss is None else f", loss {self._loss:.4f}"
        words += f", {_measured(status)}" if status.validation else ""
        words += f"; {_left(status.seconds_left)}" if status.seconds_left is not None else ""
        prefix = f"{status.activity}: epoch {status.epoch}, " if self._every_step else ""
        self._report_stage(prefix + words, status.step / max(status.steps, 1))


def _measured(status: TrainingStatus) -> str:
    names = {
        "dice": "Dice {:.4f}",
        "tre_mm": "TRE {:.2f} mm",
        "lncc": "LNCC {:.4f}",
        "folding_percent": "folding {:.3g} %",
    }
    shown = [form.format(status.validation[name]) for name, form in names.items() if name in status.validation]
    return ", ".join(shown)


def _left(seconds_left: float) -> str:
    minutes, seconds = divmod(round(seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min left" if hours else f"{minutes} min {seconds:02d} s left"
