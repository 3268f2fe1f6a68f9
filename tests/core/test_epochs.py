"""Epochs: always higher than any seen of a key that is remembered."""

from __future__ import annotations

from cluster.core.bus.epochs import EpochBook


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
