"""Pairs of the validation or test set of a recipe, as benchmarks, sweeps and searches take them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.io.pairs import PairFiles, PairList
from SPRCore.training.data.build import prepare_sets
from SPRCore.training.data.cache import cache_folder
from SPRCore.training.data.cases import Case, Pair
from SPRCore.training.data.generated import GeneratedSource, generated_pairs
from SPRCore.training.data.prepare import ReportProgress
from SPRCore.training.recipe import Recipe

EVALUATED = ("validation", "test")
"""Sets that can be evaluated."""

GRID_RULE = (
    "methods run and metrics are computed on the images that the recipe prepares, as a network gets them in training:"
    " cropped and resampled, moving and fixed image compared voxel by voxel"
)
"""The grid of the results, in the words of their header."""


@dataclass(frozen=True, kw_only=True)
class _CaseFile:
    """Prepared image of a case, what it has, and its digest."""

    case: Case
    path: Path
    has_labels: bool
    has_points: bool
    digest: str


def recipe_pairs(recipe: Recipe, part: str, report: ReportProgress | None = None) -> PairList:
    """Return the pairs of a set of a recipe, "validation" or "test"; images that are not in the cache are prepared.

    Pairs, subjects and labels are those of training. A pair within a subject is called "SUBJECT, ROLE to ROLE", another
    one "MOVING to FIXED"; its group are these roles, or the group of the fixed case.

    Args:
        recipe: The recipe.
        part: The set.
        report: Called with the activity and the fraction done, 0 to 1.

    Raises:
        InputError: The set is unknown or empty, or the data cannot be used; problems are logged, one line each.
        OutputError: The prepared images cannot be written.
    """
    check_name(part, EVALUATED, "set")
    pairs, files = _generated(recipe, part) if recipe.data.dataset == "generated" else _of_files(recipe, part, report)
    if not pairs:
        remedy = "choose the other set, or change data.split"
        raise InputError(f"data of {recipe.name}, {part}", got="no pairs", expected="at least one", remedy=remedy)
    data = recipe.data
    labels = data.label_numbers()
    return PairList(
        pairs=tuple(_pair_files(files[pair.moving], files[pair.fixed], recipe, labels) for pair in pairs),
        label_names={str(label): name for label, name in data.label_names().items()},
        source={
            "recipe": recipe.name,
            "set": part,
            "dataset": " and ".join([data.dataset, *([] if data.also is None else [data.also.dataset])]),
            "grid": GRID_RULE,
            "preprocessing": recipe.preprocessing.facts(),
            "labels": None if data.labels is None else list(data.labels),
            "grouping": data.grouping,
        },
    )


def _of_files(
    recipe: Recipe, part: str, report: ReportProgress | None
) -> tuple[Sequence[Pair], Mapping[str, _CaseFile]]:
    found = prepare_sets(recipe, [part], report)
    files = {}
    for case in found.cohort.cases:
        entry = found.cache.entries[case.name]
        has = {"has_labels": bool(entry.labels), "has_points": bool(entry.points)}
        files[case.name] = _CaseFile(case=case, path=found.cache.folder / entry.file, digest=entry.key, **has)
    return found.pairs[part], files


def _generated(recipe: Recipe, part: str) -> tuple[Sequence[Pair], Mapping[str, _CaseFile]]:
    config = recipe.data.generated
    pairs = generated_pairs(config, part)
    source = GeneratedSource(config, recipe.preprocessing.card_preprocessing(), recipe.data.split.seed)
    names = [name for pair in pairs for name in (pair.moving, pair.fixed)]
    files = {}
    for name, path in source.write(names, recipe.data.cache or cache_folder()).items():
        subject, _, role = name.rpartition("_")
        digest = f"{path.parent.name}/{path.name}"
        case = Case(subject=subject, role=role, image=path)
        files[name] = _CaseFile(case=case, path=path, has_labels=True, has_points=True, digest=digest)
    return pairs, files


def _pair_files(moving: _CaseFile, fixed: _CaseFile, recipe: Recipe, labels: tuple[int, ...] | None) -> PairFiles:
    within = moving.case.subject == fixed.case.subject
    roles = f"{moving.case.role} to {fixed.case.role}"
    name = f"{fixed.case.subject}, {roles}" if within else f"{moving.case.name} to {fixed.case.name}"
    text = json.dumps([moving.digest, fixed.digest, None if labels is None else sorted(labels)])
    paths = {"moving": moving.path, "fixed": fixed.path}
    for kind in ("labels", "points"):
        if all(getattr(file, f"has_{kind}") for file in (moving, fixed)):
            paths |= {f"moving_{kind}": moving.path, f"fixed_{kind}": fixed.path}
    return PairFiles(
        pair=name,
        subject=fixed.case.subject,
        group=roles if within else fixed.case.group,
        **paths,
        prepared=recipe.preprocessing.intensities(),
        labels=labels,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )
