"""Whole registrations: pairs, ours, and SyN of ANTs where it is installed."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import Peak, return_freed_memory

from SPRCore import BetaPrior
from SPRCore.geometry import Field, resample
from SPRCore.io import read_displacement, read_labels, read_volume, write_volume
from SPRCore.metrics import dice, dice_mean, folding_percent, local_correlation
from SPRCore.registration import register_instance
from SPRCore.synthetic import beating_heart

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def write_pairs(folder, quick):
    """Folders with fixed, moving and perhaps labels: real pairs where they are at hand, else a phantom."""
    found = {}
    if not quick:
        found = {"heart, cine MRI": _acdc(folder / "acdc"), "brain, T1 MRI": _brain(folder / "brain")}
    found = {name: path for name, path in found.items() if path}
    if not found:
        shape, spacing = ((28, 28, 12), (6.0, 6.0, 9.0)) if quick else ((160, 160, 40), (1.25, 1.25, 2.5))
        phantom = beating_heart(shape=shape, spacing=spacing)
        parts = ("fixed", "moving", "fixed_labels", "moving_labels")
        found["heart, phantom"] = _write(folder / "phantom", {name: getattr(phantom, name) for name in parts})
    return found


def _write(folder, volumes):
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
    return _write(folder, volumes)


def _brain(folder):
    paths = [DATA / "brain_oasis_unlabelled" / f"clapirn_{letter}.nii.gz" for letter in "AB"]
    if not all(path.exists() for path in paths):
        return None
    return _write(folder, dict(zip(("fixed", "moving"), map(read_volume, paths), strict=True)))


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


def register_ours(folder):
    """The instance solver with its defaults."""
    return_freed_memory()
    with Peak() as peak:
        fixed, moving = (read_volume(folder / f"{name}.nii.gz") for name in ("fixed", "moving"))
        watch = _Watch()
        result = register_instance(fixed.to_tensor(), moving.to_tensor(), fixed.spacing, BetaPrior())
        times = watch.read()
    field = Field.from_tensor_vox(result.displacement_vox, fixed.affine)
    return times | {"peak_mib": peak.mib} | quality(folder, field)


def register_syn(folder, correlation):
    """SyN as ``antspyx`` ships it, without its affine part; by mutual information (its default) or correlation."""
    import ants

    options = {"syn_metric": "CC", "syn_sampling": 4} if correlation else {}
    with tempfile.TemporaryDirectory() as scratch:
        with Peak() as peak:
            fixed, moving = (ants.image_read(str(folder / f"{name}.nii.gz")) for name in ("fixed", "moving"))
            watch = _Watch()
            result = ants.registration(
                fixed,
                moving,
                type_of_transform="SyNOnly",
                initial_transform="Identity",
                outprefix=f"{scratch}/syn_",
                random_seed=1,
                **options,
            )
            times = watch.read()
        field = read_displacement(result["fwdtransforms"][0])
        return times | {"peak_mib": peak.mib} | quality(folder, field)


def quality(folder, field):
    """Correlation before and after, folding, overlap: measured alike for every method, from its field."""
    fixed, moving = (read_volume(folder / f"{name}.nii.gz") for name in ("fixed", "moving"))
    row = {
        "lncc_before": local_correlation(fixed, moving),
        "lncc": local_correlation(fixed, resample(moving, fixed.grid, displacement=field)),
        "folding_percent": folding_percent(field),
        "shape": list(fixed.shape),
        "longest_mm": float(np.linalg.norm(field.array, axis=-1).max()),
    }
    if (folder / "fixed_labels.nii.gz").exists():
        fixed, moving = (read_labels(folder / f"{name}_labels.nii.gz") for name in ("fixed", "moving"))
        warped = resample(moving, fixed.grid, displacement=field, labels=True)
        row |= {"dice_before": dice_mean(dice(fixed, moving)), "dice": dice_mean(dice(fixed, warped))}
    return row


def has_ants():
    return importlib.util.find_spec("ants") is not None
