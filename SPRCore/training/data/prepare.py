"""Preparation of a cohort, done once: every file is read and checked, and what a network sees is kept."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...config import encode
from ...errors import InputError
from ...geometry import Grid
from ..recipe import Recipe
from .cache import Cache, Entry, cache_folder
from .cases import Case, Sample
from .cohort import Cohort
from .grouping import GROUPINGS
from .problems import Problem, Problems
from .reading import Images, read_case
from .sampling import sample_subject

logger = logging.getLogger("SPRCore")

Report = Callable[[str, float], None]
_VERSION = 1  # of the way images are prepared; another number prepares them anew
_SAVE_EVERY = 32


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What came of a preparation.

    Attributes:
        cache: The prepared cases.
        digests: SHA-256 of the image of each case, by subject.
        made: Number of cases that were not there yet.
    """

    cache: Cache
    digests: dict[str, dict[str, str]]
    made: int


def prepare_cohort(recipe: Recipe, cohort: Cohort, problems: Problems, report: Report | None = None) -> Prepared:
    """Prepare the cases of a cohort that are not prepared yet.

    A case is taken from the cache when the settings and the content of its files are the same. An interrupted
    preparation goes on where it was.

    Args:
        recipe: What to prepare, and how.
        cohort: The cases.
        problems: Takes what is wrong with files; the others are prepared all the same.
        report: Called with what is done and how much of it, 0 to 1.

    Returns:
        The prepared cases.

    Raises:
        InputError: The reference to align with is unusable.
        OutputError: The cache could not be written.
    """
    work = _Work(recipe, cohort)
    subjects = list(_by_subject(cohort.cases).values())
    before = dict(work.cache.entries)
    try:
        with ThreadPoolExecutor(max(1, recipe.workers)) as pool:
            for number, found in enumerate(pool.map(work.do_subject, subjects), start=1):
                problems.add(found)
                if number % _SAVE_EVERY == 0 and work.cache.entries != before:
                    work.cache.save(work.settings)
                if report is not None:
                    report("preparing images", number / len(subjects))
    finally:
        if work.cache.entries != before:
            work.cache.save(work.settings)
    return Prepared(cache=work.cache, digests=work.digests, made=work.made)


class _Work:
    """Settings, cache and reference of one preparation."""

    def __init__(self, recipe: Recipe, cohort: Cohort) -> None:
        self._config = config = recipe.preprocessing
        self._grouping = recipe.data.grouping
        self._reference, digest = None, None
        if config.align != "none":
            case = _reference(recipe, cohort)
            self._reference_name, self._reference, digest = case.name, read_case(case), _digest(case.image)
        self.settings: dict[str, Any] = {
            "version": _VERSION,
            "preprocessing": encode(replace(config, reference=None)),
            "grouping": encode(GROUPINGS.get(self._grouping or "")),
            "reference_sha256": digest,
        }
        self._key = _hash(self.settings)
        folder = recipe.data.cache or cache_folder()
        self.cache = Cache(folder / f"{recipe.data.dataset}-{self._key[:12]}")
        self.digests: dict[str, dict[str, str]] = {}
        self.made = 0

    def do_subject(self, cases: Sequence[Case]) -> list[Problem]:
        """Prepare the cases of a subject that are not prepared, and return what is wrong with its files."""
        if any(not path.exists() for case in cases for path in _sources(case)):
            return []  # among the problems of the cohort already
        empty = [path for case in cases for path in _sources(case) if not _files(path)]
        if empty:
            return [Problem(str(path), "got an empty folder; expected an image or a DICOM series") for path in empty]
        keys, sources = {}, {}
        for case in cases:
            sources[case.name] = [self._source(case.name, path) for path in _sources(case)]
            keys[case.name] = self._key_of(case, [digest for *_, digest in sources[case.name]])
            image = sources[case.name][0][3]
            self.digests.setdefault(case.subject, {})[case.name] = _with_frame(image, case.frame)
        if all(self.cache.has(case.name, keys[case.name]) for case in cases):
            for case in cases:  # the files may lie elsewhere now
                entry = self.cache.entries[case.name]
                if entry.sources != tuple(sources[case.name]):
                    self.cache.entries[case.name] = replace(entry, sources=tuple(sources[case.name]))
            return []
        return self._make(cases, keys, sources)

    def _make(self, cases: Sequence[Case], keys: dict[str, str], sources: dict[str, list]) -> list[Problem]:
        images, problems = [], []
        for case in cases:
            try:
                images.append(read_case(case))
            except InputError as error:
                wrong = next((path for path in _sources(case) if str(path) in error.what), case.image)
                problems.append(Problem.of(wrong, error))
        if problems:
            return problems
        try:
            samples = sample_subject(images, self._config, self._grouping, self._reference_for(cases, images))
        except InputError as error:
            return [Problem.of(cases[0].image, error)]
        for case, (sample, grid) in zip(cases, samples, strict=True):
            file, size = self.cache.write(case.name, sample)
            entry = _entry(sample, grid, file=file, bytes=size, key=keys[case.name])
            self.cache.entries[case.name] = replace(entry, sources=tuple(sources[case.name]))
            self.made += 1
        return []

    def _reference_for(self, cases: Sequence[Case], images: Sequence[Images]) -> Images | None:
        """The reference; for the subject that is the reference its own image, which needs no alignment."""
        if self._reference is not None and cases[0].name == self._reference_name:
            return images[0]
        return self._reference

    def _source(self, name: str, path: Path) -> tuple[str, int, int, str]:
        """Path, size, time of change and SHA-256 of a file, which is read only if it is not known as it is."""
        states = [file.stat() for file in _files(path)]
        stamp = (str(path), sum(state.st_size for state in states), max(state.st_mtime_ns for state in states))
        entry = self.cache.entries.get(name)
        known = {source[:3]: source[3] for source in (entry.sources if entry else ())}
        return (*stamp, known.get(stamp) or _digest(path))

    def _key_of(self, case: Case, digests: Sequence[str]) -> str:
        return _hash([self._key, list(digests), case.frame, case.label_frame, case.exchange])


def _by_subject(cases: Sequence[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.subject, []).append(case)
    return found


def _reference(recipe: Recipe, cohort: Cohort) -> Case:
    """The image that all are aligned with."""
    if recipe.preprocessing.reference is not None:
        return Case(subject="(reference)", image=recipe.preprocessing.reference)
    by_name = {case.name: case for case in cohort.cases}
    return by_name[cohort.atlas] if cohort.atlas is not None else by_name[min(by_name)]


def _entry(sample: Sample, grid: Grid, **fields: Any) -> Entry:
    labels = () if sample.labels is None else tuple(int(n) for n in np.unique(sample.labels) if n)
    return Entry(
        **fields,
        sources=(),
        shape=sample.image.shape,
        spacing_mm=sample.spacing_mm,
        affine=tuple(float(value) for value in grid.affine.ravel()),
        labels=labels,
        points=0 if sample.points is None else len(sample.points),
    )


def _sources(case: Case) -> list[Path]:
    return list(dict.fromkeys(path for path in (case.image, case.labels, case.points) if path is not None))


def _with_frame(digest: str, frame: int | None) -> str:
    return digest if frame is None else f"{digest}#{frame}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    """The file, or those of a folder that holds a DICOM series."""
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of those of a folder."""
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()
