"""Stamps on envelopes, and the clocks that they are read by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.bus.clock_offset import REMEMBERED, ClockOffset
from cluster.core.bus.envelope import Envelope, EnvelopeError, decode, encode
from cluster.core.bus.stamps import STAMPED_AT, Stamp, is_stamped, key_of, stamped, unstamped
from cluster.core.histogram import BOUNDS_S, Histogram, added
from cluster.core.message import Message

ENVELOPE = Envelope("live/\u00e9", 7, 3, "node/i/0/1", [Message(9, 40, b"picture"), Message(8, 41, b"")])


@given(st.integers(0, 2**62), st.integers(0, 2**32 - 1))
def test_a_stamp_comes_off_and_leaves_the_envelope_as_it_was(flushed_us: int, waited_us: int) -> None:
    frame = encode(ENVELOPE)
    with_stamp = stamped(frame, Stamp(flushed_us, waited_us))
    assert is_stamped(with_stamp)
    assert unstamped(with_stamp) == (frame, Stamp(flushed_us, waited_us))
    assert key_of(frame) == ENVELOPE.key


@pytest.mark.parametrize(("waited_us", "told_us"), [(-1, 0), (2**32, 2**32 - 1)])
def test_what_is_no_interval_is_cut(waited_us: int, told_us: int) -> None:
    assert unstamped(stamped(encode(ENVELOPE), Stamp(1, waited_us)))[1] == Stamp(1, told_us)


def test_who_does_not_know_stamps_refuses_such_a_frame() -> None:
    with pytest.raises(EnvelopeError):
        decode(stamped(encode(ENVELOPE), Stamp(1, 2)))


def test_a_frame_without_stamp_is_known_whatever_its_length() -> None:
    frame = encode(ENVELOPE)
    assert not any(is_stamped(frame[:size]) for size in range(len(frame) + 1))


def test_a_stamp_that_is_cut_off() -> None:
    frame = stamped(encode(Envelope("", 1, 1, "", [])), Stamp(1, 2))
    for size in range(STAMPED_AT + 1, len(frame)):
        with pytest.raises(EnvelopeError):
            unstamped(frame[:size])


# ---- clocks ----------------------------------------------------------------------------------


def test_nothing_is_known_of_a_clock_that_was_not_asked() -> None:
    clock = ClockOffset()
    assert (clock.offset_us, clock.round_trip_us, clock.is_settled) == (None, 0, False)


def test_the_shortest_round_trip_says_what_the_clock_is() -> None:
    clock = ClockOffset()
    clock.note(1_000, 501_500, 2_000)  # 500 ms ahead, each way 0.5 ms
    clock.note(10_000, 510_500, 18_000)  # the way back was slow
    clock.note(20_000, 527_500, 28_000)  # the way there was slow
    assert (clock.offset_us, clock.round_trip_us) == (500_000, 1_000)


def test_a_round_trip_is_forgotten_after_some_more() -> None:
    clock = ClockOffset()
    clock.note(0, 0, 100)
    for at in range(REMEMBERED):
        clock.note(at * 1_000, at * 1_000 + 700, at * 1_000 + 1_000)
    assert clock.is_settled
    assert (clock.offset_us, clock.round_trip_us) == (200, 1_000)


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    clock = ClockOffset()
    clock.note(0, 1_000_500, 1_000)
    clock.note(2_000, 9_002_500, 3_000)
    assert clock.offset_us == 9_000_000


def test_an_answer_before_its_question_is_of_a_clock_of_ours_that_was_set() -> None:
    clock = ClockOffset()
    clock.note(0, 500, 1_000)
    clock.note(5_000, 500, 4_000)
    assert clock.offset_us is None


def test_another_router_is_another_clock() -> None:
    clock = ClockOffset()
    clock.note(0, 500, 1_000)
    clock.forget()
    assert clock.offset_us is None


# ---- histograms ------------------------------------------------------------------------------


def test_a_time_is_counted_up_to_its_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[0] + 1e-9, BOUNDS_S[-1], BOUNDS_S[-1] + 1):
        histogram.note(seconds)
    total, *counts = histogram.numbers
    assert total == pytest.approx(2 * BOUNDS_S[0] + 2 * BOUNDS_S[-1] + 1)
    assert (counts[0], counts[1], counts[-2], counts[-1]) == (2, 1, 1, 1)
    assert sum(counts) == 5


def test_histograms_add_up() -> None:
    one, other = Histogram(), Histogram()
    one.note(0.002)
    other.note(0.002)
    other.note(100)
    both = added(one.numbers, other.numbers)
    assert (both[0], both[2], both[-1]) == (pytest.approx(100.004), 2, 1)
    assert added([], other.numbers) == other.numbers
    assert added(one.numbers, []) == one.numbers
    assert added([], []) == Histogram().numbers
