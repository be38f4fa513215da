"""`spr demo`: a lung that slides along the chest wall, registered with uniform and with varying stiffness."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from tyro.conf import arg

from SPRCore import api
from SPRCore.analysis.figures import save_figure
from SPRCore.analysis.results import write_report
from SPRCore.analysis.sliding import NEAR_VOXELS, ComparedResult, wall_errors
from SPRCore.analysis.sliding_figure import sliding_figure
from SPRCore.api import ProgressCallback
from SPRCore.cli.console import has_screen, print_line, print_table, progress_display
from SPRCore.cli.explore import explorer_server
from SPRCore.errors import InputError, SPRError
from SPRCore.functional import kept_memory
from SPRCore.geometry import MaskedVolume, Volume, resample
from SPRCore.io import write_displacement, write_landmarks, write_volume
from SPRCore.io.outputs import REPORT, result_folder
from SPRCore.metrics import folding_percent
from SPRCore.registration import InstanceConfig
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.job import make_job
from SPRCore.registration.pair import problem_of, to_world
from SPRCore.regularization import BetaPrior, Prior, UniformPrior
from SPRCore.synthetic import Phantom, sliding_thorax

_LEAST_VOXELS = 32
_EXTENT_MM, _AMPLITUDE_MM = 192.0, 10.0
_SPR = "spr"
# The two uniform strengths are those of docs/results/demo that are best near the wall and away from it from the
# search; the setting of the beta prior serves all sliding phantoms (docs/adr/0018-discrete-search.md).
COMPARED_PRIORS: dict[str, Prior] = {
    "uniform-0.1": UniformPrior(strength=0.1),
    "uniform-1": UniformPrior(strength=1.0),
    _SPR: BetaPrior(alpha=0.02, lambda_max=20.0),
}
"""Priors of the registrations that are compared."""
_CHOICE = (
    "All three start from one search. Of nine uniform strengths from 0.1 to 10, 0.1 is the best near the wall and 1 "
    "away from it from that search (96 voxels, seed 0)."
)
_NAMES = {"uniform-0.1": "Uniform 0.1", "uniform-1": "Uniform 1", _SPR: "Varying (SPR)"}
_VOLUMES = ("fixed", "moving", "fixed_labels", "moving_labels")
_RESULTS = ("displacement", "warped", "weight")
_SETTINGS = "anatomy=lung"  # includes the search, and is within the ranges of the sliders


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Register a phantom whose lungs slide along the chest wall, with uniform and with varying stiffness."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("demo-output")
    """Folder for the figure, the images and the results; made if missing."""

    voxels: Annotated[int, arg(metavar="N")] = 96
    """Voxels in left-right and superior-inferior direction, 32 or more; the size in mm is fixed."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Compute device; "auto" takes CUDA if available."""

    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of the phantom's anatomy and noise."""

    then: Literal["nothing", "explore", "pictures"] = "nothing"
    """Next step: the Explorer with this pair in the browser until interrupted, or pictures of it in the folder
    (also for "explore" without a screen)."""

    def run(self, command: str) -> None:
        """Make the phantom, register it with three priors, print the errors and write all results."""
        if self.voxels < _LEAST_VOXELS:
            raise InputError("--voxels", got=str(self.voxels), expected=f"{_LEAST_VOXELS} or more")
        device = api.pick_device(self.device)
        with progress_display() as report, result_folder(self.out, _files(), ()) as folder:
            report("generating the phantom")
            phantom = thorax(self.voxels, self.seed)
            write_phantom(phantom, folder)
            contenders = _registered(phantom, device, report)
            report("writing")
            for key, contender in contenders.items():
                _write(phantom, contender, folder / key)
            save_figure(sliding_figure(phantom, list(contenders.values()), _CHOICE), folder / "figure.png")
            numbers = _numbers(phantom, contenders)
            write_report({"command": command, **numbers}, folder / REPORT)
        _print(numbers, self.out)
        if self.then != "nothing":
            _explore(self.out, pictures=self.then == "pictures" or not has_screen())


