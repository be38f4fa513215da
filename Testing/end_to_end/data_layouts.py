"""Small imitations of every data layout that training reads, generated in the form of their authors."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.geometry import Volume
from SPRCore.io import write_volume
from SPRCore.io.nifti import write_nifti

SHAPE, AFFINE = (18, 17, 16), np.diag([2.0, 2.0, 2.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Imitation:
    """A data set on disk.

    Attributes:
        data: What a recipe says of it (`data`), without the split.
        labels: Labels of each case as the recipe has them: harmonized and grouped, shape `SHAPE`.
        names: Names of the labels that occur and count; their numbers where the layout has no names.
        has_points: Whether there are landmarks.
        second_channel: Preprocessing of the second channels, or None for images of one.
        split: What a recipe says of the split.
    """

    data: dict[str, Any]
    labels: dict[str, np.ndarray]
    names: dict[int, str]
    has_points: bool = False
    second_channel: dict[str, Any] | None = None
    split: dict[str, Any] = field(default_factory=lambda: {"validation": 1, "test": 1})


def image(seed: int) -> np.ndarray:
    """Smooth texture, int16 in 0 to 1000."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 1.5)
    return np.rint(1000 * (noise - noise.min()) / np.ptp(noise)).astype(np.int16)


def label_map(seed: int, members: tuple[int, ...]) -> np.ndarray:
    """Slabs along X, moved a little by the seed, so that the maps of two cases overlap in part."""
    edges = 2 + seed % 3 + np.arange(len(members) + 1) * 14 // len(members)
    index = np.searchsorted(edges, np.arange(SHAPE[0]), side="right") - 1
    row = np.array([members[i] if 0 <= i < len(members) else 0 for i in index], dtype=np.int16)
    return np.broadcast_to(row[:, None, None], SHAPE).copy()


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(array, AFFINE), path)


