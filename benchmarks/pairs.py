"""Whole registrations: the pairs, and a row of one method on one of them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from measure import Peak, return_freed_memory
from methods import METHODS

from SPRCore.errors import InputError
from SPRCore.geometry import resample
from SPRCore.io import read_labels, read_volume, write_volume
from SPRCore.metrics import dice, dice_mean, folding_percent, local_correlation, ndv_percent
from SPRCore.synthetic import beating_heart, scene
from SPRCore.synthetic.scenes import SceneConfig

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


PAIRS = {"heart": "heart, cine MRI", "brain": "brain, T1 MRI", "scene": "scene, made up"}
PARTS = ("fixed", "moving", "fixed_labels", "moving_labels")
SCENE = {
    "labels": 24,
    "scale_mm": (16.0, 16.0),
    "amplitude_mm": 8.0,
    "same_contrast": 1.0,
    "empty": 1.0,
    "texture": 0.15,
    "noise": 0.03,
}


def write_pair(folder, name, quick):
    """Write the fixed and the moving image of a pair, and perhaps labels; None where its data are not at hand."""
    folder = folder / name
    if quick:
        made = beating_heart(shape=(28, 28, 12), spacing=(6.0, 6.0, 9.0))
    elif name == "scene":  # of the size of a brain, with empty surroundings and labels that are known exactly
        made = scene(SceneConfig(**SCENE), shape=(160, 192, 224), spacing=(1.0, 1.0, 1.0), seed=1)
    else:
        return {"heart": _acdc, "brain": _brain}[name](folder)
    return write_volumes(folder, {part: getattr(made, part) for part in PARTS})


def write_volumes(folder, volumes):
    folder.mkdir(parents=True)
    for name, volume in volumes.items():
        write_volume(volume, folder / f"{name}.nii.gz")
    return folder


def _acdc(folder):
    patient = next(iter(sorted((DATA / "acdc").glob("patient*"))), None)
    if patient is None:
        return None
    diastole, systole = sorted(path for path in patient.glob("*frame??.nii.gz"))[:2]
    volumes = {"fixed": read_volume(diastole), "moving": read_volume(systole)}
    for name, path in (("fixed_labels", diastole), ("moving_labels", systole)):
        volumes[name] = read_labels(path.with_name(path.name.replace(".nii", "_gt.nii")))
    return write_volumes(folder, volumes)


def _brain(folder):
    paths = [DATA / "brain_oasis_unlabelled" / f"clapirn_{letter}.nii.gz" for letter in "AB"]
    if not all(path.exists() for path in paths):
        return None
    return write_volumes(folder, dict(zip(("fixed", "moving"), map(read_volume, paths), strict=True)))


class _Watch:
    """Time passed, and time of all threads on the processor: the second does not see what else the machine does."""

    def __init__(self):
        self.start = time.perf_counter(), time.process_time()

    def read(self):
        """Both, in seconds."""
        return {
            "seconds": time.perf_counter() - self.start[0],
            "processor_seconds": time.process_time() - self.start[1],
        }


def register(folder, name):
    """A row: one method on one pair, or why the method is not there."""
    method = METHODS[name]
    try:
        method.check()
    except InputError as error:
        return {"absent": f"{error.got}; {error.remedy}" if error.remedy else str(error.got)}
    return_freed_memory()
    with Peak() as peak:
        fixed, moving = (read_volume(folder / f"{part}.nii.gz") for part in ("fixed", "moving"))
        watch = _Watch()
        field = method.register(fixed, moving)
        times = watch.read()
    return times | {"peak_mib": peak.mib} | quality(folder, field)


def quality(folder, field):
    """Correlation before and after, folding, overlap: measured alike for every method, from its field."""
    fixed, moving = (read_volume(folder / f"{name}.nii.gz") for name in ("fixed", "moving"))
    row = {
        "lncc_before": local_correlation(fixed, moving),
        "lncc": local_correlation(fixed, resample(moving, fixed.grid, displacement=field)),
        "folding_percent": folding_percent(field),
        "ndv_percent": ndv_percent(field),
        "shape": list(fixed.shape),
        "longest_mm": float(np.linalg.norm(field.array, axis=-1).max()),
    }
    if (folder / "fixed_labels.nii.gz").exists():
        fixed, moving = (read_labels(folder / f"{name}_labels.nii.gz") for name in ("fixed", "moving"))
        warped = resample(moving, fixed.grid, displacement=field, labels=True)
        row |= {"dice_before": dice_mean(dice(fixed, moving)), "dice": dice_mean(dice(fixed, warped))}
    return row
