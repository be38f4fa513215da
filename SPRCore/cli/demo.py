"""`spr demo`: a lung that slides along the chest wall, registered with uniform and with varying stiffness."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from SPRCore import api
from SPRCore.analysis.annotations import Annotations
from SPRCore.analysis.figures import save_figure
from SPRCore.analysis.results import FILES, write_report, write_results
from SPRCore.analysis.sliding import NEAR_VOXELS, Contender, landmark_errors
from SPRCore.analysis.sliding_figure import sliding_figure
from SPRCore.cli.console import ReportStage, has_screen, say, stages, table
from SPRCore.cli.explore import explorer_server
from SPRCore.errors import InputError, SPRError
from SPRCore.geometry import Volume
from SPRCore.io import write_displacement, write_landmarks, write_volume
from SPRCore.io.outputs import REPORT, result_folder
from SPRCore.metrics import evaluate
from SPRCore.regularization import BetaPrior, UniformPrior
from SPRCore.synthetic import Phantom, sliding_thorax

# Fitted to this phantom: a small alpha lets the stiffness vary much, a large lambda_max holds what does not slide.
_PRIOR = BetaPrior(alpha=0.01, lambda_max=5.0)
_LEAST_VOXELS = 32
_EXTENT_MM, _AMPLITUDE_MM = 192.0, 10.0
_NAMES = {"uniform": "Uniform stiffness", "spr": "Varying stiffness (SPR)"}


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Register a phantom whose lungs slide along the chest wall, with uniform and with varying stiffness."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("demo-output")
    """Folder for the figure, the images and the results of both registrations; made if missing."""

    voxels: Annotated[int, arg(metavar="N")] = 96
    """Voxels from side to side and from head to foot, 32 or more; the phantom keeps its size in mm."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; "auto" takes CUDA where there is one."""

    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of the phantom's anatomy and noise."""

    then: Literal["nothing", "explore", "pictures"] = "nothing"
    """What follows: the Explorer with this pair in the browser, until interrupted, where there is a screen; or pictures
    of it in the folder."""

    def run(self, command: str) -> None:
        """Make the phantom, register it twice, print what each gets wrong and write everything."""
        if self.voxels < _LEAST_VOXELS:
            raise InputError("--voxels", got=str(self.voxels), expected=f"{_LEAST_VOXELS} or more")
        device = str(api.pick_device(self.device))
        with stages() as tell, result_folder(self.out, _files(), ()) as folder:
            tell("drawing the phantom")
            phantom = thorax(self.voxels, self.seed)
            write_phantom(phantom, folder)
            spr = self._register(phantom, _PRIOR, "spr", device, folder, tell)
            # The same mean stiffness, so that only its distribution differs.
            mean = spr.strength * float(spr.weight.array.mean())
            uniform = self._register(phantom, UniformPrior(strength=mean), "uniform", device, folder, tell)
            save_figure(sliding_figure(phantom, [uniform, spr]), folder / "figure.png")
            write_report({"command": command, **_numbers(phantom, [uniform, spr])}, folder / REPORT)
        _print(phantom, [uniform, spr], self.out)
        if self.then != "nothing":
            _explore(self.out, pictures=self.then == "pictures" or not has_screen())

    def _register(
        self, phantom: Phantom, prior: BetaPrior | UniformPrior, key: str, device: str, folder: Path, tell: ReportStage
    ) -> Contender:
        def tell_named(stage: str, fraction: float | None = None) -> None:
            tell(f"{_NAMES[key]}: {stage}", fraction)

        annotations = Annotations(
            fixed_labels=phantom.fixed_labels,
            moving_labels=phantom.moving_labels,
            fixed_points=phantom.fixed_points,
            moving_points=phantom.moving_points,
        )
        result = api.register(
            phantom.fixed,
            phantom.moving,
            prior=prior,
            init="none",
            **vars(annotations),
            device=device,
            seed=self.seed,
            progress=tell_named,
        )
        tell_named("writing")
        (folder / key).mkdir()
        write_results(result, *annotations.masked(phantom.fixed, phantom.moving), annotations, folder / key)
        return Contender(
            name=_NAMES[key],
            displacement=result.displacement,
            weight=result.weight,
            strength=prior.scale,
            metrics=result.report["metrics"]["after"],
            seconds=result.report["seconds"]["register"],
        )


