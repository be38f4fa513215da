"""Preparation of a cohort: every file is read and checked once, and the prepared images are cached."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.config import encode
from SPRCore.errors import InputError
from SPRCore.io import on_disk, split_frame
from SPRCore.io.samples import Sample
from SPRCore.training.data.cache import Cache, Entry, cache_folder
from SPRCore.training.data.cases import Case
from SPRCore.training.data.cohort import Cohort
from SPRCore.training.data.problems import Problem, Problems
from SPRCore.training.data.reading import Images, read_case
from SPRCore.training.data.sampling import Box, align, check_together, crop_box, sample_image, stripped
from SPRCore.training.label_names import GROUPINGS
from SPRCore.training.recipe import Recipe
from SPRCore.typing import Affine

logger = logging.getLogger("SPRCore")

ReportProgress = Callable[[str, float], None]
_VERSION = 3  # of the preparation; part of the cache key
_SAVE_EVERY = 32


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Result of a preparation.

    Attributes:
        cache: The prepared cases.
        digests: SHA-256 of the image of each case, by subject.
        made: Number of cases that were not in the cache.
    """

    cache: Cache
    digests: dict[str, dict[str, str]]
    made: int


def prepare_cohort(
    recipe: Recipe,
    cohort: Cohort,
    problems: Problems,
    report: ReportProgress | None = None,
    *,
    subjects: Collection[str] | None = None,
) -> Prepared:
    """Prepare the cases of a cohort without problems that are not in the cache, and collect their problems.

    A case is read from the cache if settings and file contents are unchanged. An interrupted preparation resumes.
    `report` gets the activity and the completed fraction, 0 to 1. `subjects` are those to prepare; None for all.

    Raises:
        InputError: The reference for the alignment cannot be used.
        OutputError: The cache cannot be written.
    """
    work = _Work(recipe, cohort)
    by_subject = _by_subject(cohort.cases)
    wanted = [cases for name, cases in by_subject.items() if subjects is None or name in subjects]
    before, made = dict(work.cache.entries), 0
    try:
        with ThreadPoolExecutor(max(1, recipe.workers)) as pool:
            for number, (found, count) in enumerate(pool.map(work.do_subject, wanted), start=1):
                problems.add(found)
                made += count
                if made and number % _SAVE_EVERY == 0:
                    work.cache.save(work.settings)
                if report is not None:
                    report("preparing images", number / len(wanted))
    finally:
        if work.cache.entries != before:
            work.cache.save(work.settings)
    return Prepared(cache=work.cache, digests=work.digests, made=made)


