"""The media clock of a stream: pass-through, wrap, reordering, restarts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.timeline import MAX_REORDER_MS, Timeline

WRAP = 1 << 32


def place_all(timeline, stamps):
    return [timeline.place(stamp) for stamp in stamps]


def test_first_publishers_timestamps_pass_through():
    assert place_all(Timeline(), [0, 33, 21, 66, 1_000_000]) == [0, 33, 21, 66, 1_000_000]


def test_starts_anywhere():
    assert place_all(Timeline(), [0xFFFFFF, 0x1000000]) == [0xFFFFFF, 0x1000000]


def test_wraps_past_32_bits_without_a_jump():
    assert place_all(Timeline(), [WRAP - 20, WRAP - 1, 19, 3, 40]) == [
        WRAP - 20, WRAP - 1, WRAP + 19, WRAP + 3, WRAP + 40,
    ]  # fmt: skip


def test_fault_17_no_timestamp_is_a_marker():
    """Neither the highest one nor 2,000,000,000 means anything but itself."""
    stamps = [1_999_999_999, 2_000_000_000, 2_000_000_040, 4_000_000_000, WRAP - 1, 39]
    assert place_all(Timeline(), stamps) == [*stamps[:-1], WRAP + 39]


def test_already_unwrapped_timestamps_are_taken_as_they_are():
    assert place_all(Timeline(), [WRAP + 5, WRAP + 38]) == [WRAP + 5, WRAP + 38]


def test_reordering_at_the_limit_is_kept_and_one_past_it_is_a_restart():
    kept, restarted = Timeline(), Timeline()
    assert place_all(kept, [5000, 5000 - MAX_REORDER_MS])[-1] == 5000 - MAX_REORDER_MS
    assert kept.restarts == 0
    stamps = [5000, 5000 - MAX_REORDER_MS - 1, 5000 - MAX_REORDER_MS + 32]
    assert place_all(restarted, stamps) == [5000, 5001, 5034]
    assert restarted.restarts == 1


@pytest.mark.parametrize(("gap_ms", "expected"), [(0, 1), (-5, 1), (1, 1), (700, 700)])
def test_a_new_publisher_goes_on_after_the_old_one(gap_ms, expected):
    timeline = Timeline()
    place_all(timeline, [100, 200])
    timeline.restart(gap_ms)
    assert place_all(timeline, [0, 40]) == [200 + expected, 240 + expected]


def test_a_restart_before_any_media_changes_nothing():
    timeline = Timeline()
    timeline.restart(500)
    assert timeline.place(42) == 42
    assert timeline.restarts == 0


def test_begin_sets_the_clock_of_a_stream_joined_in_its_middle_only():
    timeline = Timeline()
    timeline.begin(3_600_000)
    assert timeline.latest == 3_600_000
    assert timeline.place(3_600_020) == 3_600_020
    timeline.begin(5)
    assert timeline.latest == 3_600_020


@given(st.lists(st.one_of(st.integers(0, WRAP - 1), st.just("restart")), max_size=60))
def test_never_jumps_back_further_than_reordering(steps):
    timeline = Timeline()
    latest = 0
    for step in steps:
        if step == "restart":
            timeline.restart(0)
        else:
            placed = timeline.place(step)
            assert placed >= max(0, latest - MAX_REORDER_MS)
            latest = max(latest, placed)
            assert timeline.latest == latest


def test_headers_stand_where_the_clock_is():
    timeline = Timeline()
    timeline.place(5000)
    assert [timeline.place_header(stamp) for stamp in (0, 9000)] == [5000, 5000]


def test_headers_before_any_media_keep_their_time():
    """Found with FFmpeg, which gave up on headers at 0 in front of media at 16,777,215 ms."""
    timeline = Timeline()
    assert [timeline.place_header(stamp) for stamp in (0, 0xFFFFFF, 0)] == [0, 0xFFFFFF, 0xFFFFFF]
    assert place_all(timeline, [0xFFFFFF, 0x1000010]) == [0xFFFFFF, 0x1000010]


@pytest.mark.parametrize(
    ("first_ms", "placed_ms"),
    [(9000, 9000), (9000 - MAX_REORDER_MS, 9000 - MAX_REORDER_MS), (9000 - MAX_REORDER_MS - 1, 9001)],
)
def test_media_that_begins_before_its_headers_does_not_go_back(first_ms, placed_ms):
    timeline = Timeline()
    timeline.place_header(9000)
    assert place_all(timeline, [first_ms, first_ms + 40]) == [placed_ms, placed_ms + 40]


def test_where_a_stream_is_joined_in_its_middle_headers_stand_there():
    timeline = Timeline()
    timeline.begin(7000)
    assert timeline.place_header(0) == 7000
