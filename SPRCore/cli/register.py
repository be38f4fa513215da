"""`spr register`: deform one image onto another and write a folder of results."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from tyro.conf import Positional, arg

from SPRCore import api
from SPRCore.analysis.results import FILES, write_results
from SPRCore.cli.console import print_line, print_table, progress_display
from SPRCore.cli.priors import prior_from_options
from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.geometry.annotations import Annotations
from SPRCore.io import read_labels, read_landmarks, read_volume
from SPRCore.io.outputs import result_folder, sha256
from SPRCore.metrics.sliding import VALLEY
from SPRCore.registration.job import INSTANCE, model_path
from SPRCore.registration.solver import InstanceConfig
from SPRCore.registration.uncertainty import UncertaintyConfig
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior
from SPRCore.regularization.contrast import MOST_AT_BOUND_PERCENT


def _default(value: float) -> str:
    return f"(default: {value:g}, or that of the model)"


_OPTIONS = ("anatomy", "detail", "similarity", "refine", "weight_reliability", "sliding", "seed")

_LAMBDA_MAX = (
    f"(default: {BetaPrior().lambda_max:g}, for tv {TotalVariationPrior().lambda_max:g}, or that of the model)"
)


@dataclass(frozen=True, kw_only=True)
class Register:
    """Deform MOVING onto FIXED, and write images, displacements, weight map, figure and report to a folder."""

    fixed: Annotated[Positional[Path], arg(metavar="FIXED")]
    """Fixed image: NIfTI, NRRD, MetaImage, or the folder of a DICOM series; PATH#3 for frame 3 of a 4-D image."""

    moving: Annotated[Positional[Path], arg(metavar="MOVING")]
    """Moving image, on any grid."""

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for the results; created if missing."""

    method: Annotated[str, arg(metavar="NAME|BUNDLE")] = api.INSTANCE
    """How to register. "instance": minimize the energy for this pair, without any training. Otherwise the name of a
    model (see spr models list), or the path of its bundle."""

    refine: Annotated[int, arg(metavar="N")] = 0
    """With a model: maximum number of refinement steps of the instance solver."""

    prior: Annotated[
        str | None,
        arg(
            metavar="beta|gaussian|tv|uniform|auto",
            help_behavior_hint="(default: that of the model or the values below, or beta)",
        ),
    ] = None
    """Prior on the weight of the regularization; "auto" chooses a setting for this pair, without labels."""

    anatomy: Annotated[
        Literal["brain", "heart", "lung", "liver", "pelvis"] | None, arg(help_behavior_hint="(optional)")
    ] = None
    """Use the setting measured for this part of the body instead of a prior and its values."""

    alpha: Annotated[float | None, arg(metavar="A", help_behavior_hint=_default(BetaPrior().alpha))] = None
    """Beta prior: spatial coherence, 0 or more. The larger, the less the stiffness varies."""

    lambda_max: Annotated[float | None, arg(metavar="L", help_behavior_hint=_LAMBDA_MAX)] = None
    """Beta and total-variation prior: the stiffness of a voxel of weight 1, above 0."""

    sigma: Annotated[float | None, arg(metavar="S", help_behavior_hint=_default(GaussianPrior().sigma))] = None
    """Gaussian prior: spatial coherence, 0 or more. The larger, the less the stiffness varies."""

    lambda_mean: Annotated[float | None, arg(metavar="L", help_behavior_hint=_default(GaussianPrior().lambda_mean))] = (
        None
    )
    """Gaussian prior: the stiffness of a voxel of weight 1, above 0."""

    tv: Annotated[float | None, arg(metavar="T", help_behavior_hint=_default(TotalVariationPrior().tv))] = None
    """Total-variation prior: cost of a gradient, above 0. The larger, the less the displacement may jump."""

    strength: Annotated[
        float | None, arg(name="lambda", metavar="L", help_behavior_hint=_default(UniformPrior().strength))
    ] = None
    """Uniform prior: the same stiffness everywhere, above 0."""

    init: Literal["auto", "none", "center", "rigid", "affine"] = "auto"
    """Affine pre-alignment; "auto" decides by the pair."""

    similarity: Annotated[
        Literal["lncc", "mind", "mse"] | None, arg(help_behavior_hint="(default: lncc, or that of the model)")
    ] = None
    """Similarity of the images: local correlation for one contrast, MIND descriptors for different contrasts (T1 and
    T2, CT and MR), mean squares for images of one scanner and protocol."""

    start: Literal["rest", "search"] = "rest"
    """Start of the instance solver: rest, or the displacement found by a discrete search over blocks, for large motion
    that differs between neighbors, such as a liver sliding along the ribs."""

    detail: Literal["standard", "fine"] = "standard"
    """Detail of the deformation that the instance solver finds: "fine" takes three times as long, and in brains matches
    small structures better."""

    fixed_labels: Annotated[Path | None, arg(metavar="F", help_behavior_hint="(optional)")] = None
    """Label map of the fixed image. Labels and landmarks measure the result and are not used to register."""

    moving_labels: Annotated[Path | None, arg(metavar="M", help_behavior_hint="(optional)")] = None
    """Label map of the moving image."""

    fixed_points: Annotated[Path | None, arg(metavar="P", help_behavior_hint="(optional)")] = None
    """Landmarks of the fixed image: .mrk.json, .fcsv, .txt or .csv."""

    moving_points: Annotated[Path | None, arg(metavar="Q", help_behavior_hint="(optional)")] = None
    """Landmarks of the moving image, in the same order."""

    fixed_mask: Annotated[Path | None, arg(metavar="K", help_behavior_hint="(optional)")] = None
    """Mask of the fixed image: voxels of value 0 are ignored. Padding and NaN are masked automatically."""

    moving_mask: Annotated[Path | None, arg(metavar="K", help_behavior_hint="(optional)")] = None
    """Mask of the moving image."""

    fixed_channel: Annotated[Path | None, arg(metavar="C", help_behavior_hint="(optional)")] = None
    """Second channel of the fixed image, such as the SUV of a CT, on any grid; it counts as much as the image.
    Models take one if they were trained with one."""

    moving_channel: Annotated[Path | None, arg(metavar="C", help_behavior_hint="(optional)")] = None
    """Second channel of the moving image."""

    weight_reliability: bool = False
    """Check how reproducible the weight map is: register with the images swapped and twice with noise added, which
    takes four times as long in all, and write the standard deviation of the weight."""

    sliding: bool = False
    """Measure how far tissue slides in the valleys of the stiffness, too; on the surfaces of labels it is measured in
    any case."""

    uncertainty: bool = False
    """Also write uncertainty.nii.gz: how far the displacement may be from the true one, one standard deviation in
    mm."""

    uncertainty_samples: Annotated[int, arg(metavar="N")] = 0
    """With --uncertainty: also write N sampled displacements, 24 at most, to the folder uncertainty_samples."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Compute device; "auto" is CUDA if present, otherwise the CPU."""

    seed: Annotated[int, arg(metavar="N")] = 0
    """Seed of all random numbers."""

    def run(self, command: str) -> None:
        """Read, register, write, and print the metrics before and after."""
        prior = prior_from_options(self, api.card_of(self.method), api.AUTO)
        options = api.RegistrationOptions(
            **{name: getattr(self, name) for name in _OPTIONS},
            config=self._config(),
            uncertainty=self._uncertainty(),
        )
        # Entered first: a folder that cannot be written is reported before anything is computed.
        with (
            progress_display() as report_stage,
            result_folder(self.out, FILES, self._inputs(), complete=True) as folder,
        ):
            report_stage("reading")
            start = time.perf_counter()
            images = read_volume(self.fixed), read_volume(self.moving)
            annotations = read_annotations(self, *images)
            fixed, moving = annotations.masked(*images)
            origin = {"fixed": self._origin(self.fixed), "moving": self._origin(self.moving)}
            seconds = time.perf_counter() - start
            result = api.register(
                fixed,
                moving,
                method=self.method,
                prior=prior,
                init=self.init,
                annotations=annotations,
                device=self.device,
                options=replace(options, progress=report_stage),
            )
            result = replace(result, report=_with_origin(result.report, command, origin, seconds))
            report_stage("writing")
            result = replace(result, samples=result.samples[: self.uncertainty_samples])
            report = write_results(result, fixed, moving, annotations, folder)
        _summary(report, self.out)

    def _config(self) -> InstanceConfig | None:
        if self.start == "rest":
            return None
        if self.method != INSTANCE:
            expected = f"the method {INSTANCE}"
            remedy = "leave out --start: refinement starts from the output of the model"
            raise InputError(
                "--start search", got=f"together with the method {self.method}", expected=expected, remedy=remedy
            )
        return InstanceConfig.searching()

    def _uncertainty(self) -> UncertaintyConfig | None:
        most = UncertaintyConfig().samples
        if not 0 <= self.uncertainty_samples <= (most if self.uncertainty else 0):
            expected = f"0 to {most}, and --uncertainty"
            got = f"{self.uncertainty_samples}{'' if self.uncertainty else ' without --uncertainty'}"
            raise InputError("--uncertainty-samples", got=got, expected=expected)
        return UncertaintyConfig() if self.uncertainty else None

    def _inputs(self) -> list[Path | None]:
        return [self.fixed, self.moving, *annotation_files(self), model_path(self.method)]

    def _origin(self, path: Path) -> dict[str, Any]:
        digest = sha256(path)
        return {"path": str(path)} | ({"sha256": digest} if digest else {})


