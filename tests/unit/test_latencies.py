"""Percentiles read from a histogram are close to those of the values themselves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.policy.latencies import BOUNDS, BUCKETS, added, percentile


def histogram_of(latencies: list[float]) -> list[int]:
    """Return the histogram of latencies in milliseconds."""
    counts = [0] * BUCKETS
    for each in latencies:
        counts[next((n for n, bound in enumerate(BOUNDS) if each <= bound), BUCKETS - 1)] += 1
    return counts


def test_there_is_none_without_values() -> None:
    assert percentile([0] * BUCKETS, 0.5) is None


@given(st.lists(st.floats(1.0, 30_000.0), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_off_by_no_more_than_its_bucket(latencies: list[float], part: float) -> None:
    found = percentile(histogram_of(latencies), part)
    exact = sorted(latencies)[max(math.ceil(part * len(latencies)) - 1, 0)]

    assert found is not None
    assert exact <= 1 or exact / 1.2 <= found <= exact * 1.2


def test_what_is_longer_than_the_last_bound_counts_as_that_long() -> None:
    assert percentile(histogram_of([40_000.0] * 5), 0.5) == pytest.approx(BOUNDS[-1])


@given(st.lists(st.lists(st.floats(0.1, 90_000.0)), max_size=5))
def test_histograms_are_added(parts: list[list[float]]) -> None:
    together = [each for part in parts for each in part]

    assert added([histogram_of(part) for part in parts]) == histogram_of(together)