def thorax(voxels: int, seed: int) -> Phantom:
    """Draw the phantom of the demonstration: 192 mm from side to side, at any resolution."""
    shape = (voxels, voxels * 5 // 6, voxels)
    return sliding_thorax(shape=shape, spacing=(_EXTENT_MM / voxels,) * 3, amplitude_mm=_AMPLITUDE_MM, seed=seed)


def write_phantom(phantom: Phantom, folder: Path) -> None:
    """Write the images, labels, landmarks and the true displacement of a phantom into a folder that exists."""
    volumes: dict[str, Volume] = {
        "fixed": phantom.fixed,
        "moving": phantom.moving,
        "fixed_labels": phantom.fixed_labels,
        "moving_labels": phantom.moving_labels,
    }
    for name, volume in volumes.items():
        write_volume(volume, folder / f"{name}.nii.gz")
    write_displacement(phantom.displacement, folder / "true_displacement.nii.gz")
    write_landmarks(phantom.fixed_points, folder / "fixed_points.mrk.json")
    write_landmarks(phantom.moving_points, folder / "moving_points.mrk.json")


def _files() -> list[str]:
    """Names of all files of a demonstration."""
    volumes = ("fixed", "moving", "fixed_labels", "moving_labels", "true_displacement")
    points = ("fixed_points.mrk.json", "moving_points.mrk.json")
    return [
        *(f"{name}.nii.gz" for name in volumes),
        *points,
        "figure.png",
        *(f"{key}/{name}" for key in _NAMES for name in FILES),
    ]


def _numbers(phantom: Phantom, contenders: list[Contender]) -> dict[str, Any]:
    """What the table shows, for programs."""
    before = evaluate(fixed_labels=phantom.fixed_labels, moving_labels=phantom.moving_labels)["before"]
    return {
        "before": {"landmark_error": landmark_errors(phantom, None), "dice_mean": before["dice_mean"]},
        **{
            key: {
                "landmark_error": landmark_errors(phantom, contender.displacement),
                "dice_mean": contender.metrics["dice_mean"],
                "folding_percent": contender.metrics["folding_percent"],
                "mean_stiffness": contender.strength * float(contender.weight.array.mean()),
                "seconds": contender.seconds,
            }
            for key, contender in zip(("uniform", "spr"), contenders, strict=True)
        },
    }


def _print(phantom: Phantom, contenders: list[Contender], folder: Path) -> None:
    numbers = _numbers(phantom, contenders)
    columns = [numbers["before"], numbers["uniform"], numbers["spr"]]

    def error(part: str) -> list[str]:
        found = [column["landmark_error"][part] for column in columns]
        return [f"{item['mm']:.2f} / {item['voxel']:.2f}" for item in found]

    def row(key: str, form: str) -> list[str]:
        return [form.format(column[key]) if key in column else "" for column in columns]

    table(
        "A lung that slides along the chest wall: errors at landmarks",
        ("", "before", *(contender.name for contender in contenders)),
        [
            (f"error near the wall (<= {NEAR_VOXELS} voxels) [mm / voxel]", *error("near")),
            ("error away from it [mm / voxel]", *error("away")),
            ("Dice, mean of the labels", *row("dice_mean", "{:.3f}")),
            ("folded voxels [%]", *row("folding_percent", "{:.3g}")),
            ("mean stiffness", *row("mean_stiffness", "{:.2f}")),
            ("time to register [s]", *row("seconds", "{:.1f}")),
        ],
    )
    say(f"The figure that explains it: {folder / 'figure.png'}; all volumes are in {folder} as well.")


def _explore(folder: Path, pictures: bool) -> None:
    """Go on in the Explorer with the pair of the demonstration, or leave pictures of it."""
    pair = (folder / "fixed.nii.gz", folder / "moving.nii.gz")
    settings = f"alpha={_PRIOR.alpha:g}&lambdaMax={_PRIOR.lambda_max:g}"
    try:
        server = explorer_server()
        options = {"pictures": folder if pictures else None, "open_browser": not pictures}
        server.serve(server.Options(pair=pair, settings=settings, port=0, **options), say)
    except SPRError as error:  # the demonstration itself is done
        say(f"The Explorer cannot be shown here. {error}")
