"""Percentiles of many values are those of all of them, whatever their distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SPRCore.geometry import percentiles

MANY, SAMPLE = 2**18 + 1234, 2**15  # values, and how many of that many are sampled first
DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n),
    "mostly background": lambda rng, n: np.where(rng.random(n) < 0.8, 0.0, rng.random(n)),
    "whole numbers": lambda rng, n: rng.integers(-3, 4, n),
    "two values": lambda rng, n: np.arange(n) > n // 3,
    "all equal": lambda rng, n: np.full(n, 2.5),
    "sorted": lambda rng, n: np.sort(rng.exponential(size=n)),
    "periodic": lambda rng, n: np.sin(np.arange(n) * (2 * np.pi / 64)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), percents=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=4))
def test_percentiles_are_those_of_numpy(name, seed, percents):
    values = DISTRIBUTIONS[name](np.random.default_rng(seed), MANY).astype(np.float32)
    for part in (values, values[:5], values[: MANY // 2 * 2].reshape(2, -1).T):
        expected = np.percentile(part.astype(np.float64), percents)
        np.testing.assert_allclose(percentiles(part, percents), expected, rtol=1e-9, atol=1e-12)


def test_few_values_are_sorted_and_a_sample_that_misleads_is_not_trusted():
    values = np.zeros(MANY, dtype=np.float32)
    step = MANY // SAMPLE
    while np.gcd(step, MANY) > 1:
        step += 1
    values[::step] = np.arange(values[::step].size)  # all that the sample sees, a small part of all
    expected = np.percentile(values.astype(np.float64), (1.0, 50.0, 99.0))
    np.testing.assert_allclose(percentiles(values, (1.0, 50.0, 99.0)), expected)