class HasAnnotations(Protocol):
    """A command with options for labels and landmarks."""

    fixed_labels: Path | None
    moving_labels: Path | None
    fixed_points: Path | None
    moving_points: Path | None


def annotation_files(command: HasAnnotations) -> list[Path | None]:
    """Return the paths of all labels, landmarks and masks of a command; None for those not given."""
    return [getattr(command, part.name, None) for part in fields(Annotations)]


def read_annotations(command: HasAnnotations, fixed: Volume | None = None, moving: Volume | None = None) -> Annotations:
    """Read the labels, landmarks and masks of a command.

    Args:
        command: The command.
        fixed: Fixed image, for landmarks in voxel indices.
        moving: Moving image, likewise.

    Raises:
        InputError: A file is unusable, or labels or landmarks of one image only were given.
    """
    for what, one, other in (
        ("labels", command.fixed_labels, command.moving_labels),
        ("landmarks", command.fixed_points, command.moving_points),
    ):
        if (one is None) != (other is None):
            raise InputError(what, got="those of one image only", expected="those of the fixed and the moving image")
    return Annotations(
        fixed_labels=_labels(command.fixed_labels),
        moving_labels=_labels(command.moving_labels),
        fixed_mask=_labels(getattr(command, "fixed_mask", None)),
        moving_mask=_labels(getattr(command, "moving_mask", None)),
        fixed_channel=_channel(getattr(command, "fixed_channel", None)),
        moving_channel=_channel(getattr(command, "moving_channel", None)),
        fixed_points=_points(command.fixed_points, fixed),
        moving_points=_points(command.moving_points, moving),
    )


