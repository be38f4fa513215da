"""Splits by subject into training, validation and test sets, stored with hashes and checked for leaks."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.io import atomic_path
from SPRCore.io.headers import parse_json
from SPRCore.training.data.cases import Case
from SPRCore.training.data.problems import Problem
from SPRCore.training.data_config import SplitConfig

logger = logging.getLogger("SPRCore")

PARTS = ("train", "validation", "test")
SCHEMA = 1
_MAX_BYTES = 2**26


@dataclass(frozen=True, kw_only=True)
class Split:
    """Split of the subjects.

    Attributes:
        sets: Subjects of "train", "validation" and "test", by name.
        seed: Seed of the draw; None if nothing was drawn.
        files: SHA-256 of the files of each subject, if known.
    """

    sets: Mapping[str, tuple[str, ...]]
    seed: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `split.json`."""
        subjects = sorted(subject for part in PARTS for subject in self.sets[part])
        return {
            "schema_version": SCHEMA,
            "seed": self.seed,
            "sets": {part: sorted(self.sets[part]) for part in PARTS},
            "subjects_sha256": _hash_names(subjects),
            "files_sha256": {subject: self.files[subject] for subject in subjects if subject in self.files},
        }


def write_split(split: Mapping[str, Any], path: Path) -> None:
    """Write a split (of `Split.to_dict`) as JSON, atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")


def read_split(path: Path) -> Split:
    """Read a split.

    Raises:
        InputError: The file is missing or of another format, or subjects do not match their hash.
    """
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise InputError(str(path), got="no such file", expected="a split.json", remedy="--set data.split.file=null")
    content = parse_json(path.read_bytes(), str(path))
    sets = content.get("sets") if isinstance(content, dict) else None
    good = isinstance(sets, dict) and set(sets) == set(PARTS) and content.get("schema_version") == SCHEMA
    if not good or not all(_is_names(sets[part]) for part in PARTS):
        raise InputError(str(path), got="another JSON", expected=f"sets {', '.join(PARTS)} of a split.json")
    names = sorted(name for part in PARTS for name in sets[part])
    if content.get("subjects_sha256") != _hash_names(names):
        got = "subjects that do not match their hash"
        raise InputError(str(path), got=got, expected="a split.json as it was written")
    files = content.get("files_sha256")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise InputError(str(path), got="no files_sha256", expected="a split.json as it was written")
    return Split(sets={part: tuple(sets[part]) for part in PARTS}, seed=content.get("seed"), files=files)


def make_split(subjects: Mapping[str, Sequence[Case]], config: SplitConfig) -> Split:
    """Split subjects: from a file, by data set, as the data set prescribes, or at random.

    Raises:
        InputError: The file cannot be used, or there are too few subjects.
    """
    if config.file is not None:
        split = read_split(config.file)
        return split if config.hashes else replace(split, files={})
    layouts = {name: cases[0].dataset for name, cases in subjects.items()}
    whole = {name: config.datasets[layout] for name, layout in layouts.items() if layout in config.datasets}
    rest = {name: cases for name, cases in subjects.items() if name not in whole}
    split = _divided(rest, replace(config, **dict.fromkeys(config.datasets.values(), 0)))
    sets = {part: (*split.sets[part], *(name for name in whole if whole[name] == part)) for part in PARTS}
    return replace(split, sets={part: tuple(sorted(names)) for part, names in sets.items()})


def _divided(subjects: Mapping[str, Sequence[Case]], config: SplitConfig) -> Split:
    """Split as the data set prescribes, or at random."""
    given = {name: cases[0].fixed_set for name, cases in subjects.items()}
    if any(given.values()) and not config.redraw:
        return Split(sets={part: tuple(sorted(n for n, s in given.items() if s == part)) for part in PARTS})
    names = np.array(sorted(subjects))
    order = np.random.default_rng(config.seed).permutation(len(names))
    counts = _counts(config, len(names))
    ends = np.cumsum([counts[part] for part in ("test", "validation", "train")])
    # The test set first, so that it does not depend on the sizes of the others.
    pieces = np.split(names[order], ends)[:3]
    drawn = dict(
        zip(("test", "validation", "train"), (tuple(sorted(map(str, piece))) for piece in pieces), strict=True)
    )
    return Split(sets=drawn, seed=config.seed)


def check_split(split: Split, subjects: Mapping[str, Sequence[Case]], config: SplitConfig) -> list[Problem]:
    """Find empty sets, and subjects that are missing or in two sets."""
    source = str(config.file) if config.file is not None else "data.split"
    problems = []
    for part in PARTS:
        if not split.sets[part] and not (part == "test" and config.test == 0):
            problems.append(Problem(source, f"{part}: got no subjects; expected at least one"))
    sets: dict[str, list[str]] = {}
    for part in PARTS:
        for name in split.sets[part]:
            sets.setdefault(name, []).append(part)
    for name, parts in sets.items():
        if len(parts) > 1:
            problems.append(Problem(source, f"{name}: got this subject in {' and '.join(parts)}; expected one set"))
        if name not in subjects:
            problems.append(Problem(source, f"{name}: got no such subject; expected it in the data"))
    if config.file is None and split.seed is None:
        problems += _check_given(subjects, source)
    unused = len(set(subjects) - set(sets))
    if unused:
        logger.warning("%d subjects are in no set and are not used", unused)
    return problems


def _check_given(subjects: Mapping[str, Sequence[Case]], source: str) -> list[Problem]:
    """Find subjects whose images the data set assigns to different sets."""
    problems = []
    for name, cases in subjects.items():
        given = sorted({case.fixed_set for case in cases})
        if len(given) > 1:
            sets = " and ".join(part or "no set" for part in given)
            problems.append(Problem(source, f"{name}: got images in {sets}; expected one set for a subject"))
    return problems


def check_files(split: Split, files: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """Find identical images of two subjects in different sets, and files that differ from a stored split.

    Args:
        split: The split, with its stored hashes.
        files: SHA-256 of the image of each case, by subject.
    """
    problems = []
    part_of = {name: part for part in PARTS for name in split.sets[part]}
    owners: dict[str, tuple[str, str]] = {}
    for subject, digests in files.items():
        for case, digest in digests.items():
            other, name = owners.setdefault(digest, (subject, case))
            if other != subject and part_of.get(other) != part_of.get(subject):
                sets = f"{part_of.get(other)} and {part_of.get(subject)}"
                problems.append(Problem(case, f"got the same image as {name}; expected no image in {sets} at once"))
    for subject, stored in split.files.items():
        if subject in files and stored != subject_hash(files[subject]):
            remedy = "--set data.split.hashes=false keeps the split"
            problems.append(Problem(subject, f"got other files than the split was made with; {remedy}"))
    return problems


def subject_hash(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 for the images of a subject."""
    return hashlib.sha256("".join(f"{name}\0{digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()


def _counts(config: SplitConfig, total: int) -> dict[str, int]:
    def number(value: float) -> int:
        return max(1, round(value * total)) if 0 < value < 1 else int(value)

    counts = {"validation": number(config.validation), "test": number(config.test)}
    rest = total - sum(counts.values())
    counts["train"] = (
        rest if config.train is None else min(number(config.train), rest) if config.train < 1 else int(config.train)
    )
    if counts["train"] < 0 or sum(counts.values()) > total:
        wanted = ", ".join(f"{counts[part]} for {part}" for part in PARTS if counts[part] > 0)
        got, remedy = f"{total} subject{'s' * (total != 1)}, but {wanted}", "lower data.split, or give more subjects"
        raise InputError("data.split", got=got, expected="no more than there are", remedy=remedy)
    return counts


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _hash_names(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
