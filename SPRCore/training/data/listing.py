"""User-defined cohorts: a CSV that lists the images, or BIDS folders."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.training.data.cases import Case
from SPRCore.training.data.problems import Problem

COLUMNS = ("subject", "role", "image", "frame", "labels", "label_frame", "points", "channel", "group", "set")
_SETS = ("", "train", "validation", "test")
_NAME = re.compile(r"[\w.+-]{1,100}")
_ENTITY = re.compile(r"(sub|ses)-([A-Za-z0-9]+)")


def find_listed(
    folder: Path | None, listing: Path | None, *, use_labels: bool, second_channel: bool = False
) -> tuple[list[Case], list[Problem]]:
    """Read a CSV with the columns `subject` and `image`, and any of the others of `COLUMNS`.

    Args:
        folder: Base of relative paths; None for the folder of the CSV.
        listing: The CSV; None for `cases.csv` in the folder.
        use_labels: Whether to use labels; every row must then have a path in the column `labels`.
        second_channel: Whether to use second channels, in the same way; column `channel`.

    Returns:
        A case per row, and problems of rows.

    Raises:
        InputError: The CSV is missing, or a column is unknown or missing.
    """
    if listing is None and folder is None:
        raise InputError("data.listing", got="nothing", expected="a CSV", remedy="--set data.listing=cases.csv")
    path = listing or folder / "cases.csv"
    base = folder or path.parent
    cases: list[Case] = []
    problems: list[Problem] = []
    for line, row in _rows(path):
        source = f"{path}, line {line}"
        try:
            cases.append(_case(row, base, use_labels=use_labels, second_channel=second_channel))
        except InputError as error:
            problems.append(Problem(source, str(error)))
    return cases, problems


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="a CSV of cases")
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as stream:
        reader = csv.DictReader(stream)
        for name in reader.fieldnames or []:
            check_name(name, COLUMNS, f"{path}, column")
        missing = {"subject", "image"} - set(reader.fieldnames or [])
        if missing:
            raise InputError(str(path), got=f"no column {min(missing)!r}", expected="at least subject and image")
        return [(reader.line_num, {key: (row[key] or "").strip() for key in row if key}) for row in reader]


def _case(row: dict[str, str], base: Path, *, use_labels: bool, second_channel: bool) -> Case:
    def path(name: str) -> Path | None:
        return base / row[name] if row.get(name) else None

    def number(name: str) -> int | None:
        text = row.get(name, "")
        if text and not text.isdigit():
            raise InputError(name, got=repr(text), expected="the number of a volume, from 0")
        return int(text) if text else None

    for name in ("subject", "role"):
        if not _NAME.fullmatch(row.get(name, "")) and (row.get(name) or name == "subject"):
            raise InputError(name, got=repr(row.get(name, "")), expected="letters, digits and . _ + -")
    image, labels = path("image"), path("labels")
    if image is None or (use_labels and labels is None):
        remedy = "" if image is None else "or --set data.use_labels=false"
        raise InputError("image" if image is None else "labels", got="nothing", expected="a path", remedy=remedy)
    if second_channel and path("channel") is None:
        remedy = "or --set preprocessing.second_channel=null model.channels=1"
        raise InputError("channel", got="nothing", expected="a path", remedy=remedy)
    if row.get("set", "") not in _SETS:
        raise InputError("set", got=repr(row["set"]), expected="train, validation, test or nothing")
    return Case(
        subject=row["subject"],
        role=row.get("role", ""),
        image=image,
        frame=number("frame"),
        labels=labels if use_labels else None,
        label_frame=number("label_frame") if use_labels else None,
        points=path("points"),
        channel=path("channel") if second_channel else None,
        group=row.get("group", ""),
        fixed_set=row.get("set", ""),
    )


def find_bids(folder: Path, image_suffix: str, *, use_labels: bool) -> tuple[list[Case], list[Problem]]:
    """Find `sub-X[/ses-Y]/anat/sub-X[_ses-Y]…_SUFFIX.nii.gz`, labels `…_dseg.nii.gz` there or in `derivatives`.

    Returns one case per subject and session, and problems.
    """
    cases: list[Case] = []
    problems: list[Problem] = []
    segmentations = {path.name: path for path in sorted(folder.rglob("*_dseg.nii.gz"))}
    for image in sorted(folder.glob(f"sub-*/**/sub-*_{image_suffix}.nii.gz")):
        entities = dict(_ENTITY.findall(image.name))
        stem = image.name.removesuffix(f"_{image_suffix}.nii.gz")
        names = (f"{stem}_{image_suffix}_dseg.nii.gz", f"{stem}_dseg.nii.gz")
        labels = next((segmentations[name] for name in names if name in segmentations), None)
        if use_labels and labels is None:
            problems.append(Problem(str(image), f"got no labels; expected {names[1]} beside it or in derivatives"))
            continue
        role = entities.get("ses", "")
        cases.append(Case(subject=entities["sub"], role=role, image=image, labels=labels if use_labels else None))
    return cases, problems
