"""Epochs: always higher than any seen of a key that is remembered."""

from __future__ import annotations

from cluster.core.bus.bounds import MAX_EPOCH_AHEAD_S
from cluster.core.bus.epochs import EpochBook, latest_epoch


def test_the_wall_clock_or_one_more_than_the_highest_seen() -> None:
    book = EpochBook()
    assert book.next("a", 1_000) == 1_000
    assert book.next("a", 1_000) == 1_001
    assert book.next("a", 500) == 1_002  # the clock was set back
    assert book.next("a", 2_000) == 2_000
    book.note("a", 9_000)
    book.note("a", 3_000)
    assert book.next("a", 2_500) == 9_001
    assert book.next("b", 2_500) == 2_500  # keys do not mix


def test_the_keys_seen_last_are_remembered() -> None:
    book = EpochBook(max_keys=2)
    for key in ("a", "b", "a"):
        book.note(key, 100)
    assert book.next("a", 1) == 101
    book.note("c", 100)  # one more than fits: b was seen longest ago
    assert book.next("a", 1) == 102
    assert book.next("b", 1) == 1


def test_what_lies_too_far_ahead_counts_no_more() -> None:
    day_ms = MAX_EPOCH_AHEAD_S * 1_000
    assert latest_epoch(1_000) == 1_000 + day_ms
    book = EpochBook()
    book.note("at the limit", day_ms + 999)
    assert book.next("at the limit", 1_000) == latest_epoch(1_000)
    book.note("past it", day_ms + 1_000)  # the clock was set back since
    assert book.next("past it", 1_000) == 1_000
    assert book.next("past it", 1_000) == 1_001