def _labels(path: Path | None) -> Volume | None:
    return None if path is None else read_labels(path)


def _channel(path: Path | None) -> Volume | None:
    return None if path is None else read_volume(path)


def _points(path: Path | None, image: Volume | None) -> np.ndarray | None:
    return None if path is None else read_landmarks(path, grid=None if image is None else image.grid)


def _with_origin(report: dict[str, Any], command: str, origin: dict[str, Any], load_seconds: float) -> dict[str, Any]:
    """Add the command, the input files and the time to read them."""
    seconds = report["seconds"]
    timed = {"load": load_seconds, **seconds, "total": seconds["total"] + load_seconds}
    inputs = {name: origin[name] | image for name, image in report["inputs"].items()}
    return {
        "schema_version": report["schema_version"],
        "command": command,
        **report,
        "inputs": inputs,
        "seconds": timed,
    }


def _summary(report: dict[str, Any], folder: Path) -> None:
    print_table("Registration", ("", "before", "after"), metric_rows(report["metrics"]))
    weight = report["metrics"]["after"]["weight"]
    print_line(weight_line(weight, report["hyperparameters"]))
    if "reliability" in weight:
        print_line(reliability_line(weight["reliability"]))
    sliding = report["metrics"]["after"].get("sliding_mm")
    if sliding:
        columns = ("surface", "slide, mean [mm]", "slide, 95th percentile", "opening, 5th to 95th", "measured [%]")
        print_table("Sliding", columns, sliding_rows(sliding))
    if "prior" in report:
        print_line(choice_line(report["prior"]))
    print_line(f"{report['seconds']['total']:.1f} s on {report['device']}; results in {folder}")