def acdc(folder: Path, patients: int = 3) -> Imitation:
    """`patientXXX/Info.cfg` and two frames with labels."""
    found = {}
    for number in range(patients):
        patient = folder / "training" / f"patient{number:03d}"
        for phase, frame in (("ED", 1), ("ES", 9)):
            seed = 10 * number + frame
            found[f"{patient.name}_{phase}"] = label_map(seed, (1, 2, 3))
            _write(patient / f"{patient.name}_frame{frame:02d}.nii.gz", image(seed))
            _write(patient / f"{patient.name}_frame{frame:02d}_gt.nii.gz", found[f"{patient.name}_{phase}"])
        (patient / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: DCM\n")
    names = {1: "RV", 2: "MYO", 3: "LV"}
    return Imitation(data={"dataset": "acdc", "folder": str(folder)}, labels=found, names=names)


def mnms(folder: Path) -> Imitation:
    """4-D series and a table with the frames of ED and ES; left and right ventricle are labels 1 and 3."""
    found, rows = {}, []
    for number in range(3):
        code = f"A{number}S9V{number}"
        truth = [label_map(7 * number + time, (1, 2, 3)) * (time in (1, 3)) for time in range(4)]
        place = folder / "Training" / "Labeled" / code
        place.mkdir(parents=True)
        series = np.stack([image(7 * number + time) for time in range(4)], axis=-1)
        write_nifti(series, AFFINE, place / f"{code}_sa.nii.gz")
        write_nifti(np.stack(truth, axis=-1), AFFINE, place / f"{code}_sa_gt.nii.gz")
        rows.append({"External code": code, "Pathology": "NOR", "ED": 1, "ES": 3})
        for phase, time in (("ED", 1), ("ES", 3)):
            exchanged = np.select([truth[time] == 1, truth[time] == 3], [3, 1], truth[time])
            found[f"{code}_{phase}"] = exchanged.astype(np.int16)
    _table(folder / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv", rows)
    names = {1: "RV", 2: "MYO", 3: "LV"}
    return Imitation(data={"dataset": "mnms", "folder": str(folder)}, labels=found, names=names)


def mnms_and_acdc(folder: Path) -> Imitation:
    """Trained on M&Ms, tested on ACDC."""
    first, second = mnms(folder / "OpenDataset"), acdc(folder / "ACDC", 2)
    data = first.data | {"also": second.data}
    split = {"datasets": {"acdc": "test"}, "validation": 1}
    return Imitation(data=data, labels=first.labels | second.labels, names=first.names, split=split)


def ixi(folder: Path) -> Imitation:
    """`NAME/mri/norm.mgz` with `aseg.mgz`; labels that are none of the 30 structures do not count."""
    import nibabel

    found = {}
    for number in range(6):
        mri = folder / f"IXI{number:03d}-HH-1211" / "mri"
        mri.mkdir(parents=True)
        labels = label_map(number, (2, 41, 77))
        nibabel.save(nibabel.MGHImage(image(number).astype(np.float32), AFFINE), mri / "norm.mgz")
        nibabel.save(nibabel.MGHImage(labels.astype(np.int32), AFFINE), mri / "aseg.mgz")
        found[mri.parent.name] = np.where(labels == 77, 0, labels)
    data = {"dataset": "ixi", "folder": str(folder), "task": "inter-subject", "labels": ["30 structures"]}
    names = {2: "Left-Cerebral-White-Matter", 41: "Right-Cerebral-White-Matter"}
    return Imitation(data=data, labels=found, names=names, split={"validation": 2, "test": 2})


def ixi_pkl(folder: Path) -> Imitation:
    """Pickles of image and labels; the folders are the sets."""
    found = {}
    for number, place in enumerate(["", "Train", "Val", "Test", "Test"]):
        name = f"subject_{number}" if place else "atlas"
        path = folder / place / f"{name}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        found[name] = label_map(number, (10, 49))
        path.write_bytes(pickle.dumps((image(number).astype(np.float32) / 1000, found[name])))
    data = {"dataset": "ixi_pkl", "folder": str(folder), "task": "atlas-to-subject", "atlas": "atlas"}
    names = {10: "Left-Thalamus", 49: "Right-Thalamus"}
    return Imitation(data=data | {"labels": ["30 structures"]}, labels=found, names=names)


def _autopet(folder: Path, members: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    found = {}
    for number in range(4):
        study = folder / f"PETCT_{number:010x}" / f"01-23-2003-NA-PET-CT-{number}"
        labels = label_map(number, members)
        _write(study / "CTres.nii.gz", image(number) - 500)
        _write(study / "CTres_seg.nii.gz", labels)
        _write(study / "SUV.nii.gz", (image(number + 50) / 90).astype(np.float32))
        found[f"{study.parent.name}_{study.name}"] = labels
    data = {"dataset": "autopet", "folder": str(folder), "task": "atlas-to-subject", "atlas": "PETCT_0000000000"}
    return data, found


def autopet_classes(folder: Path) -> Imitation:
    """The 103 classes that the paper evaluates, all but the face (93)."""
    data, found = _autopet(folder, (5, 20, 93))
    labels = {name: np.where(each == 93, 0, each) for name, each in found.items()}
    return Imitation(data=data | {"labels": ["103 classes"]}, labels=labels, names={5: "liver", 20: "vertebrae_L3"})


def autopet_groups(folder: Path) -> Imitation:
    """The 39 groups of the author's code: left lobes together, the face in none."""
    data, found = _autopet(folder, (5, 13, 14, 93))
    labels = {name: np.select([each == 5, (each == 13) | (each == 14)], [5, 13]) for name, each in found.items()}
    return Imitation(data=data | {"grouping": "totalsegmentator"}, labels=labels, names={5: "liver", 13: "lung left"})


def autopet_suv(folder: Path) -> Imitation:
    """The SUV of each study is the second channel."""
    data, found = _autopet(folder, (5, 20))
    second = {"clip": [0, 10], "normalize": "clip"}
    return Imitation(data=data, labels=found, names={5: "liver", 20: "vertebrae_L3"}, second_channel=second)


def learn2reg(folder: Path) -> Imitation:
    """A JSON with the pairs of the test, and landmarks in voxels."""
    stems = [f"NLST_{patient:04d}_{time:04d}" for patient in range(1, 4) for time in range(2)]
    found = {}
    (folder / "keypointsTr").mkdir(parents=True)
    for number, stem in enumerate(stems):
        found[stem] = label_map(number, (1, 2))
        _write(folder / "imagesTr" / f"{stem}.nii.gz", image(number))
        _write(folder / "labelsTr" / f"{stem}.nii.gz", found[stem])
        points = np.random.default_rng(number).integers(1, 15, (6, 3))
        np.savetxt(folder / "keypointsTr" / f"{stem}.csv", points, delimiter=",", fmt="%.1f")
    stems = [[f"imagesTr/NLST_{n:04d}_000{time}.nii.gz" for time in (0, 1)] for n in (1, 2, 3)]
    files = [{"fixed": fixed, "moving": moving} for fixed, moving in stems]
    content = {"training_paired_images": files[:1], "registration_val": files[1:2], "registration_test": files[2:]}
    (folder / "NLST_dataset.json").write_text(json.dumps(content))
    data = {"dataset": "learn2reg", "folder": str(folder)}
    return Imitation(data=data, labels=found, names={1: "1", 2: "2"}, has_points=True)


def listed(folder: Path) -> Imitation:
    """A CSV with the sets of the subjects."""
    found, rows = {}, []
    for number, part in enumerate(("train", "validation", "test")):
        for role in ("early", "late"):
            name = f"S{number}_{role}"
            found[name] = label_map(3 * number + (role == "late"), (1, 2))
            _write(folder / f"{name}.nii.gz", image(5 * number + (role == "late")))
            _write(folder / f"{name}_seg.nii.gz", found[name])
            files = {"image": f"{name}.nii.gz", "labels": f"{name}_seg.nii.gz"}
            rows.append({"subject": f"S{number}", "role": role, **files, "set": part})
    _table(folder / "cases.csv", rows)
    return Imitation(data={"dataset": "csv", "folder": str(folder)}, labels=found, names={1: "1", 2: "2"})


def bids(folder: Path) -> Imitation:
    """`sub-X/anat/sub-X_T1w.nii.gz` with `_dseg` among the derivatives."""
    found = {}
    for number in range(6):
        name = f"{number:02d}"
        found[name] = label_map(number, (1, 2))
        _write(folder / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz", image(number))
        _write(folder / "derivatives" / "seg" / f"sub-{name}" / f"sub-{name}_dseg.nii.gz", found[name])
    data = {"dataset": "bids", "folder": str(folder), "task": "inter-subject"}
    split = {"validation": 2, "test": 2}
    return Imitation(data=data, labels=found, names={1: "1", 2: "2"}, split=split)


LAYOUTS: dict[str, Callable[[Path], Imitation]] = {
    kind.__name__: kind
    for kind in (
        *(acdc, mnms, mnms_and_acdc, ixi, ixi_pkl),
        *(autopet_classes, autopet_groups, autopet_suv, learn2reg, listed, bids),
    )
}
"""Every layout of files, by its name."""


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