def thorax(voxels: int, seed: int) -> Phantom:
    """Generate the phantom of the demonstration: 192 mm wide, at any resolution."""
    shape = (voxels, voxels * 5 // 6, voxels)
    return sliding_thorax(shape=shape, spacing=(_EXTENT_MM / voxels,) * 3, amplitude_mm=_AMPLITUDE_MM, seed=seed)


def write_phantom(phantom: Phantom, folder: Path) -> None:
    """Write images, labels, landmarks and true displacement of a phantom into an existing folder."""
    for name in _VOLUMES:
        write_volume(getattr(phantom, name), folder / f"{name}.nii.gz")
    write_displacement(phantom.displacement, folder / "true_displacement.nii.gz")
    write_landmarks(phantom.fixed_points, folder / "fixed_points.mrk.json")
    write_landmarks(phantom.moving_points, folder / "moving_points.mrk.json")


def _registered(phantom: Phantom, device: torch.device, report: ProgressCallback) -> dict[str, ComparedResult]:
    """Register with every prior from one discrete search, which depends on the images alone."""
    fixed, moving = MaskedVolume.of(phantom.fixed, "fixed image"), MaskedVolume.of(phantom.moving, "moving image")
    job = make_job(None, fixed.grid, device, config=InstanceConfig.searching())
    with kept_memory():
        start = time.perf_counter()
        report("discrete search")
        problem = problem_of(fixed, moving, None, job)
        for _ in problem.searched():
            pass
        search_seconds = time.perf_counter() - start
        return {key: _contender(phantom, problem, key, search_seconds, report) for key in COMPARED_PRIORS}


def _contender(
    phantom: Phantom, problem: InstanceProblem, key: str, search_seconds: float, report: ProgressCallback
) -> ComparedResult:
    prior, name, start = COMPARED_PRIORS[key], _NAMES[key], time.perf_counter()
    solved = problem.course(prior).completed(lambda done: report(f"{name}: registering", done))
    found = to_world(solved, phantom.fixed.grid)
    return ComparedResult(
        name=name,
        displacement=found.displacement,
        weight=found.weight,
        strength=prior.scale,
        seconds=search_seconds + time.perf_counter() - start,
    )


def _write(phantom: Phantom, contender: ComparedResult, folder: Path) -> None:
    folder.mkdir()
    write_displacement(contender.displacement, folder / "displacement.nii.gz")
    warped: Volume = resample(phantom.moving, phantom.fixed.grid, displacement=contender.displacement)
    write_volume(warped, folder / "warped.nii.gz")
    write_volume(contender.weight, folder / "weight.nii.gz")


def _files() -> list[str]:
    """Names of the output files."""
    volumes = (*_VOLUMES, "true_displacement", *(f"{key}/{name}" for key in COMPARED_PRIORS for name in _RESULTS))
    points = ("fixed_points.mrk.json", "moving_points.mrk.json")
    return [*(f"{name}.nii.gz" for name in volumes), *points, "figure.png"]


def _numbers(phantom: Phantom, contenders: dict[str, ComparedResult]) -> dict[str, Any]:
    """The values of the table for the report: errors in mm."""
    found: dict[str, Any] = {
        key: {
            "error_mm": wall_errors(phantom, contender.displacement),
            "folding_percent": folding_percent(contender.displacement),
            "mean_stiffness": contender.strength * float(contender.weight.array.mean()),
            "seconds": contender.seconds,
        }
        for key, contender in contenders.items()
    }
    return {
        "voxel_mm": min(phantom.fixed.spacing),
        "before": {"error_mm": wall_errors(phantom, None)},
        **found,
        "error_of_best_uniform": {region: _ratio(found, region) for region in ("near", "away")},
    }


def _ratio(found: dict[str, Any], region: str) -> float:
    """Error with varying stiffness, relative to that of the better uniform one."""
    errors = {key: column["error_mm"][region] for key, column in found.items()}
    return errors.pop(_SPR) / min(errors.values())


def _print(numbers: dict[str, Any], folder: Path) -> None:
    columns = [numbers["before"], *(numbers[key] for key in COMPARED_PRIORS)]

    def error(region: str) -> list[str]:
        found = [column["error_mm"][region] for column in columns]
        return [f"{mm:.2f} / {mm / numbers['voxel_mm']:.2f}" for mm in found]

    def row(key: str, form: str) -> list[str]:
        return [form.format(column[key]) if key in column else "" for column in columns]

    print_table(
        "A lung that slides along the chest wall: error of the displacement",
        ("", "before", *_NAMES.values()),
        [
            (f"near the wall (<= {NEAR_VOXELS} voxels) [mm / voxel]", *error("near")),
            ("away from it [mm / voxel]", *error("away")),
            ("folded voxels [%]", *row("folding_percent", "{:.3g}")),
            ("mean stiffness", *row("mean_stiffness", "{:.3g}")),
            ("time, search included [s]", *row("seconds", "{:.1f}")),
        ],
    )
    near, away = numbers["error_of_best_uniform"].values()
    print_line(
        f"Varying stiffness has {near:.2f} times the error of the better uniform one near the wall, {away:.2f} away."
    )
    print_line(f"{_CHOICE} See docs/results/demo/table.md.")
    print_line(f"Figure: {folder / 'figure.png'}; all volumes are in {folder}.")


def _explore(folder: Path, pictures: bool) -> None:
    """Open the pair of the demonstration in the Explorer, or write pictures of it."""
    pair = (folder / "fixed.nii.gz", folder / "moving.nii.gz")
    try:
        server = explorer_server()
        options = {"pictures": folder if pictures else None, "open_browser": not pictures}
        server.serve(server.ServerOptions(pair=pair, settings=_SETTINGS, port=0, **options), print_line)
    except SPRError as error:  # the demonstration itself has succeeded
        print_line(f"The Explorer cannot be shown here. {error}")
