"""The histogram: as exact as it says, and merged without loss."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.load.histogram import Histogram

VALUES = st.lists(st.integers(0, 1 << 50), min_size=1, max_size=200)
SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)


def histogram_of(values: list[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


@given(VALUES)
def test_percentiles_are_those_of_the_sorted_values_within_a_64th(values: list[int]) -> None:
    made, ordered = histogram_of(values), sorted(values)
    for share, found in zip(SHARES, made.percentiles(SHARES), strict=True):
        exact = ordered[max(1, math.ceil(share * len(ordered))) - 1]
        assert found == pytest.approx(exact, rel=1 / 64, abs=0)
        assert found == made.percentile(share)
        assert found <= made.maximum


@given(VALUES, VALUES)
def test_adding_is_as_if_all_had_been_recorded_in_one(first: list[int], second: list[int]) -> None:
    both = histogram_of(first)
    both.add(histogram_of(second))
    together = histogram_of(first + second)
    assert both.percentiles(SHARES) == together.percentiles(SHARES)
    assert (both.count, both.total, both.maximum) == (together.count, together.total, max(first + second))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 129, 255, 256, (1 << 40) - 1, 1 << 40])
def test_one_value_comes_back(value: int) -> None:
    assert histogram_of([value]).percentile(0.5) == pytest.approx(value, rel=1 / 64)


def test_a_clock_that_steps_back_counts_as_no_delay() -> None:
    made = histogram_of([-5])
    assert (made.percentile(0.5), made.count, made.total) == (0, 1, 0)


def test_an_empty_one_has_nothing_to_say() -> None:
    empty = Histogram()
    assert empty.percentile(0.5) is None
    assert empty.percentiles([0.5, 0.9]) == []
    assert empty.mean is None
