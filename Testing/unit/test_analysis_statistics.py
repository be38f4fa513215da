"""Tests over subjects, held against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.analysis.statistics import (
    SampleStatistics,
    confidence_interval,
    differences,
    holm_adjusted,
    signed_rank_p,
    subject_means,
)


def test_the_exact_p_is_counted_by_hand():
    # Of the 2^5 ways to give signs to the ranks 1 to 5, one alone has them all positive: p = 2/32.
    assert signed_rank_p([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(2 / 32)
    # Rank 1 negative: sums at most 1 are reached by two of 32 ways.
    assert signed_rank_p([-0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(4 / 32)


def test_the_p_is_that_of_all_ways_to_give_signs():
    values = np.random.default_rng(1).normal(0.3, 1.0, 9)
    ranks = np.argsort(np.argsort(np.abs(values))) + 1
    observed = ranks[values > 0].sum()
    signs = (np.arange(2**9)[:, None] >> np.arange(9)) & 1
    sums = signs @ np.arange(1, 10)
    p = 2 * min((sums <= observed).mean(), (sums >= observed).mean())
    assert signed_rank_p(values) == pytest.approx(min(1.0, p))


def test_nothing_differs():
    assert signed_rank_p([0.0, 0.0]) == 1.0
    assert signed_rank_p([]) == 1.0
    assert signed_rank_p([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]) == signed_rank_p([0.1, 0.2, 0.3, 0.4, 0.5])


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1: 0.03, 0.04, 0.04.
    assert holm_adjusted([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm_adjusted([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm_adjusted([]) == []


def test_a_subject_counts_once_by_the_pairs_that_both_have():
    subjects = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    first = {"a1": 0.5, "a2": 0.7, "b1": 0.9, "c1": 1.0}
    second = {"a1": 0.4, "b1": 0.5, "a2": 0.4}
    assert subject_means(first, subjects) == pytest.approx({"a": 0.6, "b": 0.9, "c": 1.0})
    assert differences(first, second, subjects) == pytest.approx({"a": 0.2, "b": 0.4})


def test_spread():
    assert SampleStatistics.of([1.0, 3.0]) == SampleStatistics(mean=2.0, sd=pytest.approx(2**0.5), n=2)
    assert SampleStatistics.of([1.0]) == SampleStatistics(mean=1.0, sd=None, n=1)
    assert SampleStatistics.of([]) is None


def test_the_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = [low <= 0 <= high for low, high in (confidence_interval(random.normal(size=25)) for _ in range(200))]
    assert 0.87 <= np.mean(covered) <= 0.98  # the percentile interval of 25 values covers a little less than it says
