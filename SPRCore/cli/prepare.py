"""`spr prepare`: check and prepare the images of a recipe before training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from SPRCore.cli.console import print_line, progress_display
from SPRCore.io.outputs import check_outputs, check_replaceable
from SPRCore.training.data import build_datasets
from SPRCore.training.data.splits import read_split, write_split
from SPRCore.training.recipe import read_recipe


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Check all files of a recipe's data, and prepare the images for training."""

    recipe: Annotated[Positional[Path], arg(metavar="RECIPE.yaml")]
    """Recipe, as for `spr train`."""

    overrides: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]],
        arg(name="set", metavar="KEY=VALUE", help_behavior_hint="(repeatable)"),
    ] = ()
    """Changes to the recipe, such as data.folder=DIR."""

    split: Annotated[Path | None, arg(metavar="S", help_behavior_hint="(optional)")] = None
    """JSON file to which the split of the subjects is written, for data.split.file."""

    def run(self, command: str) -> None:
        """Check and prepare the images, and print a summary."""
        recipe = read_recipe(self.recipe, [change for group in self.overrides for change in group])
        if self.split is not None:
            given = recipe.data
            read = [self.recipe, given.split.file, given.listing, given.atlas_image, given.atlas_labels]
            check_outputs([self.split], read, "choose another --split")
            check_replaceable(self.split, lambda path: read_split(path) is not None, "choose another --split")
        try:
            with progress_display() as report_stage:
                data = build_datasets(recipe, report_stage)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; spr prepare resumes where it stopped") from None
        for name, value in data.report.items():
            print_line(f"{name.replace('_', ' ')}: {_plain(value)}")
        print_line(f"labels: {', '.join(map(str, data.labels)) or 'none'}")
        if self.split is not None:
            write_split(data.split, self.split)
            print_line(f"written: {self.split}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(" x ".join(map(str, entry)) for entry in value)
    return str(value)
