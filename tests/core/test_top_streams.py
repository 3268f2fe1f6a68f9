"""Which streams have numbers of their own, and that none is left out of the sums."""

from __future__ import annotations

from cluster.core.top_streams import MAX_SHOWN_STREAMS, StreamNumbers, TopStreams, merged, top_streams


def streams(count: int) -> list[StreamNumbers]:
    """The later, the more players."""
    return [StreamNumbers(f"live/{n:03}", n, 10.0 * n, None) for n in range(count)]


def test_as_many_as_are_shown_have_no_others() -> None:
    top = top_streams(streams(MAX_SHOWN_STREAMS))
    assert (len(top.shown), *top[1:]) == (MAX_SHOWN_STREAMS, 0, 0, 0.0)
    assert top.shown[0].key == f"live/{MAX_SHOWN_STREAMS - 1:03}"


def test_one_more_is_summed() -> None:
    top = top_streams([*streams(MAX_SHOWN_STREAMS), StreamNumbers("live/b", 0, 7.0, 1.0)])
    assert (len(top.shown), *top[1:]) == (MAX_SHOWN_STREAMS, 1, 0, 0.0)
    assert top.shown[-1].key == "live/b"  # more bytes than the other without players


def test_of_equal_ones_always_the_same_are_shown() -> None:
    rows = [StreamNumbers(f"live/{n}", 1, 1.0) for n in range(MAX_SHOWN_STREAMS + 1)]
    assert top_streams(rows) == top_streams(reversed(rows))


def test_workers_together() -> None:
    one = TopStreams([StreamNumbers("live/a", 2, 100.0, 0.5), StreamNumbers("live/b", 1, 0.0)], 3, 2, 1.0)
    rows = [StreamNumbers("live/a", 3, 0.0, 0.75), StreamNumbers("live/c", 9, 0.0, 0.1)]
    other = TopStreams(rows, 1, 1, 0.5)
    both = merged([one, other])
    assert both.shown == [
        StreamNumbers("live/c", 9, 0.0, 0.1), StreamNumbers("live/a", 5, 100.0, 0.75),
        StreamNumbers("live/b", 1, 0.0, None),
    ]  # fmt: skip
    assert both[1:] == (4, 3, 1.5)


def test_together_no_more_are_shown_than_alone() -> None:
    other = [StreamNumbers(f"live/other{n}", 1, 1.0) for n in range(MAX_SHOWN_STREAMS)]
    both = merged([top_streams(streams(MAX_SHOWN_STREAMS)), top_streams(other)])
    assert len(both.shown) == MAX_SHOWN_STREAMS
    assert both.others == MAX_SHOWN_STREAMS
    everything = [*streams(MAX_SHOWN_STREAMS), *other]
    players = both.other_players + sum(row.players for row in both.shown)
    assert players == sum(row.players for row in everything)
