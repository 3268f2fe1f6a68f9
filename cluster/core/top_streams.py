"""Numbers of single streams: of those with most players; all others are one row.

An operator wants to see the few that matter, and a store of metrics is not to be filled by the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

#: Streams that have numbers of their own, at a worker, at a node and at a router: each is some time series.
MAX_SHOWN_STREAMS = 50


class StreamNumbers(NamedTuple):
    """``bytes_per_s``: from its publisher, if that is here. ``delay_s``: from the arrival at its origin to
    the sockets of players here; None where that was not seen."""

    key: str
    players: int
    bytes_per_s: float
    delay_s: float | None = None


class TopStreams(NamedTuple):
    """``others``: how many more there are, with the sums of theirs."""

    shown: list[StreamNumbers]
    others: int = 0
    other_players: int = 0
    other_bytes_per_s: float = 0.0


def top_streams(rows: Iterable[StreamNumbers]) -> TopStreams:
    """The streams with most players, then with most bytes."""
    every = sorted(rows, key=lambda row: (-row.players, -row.bytes_per_s, row.key))
    shown, others = every[:MAX_SHOWN_STREAMS], every[MAX_SHOWN_STREAMS:]
    players, bytes_per_s = sum(row.players for row in others), sum(row.bytes_per_s for row in others)
    return TopStreams(shown, len(others), players, bytes_per_s)


def merged(tops: Iterable[TopStreams]) -> TopStreams:
    """What several workers say, together; a stream counts as an other at each that does not show it."""
    by_key: dict[str, StreamNumbers] = {}
    others, other_players, other_bytes_per_s = 0, 0, 0.0
    for top in tops:
        for row in top.shown:
            by_key[row.key] = both(by_key.get(row.key), row)
        others += top.others
        other_players += top.other_players
        other_bytes_per_s += top.other_bytes_per_s
    best = top_streams(by_key.values())
    return TopStreams(
        best.shown, best.others + others, best.other_players + other_players,
        best.other_bytes_per_s + other_bytes_per_s,
    )  # fmt: skip


def both(one: StreamNumbers | None, other: StreamNumbers) -> StreamNumbers:
    if one is None:
        return other
    delays = [each for each in (one.delay_s, other.delay_s) if each is not None]
    players, bytes_per_s = one.players + other.players, one.bytes_per_s + other.bytes_per_s
    return StreamNumbers(one.key, players, bytes_per_s, max(delays, default=None))
