"""autoPET whole-body CT with labels of TotalSegmentator.

Gatidis et al., Scientific Data 2022, doi:10.1038/s41597-022-01718-3; Wasserthal et al. 2023, doi:10.1148/ryai.230024.
"""

from __future__ import annotations

from pathlib import Path

from SPRCore.training.data.cases import Case
from SPRCore.training.data.problems import Problem

_ENDING = "_seg.nii.gz"


def find_autopet(folder: Path, *, use_labels: bool) -> tuple[list[Case], list[Problem]]:
    """Find the CT of every study, resampled to the PET.

    Two layouts: `PETCT_xxx/STUDY/CTres.nii.gz` as released, with `CTres_seg.nii.gz` (TotalSegmentator, one file with
    all classes); and `NAME_CTRes.nii.gz` with `NAME_CTRes_seg.nii.gz`. Several studies of a patient are cases of one
    subject.

    """
    cases = []
    for image in sorted(folder.rglob("CTres.nii.gz")):
        labels = image.with_name(f"CTres{_ENDING}") if use_labels else None
        role = image.parent.name.replace(" ", "_")
        cases.append(Case(subject=image.parent.parent.name, role=role, image=image, labels=labels))
    for image in sorted(folder.rglob("*_CTRes.nii.gz")):
        name = image.name.removesuffix(".nii.gz")
        labels = image.with_name(f"{name}{_ENDING}") if use_labels else None
        cases.append(Case(subject=name.removesuffix("_CTRes"), image=image, labels=labels))
    return cases, []
