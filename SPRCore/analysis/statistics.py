"""Statistical tests of methods against each other, over subjects."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 4000


@dataclass(frozen=True, kw_only=True)
class SampleStatistics:
    """Mean, standard deviation (of the sample; None below two values) and number of values."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> SampleStatistics | None:
        """Return the statistics of values; None without values."""
        if not len(values):
            return None
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(mean=float(np.mean(values)), sd=sd, n=len(values))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method compared with its reference method on the subjects and pairs of both.

    Attributes:
        method: The method.
        reference: The reference method.
        measure: Key of the compared measure.
        subjects: Number of subjects.
        difference: Mean over subjects of method minus reference.
        low: Lower end of its 95 % confidence interval (bootstrap over subjects).
        high: Upper end.
        better: Number of subjects for which the method is better.
        p: Two-sided p of the Wilcoxon signed-rank test over subjects.
        p_holm: The same, adjusted by Holm for all comparisons of a table.
        is_better: Whether the mean difference is an improvement.
    """

    method: str
    reference: str
    measure: str
    subjects: int
    difference: float
    low: float
    high: float
    better: int
    p: float
    p_holm: float
    is_better: bool


def subject_means(values: Mapping[str, float], subjects: Mapping[str, str]) -> dict[str, float]:
    """Return the mean over the pairs of each subject, from the value and the subject of each pair."""
    grouped: dict[str, list[float]] = {}
    for pair, value in values.items():
        grouped.setdefault(subjects[pair], []).append(value)
    return {subject: float(np.mean(found)) for subject, found in grouped.items()}


def differences(
    first: Mapping[str, float], second: Mapping[str, float], subjects: Mapping[str, str]
) -> dict[str, float]:
    """Return first minus second by subject, each the mean over the pairs of both."""
    common = {pair: first[pair] - second[pair] for pair in first if pair in second}
    return subject_means(common, subjects)


def signed_rank_p(values: Sequence[float]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test (doi:10.2307/3001968) that differences are symmetric about 0.

    Exact for up to 50 values without ties or zeros, otherwise by the normal approximation; zeros are omitted. 1 if all
    are 0 or there are none.
    """
    from scipy.stats import wilcoxon

    array = np.asarray(values, dtype=np.float64)
    array = array[array != 0]
    if not len(array):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about small samples, which the p shows
        return float(wilcoxon(array).pvalue)


def holm_adjusted(p: Sequence[float]) -> list[float]:
    """Adjust p values of one family by the step-down method of Holm (Scand J Stat 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted, highest = [1.0] * len(p), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted


def confidence_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean, lower and upper end."""
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(array), size=(_RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
