"""High-water marks that follow the size of the envelopes."""

from __future__ import annotations

import pytest

from cluster.core.bus import bounds
from cluster.core.bus.high_water import HighWater


@pytest.mark.parametrize("at_once", [1, 64, 1_000])
def test_small_envelopes_may_queue_by_the_thousand(at_once: int) -> None:
    high_water = HighWater()
    assert high_water.mark == bounds.FIRST_HIGH_WATER_MARK
    assert sum(high_water.note(4_000 * at_once, at_once) for _ in range(200)) == 1
    assert high_water.mark == bounds.DATA_HIGH_WATER_MARK
    assert high_water.is_highest


def test_what_fits_the_bytes_and_no_more() -> None:
    high_water = HighWater()
    assert sum(high_water.note(40_000) for _ in range(200)) == 1
    assert high_water.mark == bounds.DATA_HIGH_WATER_BYTES // 40_000
    assert not high_water.is_highest


@pytest.mark.parametrize("size_bytes", [65_536, 10_000_000])
def test_large_envelopes_leave_it_where_it_began(size_bytes: int) -> None:
    high_water = HighWater()
    assert not any(high_water.note(size_bytes) for _ in range(1_000))
    assert high_water.mark == bounds.FIRST_HIGH_WATER_MARK
    assert bounds.FIRST_HIGH_WATER_MARK * 65_536 == bounds.DATA_HIGH_WATER_BYTES


def test_it_is_never_lowered() -> None:
    """libzmq may stop for ever if it is."""
    high_water = HighWater()
    high_water.note(64_000, 64)
    before = high_water.mark
    assert not any(high_water.note(10_000_000) for _ in range(1_000))
    assert high_water.mark == before


def test_a_few_envelopes_say_nothing_and_small_steps_are_not_taken() -> None:
    high_water = HighWater()
    assert not any(high_water.note(1) for _ in range(63))
    assert high_water.note(1)
    high_water = HighWater()
    assert not any(high_water.note(60_000) for _ in range(1_000))


def test_nothing_at_all() -> None:
    assert not HighWater().note(0, 0)
