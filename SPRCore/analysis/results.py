"""The folder of results of `spr register`, and the report in it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.config import finite
from SPRCore.geometry import Field, MaskedVolume, Volume, resample
from SPRCore.geometry.annotations import Annotations
from SPRCore.geometry.mesh import joined
from SPRCore.io import write_affine_tfm, write_displacement, write_volume
from SPRCore.io.meshes import write_mesh
from SPRCore.io.outputs import REPORT, record
from SPRCore.metrics.sliding import SlidingSurface
from SPRCore.registration import RegistrationResult
from SPRCore.registration.uncertainty import UncertaintyConfig

_NUMBERS = range(1, UncertaintyConfig().samples + 1)
SAMPLES = tuple(f"uncertainty_samples/displacement_{number:02d}.nii.gz" for number in _NUMBERS)

FILES = (
    "warped.nii.gz",
    "displacement.nii.gz",
    "inverse_displacement.nii.gz",
    "affine.tfm",
    "weight.nii.gz",
    "weight_reliability.nii.gz",
    "uncertainty.nii.gz",
    "warped_labels.nii.gz",
    "sliding.vtk",
    *SAMPLES,
    "figure.png",
    "uncertainty.png",
    REPORT,
)


def write_results(
    result: RegistrationResult, fixed: MaskedVolume, moving: MaskedVolume, annotations: Annotations, folder: Path
) -> dict[str, Any]:
    """Write all files of a registration.

    Args:
        result: Result of `SPRCore.register`.
        fixed: The fixed image with its mask.
        moving: The moving image with its mask.
        annotations: Labels and landmarks of the pair.
        folder: An existing temporary folder, so that no partial result is visible.

    Returns:
        The report as written, without the list of files: that of the result with the seconds for writing.

    Raises:
        OutputError: A file could not be written.
    """
    start = time.perf_counter()
    files = {
        "warped.nii.gz": (write_volume, result.warped),
        "displacement.nii.gz": (write_displacement, result.displacement),
        "inverse_displacement.nii.gz": (write_displacement, result.inverse),
        "weight.nii.gz": (write_volume, result.weight),
    }
    if result.weight_reliability is not None:
        files["weight_reliability.nii.gz"] = (write_volume, result.weight_reliability)
    if result.uncertainty is not None:
        files["uncertainty.nii.gz"] = (write_volume, result.uncertainty)
    if result.samples:
        (folder / SAMPLES[0]).parent.mkdir()
    with ThreadPoolExecutor() as pool:  # compression takes nearly all of the time and releases the lock of Python
        pending = [pool.submit(write, part, folder / name) for name, (write, part) in files.items()]
        if result.affine_ras is not None:
            write_affine_tfm(result.affine_ras, folder / "affine.tfm")
        warped_labels = annotations.warped_labels(result.displacement)
        if warped_labels is not None:
            pending.append(pool.submit(write_volume, warped_labels, folder / "warped_labels.nii.gz"))
        _write_sliding(result.sliding, folder / "sliding.vtk")
        _write_figure(result, fixed, moving, annotations, warped_labels, folder / "figure.png")
        if result.uncertainty is not None:
            _write_uncertainty_figure(result, fixed, warped_labels, folder / "uncertainty.png")
        for writing in pending:
            writing.result()
    for name, sample in zip(SAMPLES, result.samples, strict=False):  # one at a time: each is as large as the result
        write_displacement(result.sampled_displacement(sample), folder / name)
    report = _with_write_seconds(result.report, time.perf_counter() - start)
    write_report(report, folder / REPORT)
    record(folder)
    return report


def _with_write_seconds(report: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return a report with the seconds for writing, and the sum of all stages as the total."""
    stages = {name: value for name, value in report["seconds"].items() if name != "total"} | {"write": seconds}
    return report | {"seconds": {**stages, "total": sum(stages.values())}}


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write a report as JSON; non-finite numbers become null."""
    path.write_text(json.dumps(finite(report), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_sliding(surfaces: Mapping[str, SlidingSurface], path: Path) -> None:
    """Write the surfaces of all labels in one file, with slide and opening in mm and the label at each point.

    Points are colored by the first of these; NaN where the slide was not measured. Valleys of the stiffness have no
    triangles and are left out.
    """
    parts = {name: part for name, part in surfaces.items() if len(part.surface.triangles)}
    if not parts:
        return
    values = {
        "slide_mm": [part.jump.slide for part in parts.values()],
        "opening_mm": [part.jump.opening for part in parts.values()],
        "label": [np.full(len(part.surface.points), float(name)) for name, part in parts.items()],
    }
    mesh = joined([part.surface for part in parts.values()])
    write_mesh(mesh, path, {name: np.concatenate(arrays) for name, arrays in values.items()})


def _write_figure(
    result: RegistrationResult,
    fixed: MaskedVolume,
    moving: MaskedVolume,
    annotations: Annotations,
    warped_labels: Volume | None,
    path: Path,
) -> None:
    # Loaded here, since matplotlib is slow to import.
    from SPRCore.analysis.figures import RegistrationPicture, gray_window, registration_figure, save_figure

    grid, metrics = fixed.grid, result.report["metrics"]
    before_labels = annotations.moving_labels
    picture = RegistrationPicture(
        fixed=fixed.original,
        moving=resample(moving.original, grid),
        fixed_valid=fixed.valid,
        common=_common(fixed, moving, result.displacement),
        moving_window=gray_window(moving.original, moving.valid),
        warped=result.warped,
        displacement=result.displacement,
        weight=result.weight,
        fixed_labels=annotations.on(grid).fixed_labels,
        moving_labels=None if before_labels is None else resample(before_labels, grid, labels=True),
        warped_labels=warped_labels,
        before=metrics["before"],
        after=metrics["after"],
        title=_title(result.report),
    )
    save_figure(registration_figure(picture), path)


def _write_uncertainty_figure(
    result: RegistrationResult, fixed: MaskedVolume, warped_labels: Volume | None, path: Path
) -> None:
    from SPRCore.analysis.figures import save_figure
    from SPRCore.analysis.uncertainty_figure import uncertainty_figure

    shown = result.warped, result.displacement, result.uncertainty
    given = {"labels": warped_labels, "valid": fixed.valid, "title": _title(result.report)}
    save_figure(uncertainty_figure(*shown, **given), path)


def _common(fixed: MaskedVolume, moving: MaskedVolume, displacement: Field) -> tuple[np.ndarray, np.ndarray]:
    """Masks of valid data in both images, before and after, eroded by voxels interpolated with padding."""
    still, moved = (moving.known_on(fixed.grid, displacement=by) for by in (None, displacement))
    if moving.valid is not None:
        from scipy.ndimage import binary_erosion

        still, moved = (binary_erosion(part, border_value=1) for part in (still, moved))
    return (still, moved) if fixed.valid is None else (still & fixed.valid, moved & fixed.valid)


def _title(report: dict[str, Any]) -> str:
    settings = dict(report["hyperparameters"])
    prior = settings.pop("prior")
    values = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    return f"method {report['method']}, {prior} prior, {values}"
