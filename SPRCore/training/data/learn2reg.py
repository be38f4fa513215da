"""Tasks of Learn2Reg: one JSON file that lists images, labels, landmarks and pairs.

Hering et al., IEEE TMI 2023, doi:10.1109/TMI.2022.3213983; https://learn2reg.grand-challenge.org.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from SPRCore.errors import InputError
from SPRCore.io.headers import parse_json
from SPRCore.training.data.cases import Case, Pair
from SPRCore.training.data.problems import Problem

_PAIRS = {"train": "training_paired_images", "validation": "registration_val", "test": "registration_test"}
_MAX_BYTES = 2**26
_FOLDERS = {"labels": "labels", "points": "keypoints"}


def find_learn2reg(
    folder: Path, listing: Path | None, *, use_labels: bool
) -> tuple[list[Case], list[Problem], dict[str, tuple[Pair, ...]]]:
    """Find the cases and pairs of a task.

    Args:
        folder: Folder of the task.
        listing: The JSON file; None for the only `*_dataset.json` in the folder.
        use_labels: Whether to use labels.

    Returns:
        The cases with their sets (an image in several lists is a test or validation image, not a training image),
        problems, and the prescribed validation and test pairs.

    Raises:
        InputError: The JSON file is missing or of another format.
    """
    path = listing or _find_listing(folder)
    content = _read(path)
    sets: dict[str, str] = {_image(entry, path): "train" for entry in content.get("training", [])}
    pairs: dict[str, tuple[Pair, ...]] = {}
    for part, key in _PAIRS.items():
        listed = content.get(key, [])
        for entry in listed:
            for side in ("fixed", "moving"):
                sets[_image(entry, path, side)] = part
        if listed and part != "train":
            names = ((_name(entry["moving"]), _name(entry["fixed"])) for entry in listed)
            pairs[part] = tuple(Pair(moving, fixed) for moving, fixed in names)
    cases = [_case(folder, image, part, use_labels=use_labels) for image, part in sorted(sets.items())]
    return _by_subject(cases), [], pairs


def _by_subject(cases: list[Case]) -> list[Case]:
    """Assign all images of a subject to the last set with one of them."""
    order = ["", *_PAIRS]
    last: dict[str, str] = {}
    for case in cases:
        last[case.subject] = max(last.get(case.subject, ""), case.fixed_set, key=order.index)
    return [replace(case, fixed_set=last[case.subject]) for case in cases]


def _case(folder: Path, image: str, part: str, *, use_labels: bool) -> Case:
    """Case of a file TASK_CASE_MODALITY.nii.gz, where TASK_CASE is the subject."""
    path = folder / image
    stem = path.name.removesuffix(".nii.gz").removesuffix(".nii")
    subject, _, role = stem.rpartition("_") if "_" in stem else (stem, "", "")
    ending = path.parent.name.removeprefix("images")  # Tr or Ts
    beside = {key: path.parent.with_name(f"{name}{ending}") for key, name in _FOLDERS.items()}
    labels = beside["labels"] / path.name
    points = beside["points"] / f"{stem}.csv"
    # A task without labels has no such folder; single missing files are problems.
    wanted = use_labels and beside["labels"].is_dir()
    return Case(
        subject=subject,
        role=role,
        image=path,
        labels=labels if wanted else None,
        points=points if points.is_file() else None,
        fixed_set=part,
    )


def _name(image: str) -> str:
    return Path(image).name.removesuffix(".nii.gz").removesuffix(".nii")


def _image(entry: Any, path: Path, key: str = "image") -> str:
    value = entry.get(key) if isinstance(entry, dict) else entry
    if not isinstance(value, str) or Path(value).is_absolute() or ".." in Path(value).parts:
        got = f"{str(value)[:60]!r} for {key}"
        raise InputError(str(path), got=got, expected="the path of an image below the folder")
    return str(Path(value))


def _find_listing(folder: Path) -> Path:
    found = sorted(folder.glob("*dataset*.json"))
    if len(found) != 1:
        got, expected = f"{len(found)} of them", "one *_dataset.json of Learn2Reg"
        raise InputError(str(folder), got=got, expected=expected, remedy="give data.listing")
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise InputError(str(path), got="no such file", expected="the JSON of a task of Learn2Reg")
    content = parse_json(path.read_bytes(), str(path))
    known = {"training", *_PAIRS.values()}
    if not isinstance(content, dict) or not known & set(content):
        raise InputError(str(path), got="another JSON", expected=f"one with {', '.join(sorted(known))}")
    for key in known & set(content):
        if not isinstance(content[key], list):
            raise InputError(str(path), got=f"{key} that is not a list", expected="a list of images or pairs")
    return content
