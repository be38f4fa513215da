"""Summary of rows: statistics of each method, and comparisons with reference methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from SPRCore.analysis.rows import BenchmarkRow
from SPRCore.analysis.statistics import (
    Comparison,
    SampleStatistics,
    confidence_interval,
    differences,
    holm_adjusted,
    signed_rank_p,
)
from SPRCore.config import check_name, value_at
from SPRCore.errors import InputError

INITIAL = "initial"
"""Name of the line with the state before registration."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure of a pair.

    Attributes:
        key: Name in files.
        title: Name in tables.
        read: Returns the value of a row after registration, or None.
        before: Returns the value before it, or None.
        better: 1 if higher is better, -1 if lower is, 0 if neither.
    """

    key: str
    title: str
    read: Callable[[BenchmarkRow], float | None]
    before: Callable[[BenchmarkRow], float | None] = lambda row: None
    better: int = 0


def _metric(key: str, title: str, better: int, *path: str) -> Measure:
    def look(metrics: object) -> float | None:
        metrics = value_at(metrics, path)
        if isinstance(metrics, dict):  # by label
            known = [value for value in metrics.values() if value is not None]
            return float(np.mean(known)) if known else None
        return metrics if isinstance(metrics, (int, float)) else None

    read, before = (lambda row: look(row.after)), (lambda row: look(row.before))
    return Measure(key=key, title=title, read=read, before=before, better=better)


MEASURES = (
    _metric("dice_mean", "Dice", 1, "dice_mean"),
    _metric("tre_mm", "TRE, mm", -1, "tre_mm", "mean"),
    _metric("hd95_mm", "HD95, mm", -1, "hd95_mm"),
    _metric("lncc", "LNCC", 1, "lncc"),
    _metric("folding_percent", "folding, %", -1, "folding_percent"),
    _metric("ndv_percent", "NDV, %", -1, "ndv_percent"),
    _metric("displacement_mm", "displacement, mm", 0, "displacement_mm", "mean"),
    _metric("inverse_consistency_mm", "inverse consistency, mm", -1, "inverse_consistency_mm", "mean"),
    Measure(key="seconds", title="seconds", read=lambda row: row.seconds.get("register"), better=-1),
    Measure(key="processor_seconds", title="of processor", read=lambda row: row.processor_seconds, better=-1),
    Measure(key="peak_memory_mb", title="peak, MiB", read=lambda row: row.peak_memory_mb, better=-1),
)
"""The measures in tables, in their order."""

_BY_KEY = {measure.key: measure for measure in MEASURES}
_PRIMARY = ("dice_mean", "tre_mm", "lncc")


@dataclass(frozen=True, kw_only=True)
class MethodSummary:
    """Summary of one method over all its pairs.

    Attributes:
        method: Its name.
        pairs: Number of registered pairs.
        failed: Reasons of failures, by pair.
        labels: Dice by label.
        pooled: Dice over all labels of all pairs, as in the paper, or None without labels.
        values: Statistics over pairs, by the key of a measure.
        comparisons: Comparisons with the reference methods, in their order.
    """

    method: str
    pairs: int
    failed: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, SampleStatistics]
    pooled: SampleStatistics | None
    values: Mapping[str, SampleStatistics]
    comparisons: tuple[Comparison, ...] = ()

    @property
    def comparison(self) -> Comparison | None:
        """Comparison with the first reference method, or None."""
        return self.comparisons[0] if self.comparisons else None


def summarize(rows: Sequence[BenchmarkRow], twins: Mapping[str, Sequence[str]] | None = None) -> list[MethodSummary]:
    """Summarize rows by method.

    Args:
        rows: One row for each method and pair.
        twins: Methods and their reference methods, instead of those in the rows.

    Returns:
        The state before registration first, then the methods in the order of the rows; compared by the first of Dice,
        landmark error and similarity that is known.

    Raises:
        InputError: A pair differs between rows, or a reference method is missing.
    """
    _check_same_pairs(rows)
    by_method: dict[str, list[BenchmarkRow]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    references = {row.method: row.twin for row in rows if row.twin} if twins is None else dict(twins)
    for name in (*references, *(other for others in references.values() for other in others)):
        check_name(name, by_method, "reference method")
    found = [_summary(method, part) for method, part in by_method.items()]
    compared = compare(rows, references)
    found = [replace(part, comparisons=tuple(compared.get(part.method, ()))) for part in found]
    first = {row.pair: row for row in rows if row.before}
    return [_initial(list(first.values())), *found] if first else found


def compare(
    rows: Sequence[BenchmarkRow], twins: Mapping[str, Sequence[str]], measure: Measure | None = None
) -> dict[str, list[Comparison]]:
    """Test methods against each of their reference methods (`twins`) with which they share pairs, adjusted by Holm.

    Without a `measure` the first of Dice, landmark error and similarity that is known is compared.
    """
    measure = measure or primary(rows)
    subjects = {row.pair: row.subject for row in rows}
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        value = measure.read(row)
        if value is not None:
            values.setdefault(row.method, {})[row.pair] = value
    tests = []
    for method, reference in dict.fromkeys((name, other) for name, others in twins.items() for other in others):
        by_subject = differences(values.get(method, {}), values.get(reference, {}), subjects)
        if by_subject:
            tests.append(_comparison(method, reference, measure, np.array(list(by_subject.values()))))
    found: dict[str, list[Comparison]] = {}
    for test, p in zip(tests, holm_adjusted([test.p for test in tests]), strict=True):
        found.setdefault(test.method, []).append(replace(test, p_holm=p))
    return found


def primary(rows: Sequence[BenchmarkRow]) -> Measure:
    """Return the measure of comparisons: Dice, or the landmark error, or else the similarity."""
    return next(
        (_BY_KEY[key] for key in _PRIMARY if any(_BY_KEY[key].read(row) is not None for row in rows)),
        _BY_KEY["lncc"],
    )


def _check_same_pairs(rows: Sequence[BenchmarkRow]) -> None:
    """Raise `InputError` for rows of one pair that differ in subject, metric conventions, or metrics before."""
    first = rows[0] if rows else None
    for row in rows:
        if row.conventions != first.conventions:
            got = f"two metric conventions, those of {first.method} and of {row.method}"
            raise InputError("results", got=got, expected="one", remedy="measure all methods with the same options")
    known: dict[str, BenchmarkRow] = {}
    for row in rows:
        other = known.setdefault(row.pair, row) if row.before else row
        same = row.subject == other.subject and all(
            np.isclose(a, b, rtol=1e-4, atol=1e-6)
            for measure in MEASURES
            if (a := measure.before(row)) is not None and (b := measure.before(other)) is not None
        )
        if not same:
            got = f"two different ones of that name, for {other.method} and {row.method}"
            raise InputError(f"pair {row.pair}", got=got, expected="runs on the same list of pairs")


def _comparison(method: str, reference: str, measure: Measure, values: np.ndarray) -> Comparison:
    low, high = confidence_interval(values)
    p = signed_rank_p(values)
    mean = float(values.mean())
    return Comparison(
        method=method,
        reference=reference,
        measure=measure.key,
        subjects=len(values),
        difference=mean,
        low=low,
        high=high,
        better=int((values * measure.better > 0).sum()),
        p=p,
        p_holm=p,
        is_better=mean * measure.better > 0,
    )


def _summary(method: str, rows: list[BenchmarkRow]) -> MethodSummary:
    done = [row for row in rows if row.failed is None]
    failed = {row.pair: row.failed for row in rows if row.failed is not None}
    labels, pooled = _overlap([row.after.get("dice") or {} for row in done])
    values = {measure.key: _spread([measure.read(row) for row in done]) for measure in MEASURES}
    kept = {key: spread for key, spread in values.items() if spread is not None}
    return MethodSummary(method=method, pairs=len(done), failed=failed, labels=labels, pooled=pooled, values=kept)


def _initial(rows: list[BenchmarkRow]) -> MethodSummary:
    labels, pooled = _overlap([row.before.get("dice") or {} for row in rows])
    values = {measure.key: _spread([measure.before(row) for row in rows]) for measure in MEASURES}
    kept = {key: spread for key, spread in values.items() if spread is not None}
    return MethodSummary(method=INITIAL, pairs=len(rows), labels=labels, pooled=pooled, values=kept)


def _overlap(scores: list[dict[str, float]]) -> tuple[dict[str, SampleStatistics], SampleStatistics | None]:
    by_label: dict[str, list[float]] = {}
    for score in scores:
        for label, value in score.items():
            if value is not None:
                by_label.setdefault(label, []).append(value)
    spreads = {label: spread for label, values in by_label.items() if (spread := SampleStatistics.of(values))}
    return spreads, SampleStatistics.of([value for values in by_label.values() for value in values])


def _spread(values: list[float | None]) -> SampleStatistics | None:
    return SampleStatistics.of([value for value in values if value is not None])
