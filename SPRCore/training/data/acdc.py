"""ACDC, as the challenge releases it: `patientXXX/Info.cfg`, `patientXXX_frameNN.nii.gz`, `…_gt.nii.gz`.

Bernard et al., IEEE TMI 2018, doi:10.1109/TMI.2018.2837502. Labels: 1 right ventricle, 2 myocardium, 3 left ventricle.
"""

from __future__ import annotations

from pathlib import Path

from SPRCore.errors import InputError
from SPRCore.training.data.cases import Case
from SPRCore.training.data.problems import Problem

_PHASES = ("ED", "ES")


def find_acdc(folder: Path, *, use_labels: bool) -> tuple[list[Case], list[Problem]]:
    """Find the two phases of every patient, ED first, anywhere below the folder, and problems."""
    cases: list[Case] = []
    problems: list[Problem] = []
    for patient in sorted(path for path in folder.rglob("patient*") if path.is_dir()):
        try:
            info = _read_info(patient / "Info.cfg")
        except InputError as error:
            problems.append(Problem.of(patient / "Info.cfg", error))
            continue
        for phase in _PHASES:
            stem = f"{patient.name}_frame{int(info[phase]):02d}"
            cases.append(
                Case(
                    subject=patient.name,
                    role=phase,
                    image=patient / f"{stem}.nii.gz",
                    labels=patient / f"{stem}_gt.nii.gz" if use_labels else None,
                    group=info.get("Group", ""),
                )
            )
    return cases, problems


def _read_info(path: Path) -> dict[str, str]:
    """Lines "key: value"; ED and ES are numbers of frames."""
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="the frames of ED and ES")
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    info = {key.strip(): value.strip() for key, colon, value in lines if colon}
    for phase in _PHASES:
        if not info.get(phase, "").isdigit():
            raise InputError(str(path), got=f"{phase} {info.get(phase)!r}", expected="the number of a frame")
    return info
