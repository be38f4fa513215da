"""autoPET whole-body CT with labels of TotalSegmentator.

Gatidis et al., Scientific Data 2022, doi:10.1038/s41597-022-01718-3; Wasserthal et al. 2023, doi:10.1148/ryai.230024.
"""

from __future__ import annotations

from pathlib import Path

from SPRCore.training.data.cases import Case
from SPRCore.training.data.problems import Problem

_ENDING = "_seg.nii.gz"


def find_autopet(folder: Path, *, use_labels: bool, second_channel: bool = False) -> tuple[list[Case], list[Problem]]:
    """Find the CT of every study, resampled to the PET, and if wanted the SUV as its second channel.

    Two layouts: `PETCT_xxx/STUDY/CTres.nii.gz` as released, with `CTres_seg.nii.gz` (TotalSegmentator, one file with
    all classes); and `NAME_CTRes.nii.gz` with `NAME_CTRes_seg.nii.gz`. The SUV is `SUV.nii.gz` or `NAME_SUV.nii.gz`
    beside it. Several studies of a patient are cases of one subject.
    """
    cases = []
    for image in sorted(folder.rglob("CTres.nii.gz")):
        labels = image.with_name(f"CTres{_ENDING}") if use_labels else None
        role = image.parent.name.replace(" ", "_")
        channel = image.with_name("SUV.nii.gz") if second_channel else None
        cases.append(Case(subject=image.parent.parent.name, role=role, image=image, labels=labels, channel=channel))
    for image in sorted(folder.rglob("*_CTRes.nii.gz")):
        name = image.name.removesuffix(".nii.gz")
        labels = image.with_name(f"{name}{_ENDING}") if use_labels else None
        subject = name.removesuffix("_CTRes")
        channel = image.with_name(f"{subject}_SUV.nii.gz") if second_channel else None
        cases.append(Case(subject=subject, image=image, labels=labels, channel=channel))
    return cases, []
