"""Time of every stage of `spr register` on one pair, compared with SimpleITK where it has the stage."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from measure import median_seconds

from SPRCore import metrics
from SPRCore.api import register
from SPRCore.geometry import MaskedVolume, displacement_mm_to_vox, flip_lps_ras, resample
from SPRCore.io import read_volume, write_displacement
from SPRCore.io.itk import to_itk
from SPRCore.registration import prealign


def measure_stages(folder, repeats):
    """Seconds of each stage of SPRCore and of SimpleITK, and the difference of their results."""
    paths = [folder / f"{part}.nii.gz" for part in ("fixed", "moving")]
    rows = {"read one image": _row(lambda: read_volume(paths[0]), lambda: sitk.ReadImage(str(paths[0])), repeats)}
    fixed, moving = map(read_volume, paths)
    pair = MaskedVolume.of(fixed, "fixed image"), MaskedVolume.of(moving, "moving image")
    start = time.perf_counter()
    result = register(fixed, moving, init="none")
    total = time.perf_counter() - start
    rows["decide about alignment"] = _row(lambda: prealign(*pair, "auto"), None, repeats)
    rows["find out where there are data"] = _row(lambda: MaskedVolume.of(fixed, "fixed image"), None, repeats)
    rows["register"] = {"ours": result.report["seconds"]["register"]}
    rows |= _warp_rows(moving, fixed.grid, result.displacement, repeats)
    rows |= _metric_rows(result, pair, repeats)
    rows["`SPRCore.register`, all but files"] = {"ours": total}
    return {"shape": list(fixed.shape), "rows": rows, "threads": torch.get_num_threads()}


def _warp_rows(moving, grid, field, repeats):
    """Rows of resampling, differentiation and writing of a displacement, compared with SimpleITK."""
    image, transform, itk_field, along_axes = _for_itk(moving, field)
    linear, nearest = sitk.sitkLinear, sitk.sitkNearestNeighbor
    outside = float(moving.array.min())
    labels = moving.with_array(np.rint(20 * moving.array / max(float(moving.array.max()), 1e-12)).astype(np.uint8))
    label_image = to_itk(labels.array, labels.affine)
    inner = (slice(1, -1),) * 3
    rows = {
        "warp the image": _row(
            lambda: resample(moving, grid, displacement=field).array,
            lambda: sitk.GetArrayFromImage(sitk.Resample(image, image, transform, linear, outside)).T,
            repeats,
        ),
        "warp labels": _row(
            lambda: resample(labels, grid, displacement=field, labels=True).array,
            lambda: sitk.GetArrayFromImage(sitk.Resample(label_image, label_image, transform, nearest, 0.0)).T,
            repeats,
        ),
        "Jacobian determinant": _row(
            lambda: metrics.determinant_map(field),
            lambda: sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(along_axes)).T[inner],
            repeats,
        ),
    }
    with tempfile.TemporaryDirectory() as scratch:
        rows["write a displacement"] = _row(
            lambda: write_displacement(field, Path(scratch) / "ours.nii.gz"),
            lambda: sitk.WriteImage(itk_field, str(Path(scratch) / "theirs.nii.gz"), True, 1),
            1,
        )
    return rows


def _metric_rows(result, pair, repeats):
    fixed, moving = pair
    field, inverse, warped = result.displacement, result.inverse, result.warped
    everything = {"displacement": field, "inverse": inverse, "fixed": fixed, "moving": moving, "warped": warped}
    stages = {
        "local correlation": lambda: metrics.local_correlation(fixed.original, warped),
        "non-diffeomorphic volume": lambda: metrics.ndv_percent(field),
        "inverse consistency": lambda: metrics.inverse_consistency_mm(field, inverse),
        "all metrics": lambda: metrics.evaluate(**everything),
    }
    return {name: _row(stage, None, repeats) for name, stage in stages.items()}


def _row(ours, theirs, repeats):
    """Seconds of both, and the 99.9th percentile of the difference of their values relative to the range."""
    row = {"ours": median_seconds(ours, repeats)}
    if theirs is not None:
        row["SimpleITK"] = median_seconds(theirs, repeats)
        mine, other = ours(), theirs()
        if isinstance(mine, np.ndarray):
            apart = np.abs(mine.astype(np.float64) - other)
            row["difference"] = float(np.percentile(apart, 99.9) / max(float(np.ptp(other)), 1e-12))
    return row


def _for_itk(moving, field):
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())
    lps = to_itk(flip_lps_ras(field.array), field.affine)
    itk_field = sitk.Cast(lps, sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(sitk.Image(itk_field))
    # The filter for the determinant takes no notice of directions: it gets the components along the axes of the grid.
    spacing = field.grid.spacing
    along_axes = to_itk(displacement_mm_to_vox(field.array, field.affine) * np.float32(spacing), np.eye(4))
    along_axes.SetSpacing(spacing)
    along_axes.SetDirection(np.eye(3).ravel().tolist())
    return to_itk(moving.array.astype(np.float32), moving.affine), transform, itk_field, along_axes
