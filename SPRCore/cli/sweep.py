"""`spr sweep`: evaluate a model on a grid of settings, on pairs with labels or landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import Positional, UseAppendAction, arg

from SPRCore.analysis.benchmark import BenchmarkOptions
from SPRCore.analysis.methods import MethodSpec, parse_methods
from SPRCore.analysis.rows import SurfacePoint, read_rows
from SPRCore.cli.benchmark import assignments, check_apart, check_processes
from SPRCore.cli.console import print_line, progress_display
from SPRCore.cli.evaluation_pairs import given_pairs, input_files, pair_init
from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.io.outputs import check_outputs, removed_if_refused
from SPRCore.io.pairs import PairFiles, PairList
from SPRCore.registration.devices import pick_device
from SPRCore.tuning.axes import grid, grid_axes, trained_ends
from SPRCore.tuning.panels import PANELS, panel_settings, save_panels
from SPRCore.tuning.sweep import SURFACE, SweepOptions, run_sweep

Words = UseAppendAction[tuple[tuple[str, ...], ...]]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Evaluate a hyper model at every setting of a grid on pairs, each encoded once."""

    method: Annotated[Positional[str], arg(metavar="NAME|BUNDLE")]
    """Hyper model: its name or the path of its bundle. Also instance or uniform, for the solver without a model."""

    pairs: Annotated[Path | None, arg(metavar="LIST.csv", help_behavior_hint="(this or --recipe)")] = None
    """Pairs, one per row, as for spr benchmark."""

    recipe: Annotated[Path | None, arg(metavar="RECIPE.yaml", help_behavior_hint="(this or --pairs)")] = None
    """Recipe with the pairs, as for spr benchmark."""

    chosen: Annotated[Words, arg(name="set", metavar="SET|KEY=VALUE", help_behavior_hint="(with --recipe)")] = ()
    """Set of the recipe, validation or test, and changes to the recipe, such as validation data.folder=DIR."""

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for surface.jsonl. A run resumes where it stopped."""

    grid: Annotated[Words, arg(metavar="NAME=LOW:HIGH:STEP,...", help_behavior_hint="(optional)")] = ()
    """Hyperparameters to vary, such as alpha=0:0.1:0.005; LOW:HIGH gives --points values, a number fixes one. By
    default all hyperparameters of the model, up to 1.2 times the largest value of its training; the strength of a
    HyperMorph is λ/(1 - λ)."""

    preset: Annotated[Literal["body", "brain", "heart"] | None, arg(help_behavior_hint="(optional)")] = None
    """Steps of the paper for this task."""

    points: Annotated[int, arg(metavar="N")] = 20
    """Values of each hyperparameter whose step is not given."""

    keep: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PAIR", help_behavior_hint="(repeatable)")] = ()
    """Pair whose images and fields are saved at up to five values of each hyperparameter, for a figure of
    spr report."""

    processes: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: one per core)")] = None
    """Number of processes; more than one needs the extra `cluster`."""

    scheduler: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(optional)")] = None
    """Address of a running dask scheduler, such as tcp://host:8786, whose workers measure in place of own processes."""

    init: Literal["auto", "none", "center", "rigid", "affine"] = "auto"
    """Affine pre-alignment, as for spr benchmark."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Compute device."""

    def run(self, command: str) -> None:
        """Run the sweep, and print the best setting."""
        method = method_of(self.method)
        axes = grid_axes(method, assignments(self.grid, "--grid"), self.preset, self.points)
        pick_device(self.device)
        pairs = given_pairs(self.pairs, self.recipe, self.chosen)
        settings, kept, init = grid(axes), self._kept(pairs), pair_init(self.init, self.recipe)
        read = [path for path in (self.pairs, self.recipe, *input_files(pairs)) if path is not None]
        check_outputs([self.out / SURFACE], read)
        check_apart(self.out / PANELS, read)
        check_processes(self.processes)
        options = SweepOptions(init=init, device=self.device, processes=self.processes, scheduler=self.scheduler)
        try:
            begun = removed_if_refused(self.out, (SURFACE,), lambda: _has_points(self.out / SURFACE))
            with begun, progress_display() as report_stage:
                words = f"{len(settings)} settings on {len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'}"
                report_stage(words, 0.0)
                points = run_sweep(
                    pairs,
                    method,
                    settings,
                    self.out,
                    options,
                    command=command,
                    report=lambda n, of: report_stage(words, n / of),
                )
                shown, common = panel_settings(axes), BenchmarkOptions(init=init, device=self.device)
                for pair in kept:
                    report_stage(f"images of {pair.pair} at {len(shown)} settings", 1.0)
                    save_panels(pair, method, shown, self.out, common)
        except KeyboardInterrupt:
            where = self.out / SURFACE
            raise KeyboardInterrupt(f"interrupted; results so far are in {where}, the same command resumes") from None
        failed = sum(point.failed is not None for point in points)
        print_line(f"{len(points)} points{f', {failed} of them failed' if failed else ''} in {self.out / SURFACE}")
        print_line(best_words(points, trained_ends(method)))

    def _kept(self, pairs: PairList) -> list[PairFiles]:
        for name in self.keep:
            check_name(name, [pair.pair for pair in pairs], "--keep")
        return [pair for pair in pairs if pair.pair in self.keep]


def _has_points(path: Path) -> bool:
    return path.exists() and bool(read_rows(path, SurfacePoint).rows)


def method_of(text: str) -> MethodSpec:
    """Parse the specification of exactly one method (`InputError` otherwise)."""
    methods = parse_methods([text])
    if len(methods) != 1:
        raise InputError("method", got=repr(text), expected="one method")
    return methods[0]


def best_words(points: Sequence[SurfacePoint], trained: Mapping[str, float] | None = None) -> str:
    """Return a line with the setting that is best in the mean over pairs, by overlap, landmark error or similarity.

    It says if the setting is beyond the largest values of the training in `trained`.
    """
    for name, form, sign in (
        ("dice_mean", "mean Dice", 1),
        ("tre_mm", "landmark error in mm", -1),
        ("lncc", "LNCC", 1),
    ):
        means: dict[tuple, list[float]] = {}
        for point in points:
            if getattr(point, name) is not None:
                means.setdefault(tuple(point.setting.items()), []).append(getattr(point, name))
        pairs = max(map(len, means.values()), default=0)
        whole = {setting: float(np.mean(values)) for setting, values in means.items() if len(values) == pairs}
        if whole:
            best = max(whole, key=lambda setting: sign * whole[setting])
            at = ", ".join(f"{key} {value:g}" for key, value in best)
            ends = [f"{key} {trained[key]:g}" for key, value in best if trained and value > trained.get(key, value)]
            beyond = f" (beyond training, which ended at {', '.join(ends)})" if ends else ""
            return f"best {form}: {whole[best]:.4f} at {at}{beyond}"
    return "no metric could be computed"
