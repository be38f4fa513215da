"""Pairs of the cases of a set."""

from __future__ import annotations

from collections.abc import Sequence

from SPRCore.training.data.cases import Case, Pair
from SPRCore.training.data.cohort import Cohort
from SPRCore.training.data.problems import Problem
from SPRCore.training.data_config import DataConfig


def make_pairs(cohort: Cohort, subjects: Sequence[str], data: DataConfig, part: str) -> list[Pair]:
    """Pair the cases of the subjects of a set, "train", "validation" or "test".

    The pairs prescribed by the data set, if any. Otherwise between subjects: all pairs in training; in validation and
    test one for each subject, with the next by name.
    """
    cases = cohort.subjects()
    members = {case.name for name in subjects for case in cases[name]}
    given = [pair for pair in cohort.pairs.get(part, ()) if {pair.moving, pair.fixed} <= members]
    if given:
        return given
    if data.task == "atlas-to-subject":
        return [Pair(str(cohort.atlas), case.name) for name in subjects for case in cases[name]]
    if data.task == "intra-subject":
        pairs = [pair for name in subjects for pair in _within(cases[name])]
        return _both(pairs) if data.both_ways else pairs
    roles: dict[str, list[Case]] = {}
    for name in sorted(subjects):
        for case in cases[name]:
            roles.setdefault(case.role, []).append(case)
    return [pair for group in roles.values() for pair in _between(group, data, part)]


def check_pairs(cohort: Cohort, data: DataConfig) -> list[Problem]:
    """Find subjects with too few images for a pair."""
    if data.task != "intra-subject":
        return []
    return [
        Problem(name, f"got one image ({cases[0].image.name}); expected two or more to register within a subject")
        for name, cases in cohort.subjects().items()
        if len(cases) < 2
    ]


def _within(cases: Sequence[Case]) -> list[Pair]:
    """Pairs of every image of a subject with every later one, such as ED to ES."""
    return [Pair(a.name, b.name) for index, a in enumerate(cases) for b in cases[index + 1 :]]


def _between(cases: Sequence[Case], data: DataConfig, part: str) -> list[Pair]:
    if part == "train":
        pairs = [(a, b) for a in cases for b in cases if a.subject != b.subject]
        return [Pair(a.name, b.name) for a, b in pairs if data.both_ways or a.name < b.name]
    if len(cases) < 2:
        return []
    return [Pair(a.name, b.name) for a, b in zip(cases, [*cases[1:], cases[0]], strict=True)]


def _both(pairs: Sequence[Pair]) -> list[Pair]:
    return [each for pair in pairs for each in (pair, Pair(pair.fixed, pair.moving))]