class _Work:
    """Settings, cache and reference of one preparation."""

    def __init__(self, recipe: Recipe, cohort: Cohort) -> None:
        self._config, self._data = recipe.preprocessing, recipe.data
        self._reference: Images | None = None
        digest = None
        if self._config.align != "none":
            case = _reference(recipe, cohort)
            self._reference, digest = self._read(case), digest_of(case.image)
            self._reference_name, self._box = case.name, crop_box([self._reference], self._config)
        self.settings: dict[str, Any] = {
            "version": _VERSION,
            "preprocessing": self._config.facts(),
            "grouping": encode(GROUPINGS.get(self._data.grouping or "")),
            "reference_sha256": digest,
        }
        self._key = _hash(self.settings)
        folder = self._data.cache or cache_folder()
        self.cache = Cache(folder / f"{self._data.dataset}-{self._key[:12]}")
        self.digests: dict[str, dict[str, str]] = {}

    def do_subject(self, cases: Sequence[Case]) -> tuple[list[Problem], int]:
        """Prepare the cases of a subject if needed; return the problems and the number of prepared cases."""
        paths = [path for case in cases for path in _sources(case)]
        if any(not on_disk(path).exists() for path in paths):
            return [], 0  # already among the problems of the cohort
        empty = [path for path in paths if not _files(path)]
        if empty:
            text = "got an empty folder; expected an image or a DICOM series"
            return [Problem(str(path), text) for path in empty], 0
        keys, sources = {}, {}
        for case in cases:
            sources[case.name] = tuple(self._source(case.name, path) for path in _sources(case))
            keys[case.name] = self._key_of(case, [digest for *_, digest in sources[case.name]])
            image = sources[case.name][0][3]
            self.digests.setdefault(case.subject, {})[case.name] = _with_frame(image, case.frame)
        made, problems = 0, []
        if not all(self.cache.has(case.name, keys[case.name]) for case in cases):
            problems = self._make(cases, keys)
            made = 0 if problems else len(cases)
        if not problems:
            for case in cases:  # also of cached ones: the files may have moved
                self.cache.entries[case.name] = replace(self.cache.entries[case.name], sources=sources[case.name])
        return problems, made

    def _make(self, cases: Sequence[Case], keys: dict[str, str]) -> list[Problem]:
        """Read all images of a subject, prepare them on one grid and write them; return the problems."""
        images: dict[str, Images] = {}
        problems = []
        for case in cases:
            try:
                images[case.name] = self._read(case)
                if self._reference is None:
                    check_together(images[case.name], next(iter(images.values())))
            except InputError as error:
                wrong = next((path for path in _sources(case) if str(path) in error.what), case.image)
                problems.append(Problem.of(wrong, error))
        if problems:
            return problems
        box = affine_ras = None
        for case in cases:
            try:
                box = box or self._box_for(list(images.values()))
                affine_ras = self._aligned(case, cases[0], images, affine_ras)
                sample = sample_image(images[case.name], box, self._config, self._data.grouping, affine_ras)
            except InputError as error:
                problems.append(Problem.of(case.image, error))
                continue
            file, size = self.cache.write(case.name, sample)
            self.cache.entries[case.name] = _entry(sample, file=file, bytes=size, key=keys[case.name])
        return problems

    def _read(self, case: Case) -> Images:
        images = read_case(case, trust_voxels=self._data.trust_voxels)
        return stripped(images) if self._config.strip else images

    def _box_for(self, images: Sequence[Images]) -> Box:
        return crop_box(images, self._config) if self._reference is None else self._box

    def _aligned(self, case: Case, first: Case, images: dict[str, Images], affine_ras: Affine | None) -> Affine | None:
        """Alignment of a case; images of a subject on the same grid share that of the first."""
        if self._reference is None or case.name == self._reference_name:
            return None
        same_grid = images[case.name].image.grid.matches(images[first.name].image.grid)
        if case is not first and same_grid:
            return affine_ras
        return align(images[case.name], self._reference, self._config)

    def _source(self, name: str, path: Path) -> tuple[str, int, int, str]:
        """Path, size, modification time and SHA-256 of a file, which is read only if it has changed."""
        states = [file.stat() for file in _files(path)]
        stamp = (str(path), sum(state.st_size for state in states), max(state.st_mtime_ns for state in states))
        entry = self.cache.entries.get(name)
        known = {source[:3]: source[3] for source in (entry.sources if entry else ())}
        return (*stamp, known.get(stamp) or digest_of(path))

    def _key_of(self, case: Case, digests: Sequence[str]) -> str:
        return _hash([self._key, list(digests), case.frame, case.label_frame, case.exchange])


def _by_subject(cases: Sequence[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.subject, []).append(case)
    return found


def _reference(recipe: Recipe, cohort: Cohort) -> Case:
    """Image with which all are aligned."""
    if recipe.preprocessing.reference is not None:
        return Case(subject="(reference)", image=recipe.preprocessing.reference)
    by_name = {case.name: case for case in cohort.cases}
    return by_name[cohort.atlas] if cohort.atlas is not None else by_name[min(by_name)]


def _entry(sample: Sample, **fields: Any) -> Entry:
    labels = () if sample.labels is None else tuple(int(n) for n in np.unique(sample.labels) if n)
    return Entry(
        **fields,
        sources=(),
        shape=sample.image.shape,
        spacing_mm=sample.spacing_mm,
        affine=tuple(float(value) for value in sample.affine.ravel()),
        labels=labels,
        points=0 if sample.points is None else len(sample.points),
    )


def _sources(case: Case) -> list[Path]:
    files = (case.image, case.labels, case.points, case.channel)
    return list(dict.fromkeys(path for path in files if path is not None))


def _with_frame(digest: str, frame: int | None) -> str:
    return digest if frame is None else f"{digest}#{frame}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    """The file, or the files of the folder of a DICOM series."""
    path = on_disk(path)
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def digest_of(path: Path) -> str:
    """SHA-256 of a file or of the files of a folder, with the frame in the path."""
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return _with_frame(digest.hexdigest(), split_frame(path)[1])
