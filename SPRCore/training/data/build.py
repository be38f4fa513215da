"""Training, validation and test pairs of a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from SPRCore.errors import InputError
from SPRCore.training.data.cache import Cache, CacheSource, cache_folder
from SPRCore.training.data.cases import Pair, Source
from SPRCore.training.data.cohort import Cohort, find_cohort
from SPRCore.training.data.dataset import PairDataset
from SPRCore.training.data.generated import GeneratedSource, generated_labels, generated_pairs
from SPRCore.training.data.pairing import check_pairs, make_pairs
from SPRCore.training.data.prepare import ReportProgress, prepare_cohort
from SPRCore.training.data.problems import Problem, Problems
from SPRCore.training.data.splits import PARTS, Split, check_files, check_split, make_split, subject_hash
from SPRCore.training.data.teacher import prepare_teacher
from SPRCore.training.label_names import label_numbers, label_sets
from SPRCore.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The pairs of a recipe.

    Attributes:
        train: Training pairs, augmented.
        validation: Pairs by which the best model is chosen.
        test: Test pairs; may be empty.
        labels: Labels that count, without 0; empty without labels.
        report: Numbers of subjects and pairs, shapes and cache, for logs.
        split: Content of `split.json`.
    """

    train: PairDataset
    validation: PairDataset
    test: PairDataset
    labels: tuple[int, ...]
    report: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)


def build_datasets(recipe: Recipe, report: ReportProgress | None = None) -> Datasets:
    """Build the sets of pairs of a recipe, and prepare images that are not in the cache.

    All files are checked; problems are logged, one line each. `report` gets the activity and the fraction done, 0 to 1.

    Raises:
        InputError: Files, labels or the split cannot be used.
        OutputError: The prepared images cannot be written.
    """
    return _generated(recipe, report) if recipe.data.dataset == "generated" else _of_files(recipe, report)


def _generated(recipe: Recipe, progress: ReportProgress | None) -> Datasets:
    config = recipe.data.generated
    pairs = {part: generated_pairs(config, part) for part in PARTS}
    source = GeneratedSource(config, recipe.preprocessing.card_preprocessing(), recipe.data.split.seed)
    report = {"dataset": "generated", "pairs": {part: len(pairs[part]) for part in PARTS}}
    split = {"dataset": "generated", "seed": recipe.data.split.seed} | report["pairs"]
    labels = _counted(recipe, generated_labels(config))
    sets = _sets(recipe, pairs, source, labels, progress)
    return Datasets(**sets, labels=labels, report=report, split=split)


def _of_files(recipe: Recipe, report: ReportProgress | None) -> Datasets:
    found = prepare_sets(recipe, PARTS, report)
    cohort, pairs, entries = found.cohort, found.pairs, found.cache.entries
    _check_counts(pairs, recipe)
    _check_marked(pairs["train"], recipe, found.cache)
    split = replace(found.split, files={name: subject_hash(found.digests[name]) for name in cohort.subjects()})
    occurring = {label for case in cohort.cases for label in entries[case.name].labels}
    numbers = {
        "dataset": recipe.data.dataset,
        "subjects": {part: len(split.sets[part]) for part in PARTS},
        "pairs": {part: len(pairs[part]) for part in PARTS},
        "shapes": sorted({entries[case.name].shape for case in cohort.cases}),
        "cache": str(found.cache.folder),
        "prepared_now": found.made,
    }
    labels = _counted(recipe, sorted(occurring))
    return Datasets(
        **_sets(recipe, pairs, CacheSource(found.cache), labels, report),
        labels=labels,
        report=numbers,
        split={"dataset": recipe.data.dataset} | split.to_dict(),
    )


@dataclass(frozen=True, kw_only=True)
class PreparedSets:
    """Sets of a recipe whose images are prepared.

    Attributes:
        cohort: The cases of these sets, and the atlas.
        split: The split of all subjects.
        cache: The prepared cases.
        digests: SHA-256 of the image of each case, by subject.
        made: Number of cases that were not in the cache.
        pairs: The pairs of each set.
    """

    cohort: Cohort
    split: Split
    cache: Cache
    digests: dict[str, dict[str, str]]
    made: int
    pairs: dict[str, list[Pair]]