def weight_line(weight: dict[str, Any], setting: dict[str, Any]) -> str:
    """Return a line about the weights; without contrast with the setting that is estimated to restore it.

    Args:
        weight: ``metrics.after.weight`` of the report.
        setting: ``hyperparameters`` of the report.
    """
    at_maximum, at_zero = weight["maximum_percent"], weight["zero_percent"]
    if weight["verdict"] == "uniform":
        return "stiffness map: the same everywhere, as the uniform prior has it"
    most = f"90 % of the voxels between {weight['p05']:.2f} and {weight['p95']:.2f}"
    if weight["verdict"] == "informative":
        return f"stiffness map: {most}, {at_maximum:.0f} % at the maximum, {at_zero:.0f} % at 0"
    if max(at_maximum, at_zero) >= MOST_AT_BOUND_PERCENT:
        most = f"{max(at_maximum, at_zero):.0f} % of the voxels at {'the maximum' if at_maximum > at_zero else '0'}"
    moves = [f"{name} {value:g} instead of {setting[name]:g}" for name, value in weight["move"].items()]
    return f"the stiffness map says little: {most}" + "".join(f"; {move} should show differences" for move in moves)


def reliability_line(found: dict[str, Any]) -> str:
    """Return a line with the agreement of repeated registrations, from ``metrics.after.weight.reliability``."""
    icc = "unknown, since the maps are constant" if found["icc"] is None else f"{found['icc']:.2f}"
    sd = f"standard deviation {found['sd']['median']:.3f} (median), {found['sd']['p95']:.3f} (95th percentile)"
    what = f"reliability of the stiffness map over {found['registrations']} registrations"
    return f"{what}: intraclass correlation {icc}; {sd}"


def choice_line(choice: dict[str, Any]) -> str:
    """Return a line with the setting that was chosen for a pair, from the report."""
    if not choice["candidates"]:
        return f"no setting could be chosen for this pair: {_setting(choice['chosen'])} is the default"
    scores = {_setting(row["setting"]): f"{row['similarity']:.3f}" for row in choice["candidates"]}
    chosen, default = _setting(choice["chosen"]), _setting(choice["default"])
    held = f"held-out similarity {scores[chosen]}; default {scores.get(default, 'not compared')}"
    return f"setting chosen for this pair: {chosen} ({held})"


def _setting(values: dict[str, Any]) -> str:
    return ", ".join([values["prior"], *(f"{key} {value:g}" for key, value in values.items() if key != "prior")])


def metric_rows(metrics: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row (name, before, after) for each metric of a report; an empty string where one side lacks it."""
    picks = (
        ("Dice, mean of the labels", "{:.3f}", ("dice_mean",)),
        ("landmark error, mean [mm]", "{:.2f}", ("tre_mm", "mean")),
        ("landmark error, 95th percentile [mm]", "{:.2f}", ("tre_mm", "p95")),
        ("local correlation (LNCC)", "{:.3f}", ("lncc",)),
        ("MIND similarity", "{:.3f}", ("mind",)),
        ("mean-squares similarity", "{:.3f}", ("mse",)),
        ("folded voxels [%]", "{:.3g}", ("folding_percent",)),
        ("non-diffeomorphic volume [%]", "{:.3g}", ("ndv_percent",)),
        ("displacement, largest [mm]", "{:.1f}", ("displacement_mm", "max")),
        ("uncertainty, median [mm]", "{:.2f}", ("uncertainty_mm", "median")),
        ("uncertainty, 95th percentile [mm]", "{:.2f}", ("uncertainty_mm", "p95")),
        ("inverse consistency, mean [mm]", "{:.3f}", ("inverse_consistency_mm", "mean")),
    )
    rows = []
    for name, form, keys in picks:
        values = [_look_up(metrics.get(side, {}), keys) for side in ("before", "after")]
        if any(value is not None for value in values):
            rows.append((name, *("" if value is None else form.format(value) for value in values)))
    return rows


def sliding_rows(sliding: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each surface of a report: name, slide, opening, and the part of the area that was measured."""
    rows = []
    for name, part in sliding.items():
        words = f"label {name}" if name != VALLEY else "valleys of the stiffness"
        numbers = ("", "", "")
        if part["slide"] is not None:
            slide, opening = part["slide"], part["opening"]
            ends = f"{opening['p05']:.1f} to {opening['p95']:.1f}"
            numbers = (f"{slide['mean']:.1f}", f"{slide['p95']:.1f}", ends)
        rows.append((words, *numbers, f"{part['measured_percent']:.0f}"))
    return rows


def _look_up(metrics: Any, keys: tuple[str, ...]) -> float | None:
    for key in keys:
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return metrics
