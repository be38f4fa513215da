"""IXI brains: the pickle files of the paper's author, and NIfTI images with FreeSurfer labels.

https://brain-development.org/ixi-dataset/, CC BY-SA 3.0.
"""

from __future__ import annotations

from pathlib import Path

from SPRCore.errors import InputError
from SPRCore.training.data.cases import Case
from SPRCore.training.data.problems import Problem

FOLDERS = {"train": "Train", "validation": "Val", "test": "Test"}
ATLAS = "atlas"

PICKLE_AXES = "LIA"
"""Directions of the axes in the author's pickle files, which have no header: those of FreeSurfer's conformed volumes,
from which the author's published steps (recon-all, mri_convert, crop to 160 x 192 x 224) make them."""


def find_ixi_pickles(folder: Path, *, use_labels: bool) -> tuple[list[Case], list[Problem]]:
    """Find `atlas.pkl`, `Train/*.pkl`, `Val/*.pkl`, `Test/*.pkl` of the paper's author, and problems."""
    cases, problems = [], []
    atlas = folder / "atlas.pkl"
    if atlas.is_file():
        cases.append(Case(subject=ATLAS, image=atlas, labels=atlas if use_labels else None, axes=PICKLE_AXES))
    else:
        problems.append(Problem(str(atlas), "got no such file; expected the atlas"))
    for part, name in FOLDERS.items():
        for path in sorted((folder / name).glob("*.pkl")):
            labels = path if use_labels else None
            cases.append(Case(subject=path.stem, image=path, labels=labels, fixed_set=part, axes=PICKLE_AXES))
    return cases, problems


def find_ixi(folder: Path, *, use_labels: bool) -> tuple[list[Case], list[Problem]]:
    """Find T1 images with FreeSurfer labels, one case per subject, and problems.

    Two layouts: FreeSurfer's `NAME/mri/norm.mgz` (bias corrected, conformed) with `aseg.mgz`, or `NAME-T1.nii.gz` with
    `NAME-T1_aseg.nii.gz` (or `…_seg.nii.gz`).

    Raises:
        InputError: The folder has neither.
    """
    cases = []
    for image in sorted(folder.glob("*/mri/norm.mgz")):
        labels = image.with_name("aseg.mgz") if use_labels else None
        cases.append(
            Case(subject=image.parents[1].name, image=image, labels=labels, group=_site(image.parents[1].name))
        )
    for image in sorted(folder.rglob("*-T1.nii.gz")):
        name = image.name.removesuffix("-T1.nii.gz")
        choices = [image.with_name(f"{name}-T1{ending}.nii.gz") for ending in ("_aseg", "_seg")]
        labels = next((path for path in choices if path.is_file()), choices[0])
        cases.append(Case(subject=name, image=image, labels=labels if use_labels else None, group=_site(name)))
    if not cases:
        expected = "NAME/mri/norm.mgz or NAME-T1.nii.gz"
        raise InputError(
            str(folder), got="none of the files of IXI", expected=expected, remedy="see Training/README.md"
        )
    return cases, []


def _site(name: str) -> str:
    """Hospital of a subject: the second part of IXI012-HH-1211."""
    parts = name.split("-")
    return parts[1] if len(parts) > 1 else ""