def prepare_sets(recipe: Recipe, parts: Sequence[str], report: ReportProgress | None = None) -> PreparedSets:
    """Find and split the cases of a recipe of files, and prepare those of some sets of `PARTS`.

    `report` gets the activity and the fraction done, 0 to 1.

    Raises:
        InputError: Files, labels or the split cannot be used; problems are logged, one line each.
        OutputError: The prepared images cannot be written.
    """
    problems = Problems()
    whole = find_cohort(recipe.data, second_channel=recipe.preprocessing.second_channel is not None)
    problems.add(whole.problems)
    if not whole.subjects():  # report the missing files, not the empty split
        problems.refuse(f"data of {recipe.name}")
        got, expected = f"no subject in {recipe.data.folder or recipe.data.listing}", "images of two or more"
        raise InputError(f"data of {recipe.name}", got=got, expected=expected, remedy="check data.folder, data.listing")
    split = make_split(whole.subjects(), recipe.data.split)
    problems.add(check_split(split, whole.subjects(), recipe.data.split))
    whole = _used(whole, split, PARTS)  # the reference of an alignment is the first of all
    cohort = _used(whole, split, parts)
    if not cohort.problems:  # missing files explain missing partners
        problems.add(check_pairs(cohort, recipe.data))
    done = prepare_cohort(recipe, whole, problems, report, subjects={case.subject for case in cohort.cases})
    problems.add(check_files(split, done.digests))
    problems.add(_check_shapes(recipe, cohort, done.cache))
    problems.refuse(f"data of {recipe.name}")
    pairs = {part: make_pairs(cohort, split.sets[part], recipe.data, part) for part in parts}
    return PreparedSets(cohort=cohort, split=split, cache=done.cache, digests=done.digests, made=done.made, pairs=pairs)


def _sets(
    recipe: Recipe,
    pairs: dict[str, Sequence[Pair]],
    source: Source,
    labels: tuple[int, ...],
    report: ReportProgress | None,
) -> dict[str, PairDataset]:
    changes: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    changes["train"] = {"augmentation": recipe.augmentation, "seed": recipe.seed}
    if recipe.loss.teacher is not None:
        folder = (recipe.data.cache or cache_folder()) / "teacher"
        taught = [*pairs["train"], *pairs["validation"]]
        teacher = prepare_teacher(recipe, taught, source, folder, report)
        changes["train"] |= {"teacher": teacher, "compared": recipe.loss.teacher.change_weight > 0}
        changes["validation"]["teacher"] = teacher
    return {part: PairDataset(pairs[part], source, labels=labels, **changes[part]) for part in PARTS}


def _used(cohort: Cohort, split: Split, parts: Sequence[str]) -> Cohort:
    """Cohort without the subjects outside of some sets; the atlas stays."""
    used = {name for part in parts for name in split.sets[part]}
    return replace(cohort, cases=tuple(c for c in cohort.cases if c.subject in used or c.name == cohort.atlas))


def _check_shapes(recipe: Recipe, cohort: Cohort, cache: Cache) -> list[Problem]:
    """Problems of images of different subjects that differ in shape."""
    if recipe.data.task == "intra-subject":
        return []
    shapes = {case.name: cache.entries[case.name].shape for case in cohort.cases if case.name in cache.entries}
    if not shapes:
        return []
    usual = Counter(shapes.values()).most_common(1)[0][0]
    remedy = "set preprocessing.shape or preprocessing.align"
    return [
        Problem(name, f"got shape {shape}; expected {usual} as most others have; {remedy}")
        for name, shape in shapes.items()
        if shape != usual
    ]


def _check_counts(pairs: dict[str, list[Pair]], recipe: Recipe) -> None:
    for part in ("train", "validation"):
        if not pairs[part]:
            raise InputError(f"data of {recipe.name}, {part}", got="no pairs", expected="two subjects or more")


def _check_marked(pairs: Sequence[Pair], recipe: Recipe, cache: Cache) -> None:
    """Refuse loss terms for which a pair lacks labels or landmarks."""
    for term, kind, words in (("dice_weight", "labels", "labels"), ("tre_weight", "points", "landmarks")):
        for pair in pairs if getattr(recipe.loss, term) else ():
            bare = [name for name in (pair.moving, pair.fixed) if not getattr(cache.entries[name], kind)]
            if bare:
                remedy = f"give them, or --set loss.{term}=0"
                raise InputError(f"loss.{term}", got=f"{bare[0]} without {words}", expected=words, remedy=remedy)


def _counted(recipe: Recipe, occurring: Sequence[int]) -> tuple[int, ...]:
    """Labels that count; those that the recipe gives one by one must occur."""
    wanted = recipe.data.label_numbers()
    if wanted is None:
        return tuple(occurring)
    sets = label_sets(recipe.data.dataset, recipe.data.grouping)
    single = [entry for entry in recipe.data.labels or () if entry not in sets]
    foreign = sorted(set(label_numbers(single, recipe.data.label_names(), {})) - set(occurring))
    if foreign:
        shown = ", ".join(map(str, occurring)) or "none"
        raise InputError("data.labels", got=f"{foreign[0]}", expected=f"labels that occur: {shown}")
    return wanted
