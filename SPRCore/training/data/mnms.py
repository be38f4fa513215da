"""M&Ms, as the challenge releases it: 4-D cine series, and a CSV with the frames of ED and ES.

Campello et al., IEEE TMI 2021, doi:10.1109/TMI.2021.3090082. Its labels are 1 left ventricle, 2 myocardium, 3 right
ventricle; 1 and 3 are swapped to match ACDC.
"""

from __future__ import annotations

import csv
from pathlib import Path

from SPRCore.errors import InputError
from SPRCore.training.data.cases import Case
from SPRCore.training.data.problems import Problem

_COLUMNS = ("External code", "ED", "ES")
_EXCHANGED = ((1, 3),)
"""Labels to swap so that 1 is the right and 3 the left ventricle, as in ACDC."""


def find_mnms(folder: Path, listing: Path | None, *, use_labels: bool) -> tuple[list[Case], list[Problem]]:
    """Find the two phases of every subject in the CSV.

    Args:
        folder: Folder of the release (`OpenDataset`).
        listing: The CSV; None for the only `*opendataset.csv` in the folder.
        use_labels: Whether to use labels; the folder `Unlabeled` is then skipped.

    Returns:
        Two cases per subject, ED first, and problems.

    Raises:
        InputError: The CSV is missing or has other columns.
    """
    series = {path.name.removesuffix("_sa.nii.gz"): path for path in sorted(folder.rglob("*_sa.nii.gz"))}
    cases: list[Case] = []
    problems: list[Problem] = []
    table = listing or _find_listing(folder)
    for row in _rows(table):
        code = row["External code"].strip()
        path = series.get(code)
        if path is None:
            problems.append(Problem(f"{table.name}, {code}", f"got no {code}_sa.nii.gz below {folder}"))
            continue
        if use_labels and "Unlabeled" in path.parts:
            continue
        for phase in ("ED", "ES"):
            frame = _whole(row[phase])
            if frame is None:
                problems.append(Problem(f"{table.name}, {code}", f"got {phase} {row[phase]!r}; expected a frame"))
                continue
            labels = path.with_name(f"{code}_sa_gt.nii.gz") if use_labels else None
            group = row.get("Pathology") or ""
            files = {"frame": frame, "labels": labels, "label_frame": frame if use_labels else None}
            cases.append(Case(subject=code, role=phase, image=path, group=group, exchange=_EXCHANGED, **files))
    return cases, problems


def _find_listing(folder: Path) -> Path:
    found = sorted(folder.glob("*opendataset.csv"))
    if len(found) != 1:
        expected, remedy = "one *opendataset.csv of M&Ms", "give data.listing"
        raise InputError(str(folder), got=f"{len(found)} of them", expected=expected, remedy=remedy)
    return found[0]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="the CSV of M&Ms")
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    missing = [name for name in _COLUMNS if not rows or rows[0].get(name) is None]
    if missing:
        raise InputError(str(path), got=f"no column {missing[0]!r}", expected=f"columns {', '.join(_COLUMNS)}")
    return rows


def _whole(text: str) -> int | None:
    text = text.strip().removesuffix(".0")
    return int(text) if text.isdigit() else None
