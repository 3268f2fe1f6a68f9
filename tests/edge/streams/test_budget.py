"""The memory of all streams of a worker together: who gives when it is used up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from cluster.core.limits import MIB
from cluster.core.media.stream_log import ENTRY_BYTES
from cluster.core.message import Message
from cluster.edge.streams import budget
from cluster.edge.streams.interfaces import EndOfPublish
from cluster.edge.streams.streams import Streams
from support.house import KEY, SteppedLoop, stepped_loop, video
from support.streams import RULES, FakePublisher, make_streams

BUDGET = 64 * MIB


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


@pytest.fixture
def streams(loop: SteppedLoop) -> Streams:
    return make_streams(loop, dataclasses.replace(RULES, worker_bytes=BUDGET))[0]


def publish(loop: SteppedLoop, streams: Streams, key: str, sender: str) -> FakePublisher:
    publisher = FakePublisher(key, sender)
    loop.run_until_complete(streams.publishing.request(key, publisher))
    publisher.feed.append(video(0, KEY))
    return publisher


def fill(publisher: FakePublisher, size: int) -> None:
    """Messages of a MiB on one timestamp, as many as cost ``size``."""
    for _ in range(size // MIB):
        publisher.feed.append(Message(9, 0, video(0).payload.ljust(MIB - ENTRY_BYTES, b"\0"), 1))


def held(streams: Streams) -> int:
    return sum(stream.log.cost_bytes for stream in streams.live())


def test_below_the_budget_nobody_gives(loop: SteppedLoop, streams: Streams) -> None:
    publishers = [publish(loop, streams, f"live/{n}", "10.0.0.1") for n in range(3)]
    for publisher in publishers:
        fill(publisher, 20 * MIB)
    before = held(streams)
    assert 60 * MIB <= before <= BUDGET
    streams.budget.settle()
    assert held(streams) == before == streams.counters.stream_bytes
    assert streams.counters.logs_cut == 0


def test_beyond_it_the_largest_log_of_the_largest_sender_is_cut(
    loop: SteppedLoop, streams: Streams
) -> None:
    mine = publish(loop, streams, "live/mine", "10.0.0.1")
    theirs = [publish(loop, streams, f"live/{n}", "10.0.0.2") for n in range(3)]
    fill(mine, 24 * MIB)
    for publisher, size in zip(theirs, (10, 20, 11), strict=True):
        fill(publisher, size * MIB)
    before = {key: stream.log.cost_bytes for key, stream in streams.by_key.items()}
    streams.budget.settle()
    after = {key: stream.log.cost_bytes for key, stream in streams.by_key.items()}
    assert [key for key in before if after[key] < before[key]] == ["live/1"], "not the largest log of all"
    assert after["live/1"] <= before["live/1"] / 2
    assert held(streams) <= BUDGET
    assert streams.counters.logs_cut == 1
    assert all(publisher.lost_why is None for publisher in (mine, *theirs))


def test_a_log_that_fills_up_as_fast_as_it_is_cut_loses_its_publisher(
    loop: SteppedLoop, streams: Streams
) -> None:
    honest = publish(loop, streams, "live/honest", "10.0.0.1")
    fill(honest, 16 * MIB)
    greedy = [publish(loop, streams, f"live/{n}", "10.0.0.2") for n in range(2)]
    for _ in range(3 * budget.MAX_CUTS):
        for publisher in greedy:
            if publisher.lost_why is None:
                fill(publisher, 31 * MIB)
        streams.budget.settle()
        assert held(streams) <= BUDGET
    assert [publisher.lost_why for publisher in greedy].count(EndOfPublish.MEMORY) >= 1
    assert honest.lost_why is None
    assert held(streams) >= 16 * MIB


def test_cuts_that_are_far_apart_end_nobody(
    loop: SteppedLoop, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MAX_CUTS", 2)
    publishers = [publish(loop, streams, f"live/{n}", "10.0.0.2") for n in range(3)]
    for _ in range(20):
        for publisher in publishers:
            fill(publisher, 31 * MIB)
        streams.budget.settle()
        loop.advance(budget.CUTS_WITHIN_S)
        streams.turn.begin()
    assert streams.counters.logs_cut > 3 * 2
    assert all(publisher.lost_why is None for publisher in publishers)


def test_unfinished_messages_count_and_cannot_be_cut(loop: SteppedLoop, streams: Streams) -> None:
    publishers = [publish(loop, streams, f"live/{n}", "10.0.0.2") for n in range(3)]
    for publisher in publishers:
        publisher.unfinished_bytes = BUDGET // 3
    streams.budget.settle()
    assert [publisher.lost_why for publisher in publishers].count(EndOfPublish.MEMORY) == 1


def test_headers_count_and_cannot_be_cut(loop: SteppedLoop, streams: Streams) -> None:
    publishers = [publish(loop, streams, f"live/{n}", "10.0.0.2") for n in range(40)]
    metadata = b"\x02\x00\x0aonMetaData".ljust(2 * MIB, b"\0")
    for publisher in publishers:
        publisher.feed.append(Message(18, 0, metadata, 1))
        publisher.feed.stream.log.forget()
    streams.budget.settle()
    lost = [publisher for publisher in publishers if publisher.lost_why is EndOfPublish.MEMORY]
    assert len(lost) in range(8, 12)
    assert held(streams) <= BUDGET


def test_the_sum_is_made_when_so_much_may_have_come(loop: SteppedLoop, streams: Streams) -> None:
    publishers = [publish(loop, streams, f"live/{n}", "10.0.0.2") for n in range(3)]
    streams.turn.end()
    for publisher in publishers:
        fill(publisher, 30 * MIB)
    share = BUDGET // budget.LOOKS_PER_BUDGET
    streams.counters.bytes_received += share - 1
    streams.turn.end()
    assert held(streams) > BUDGET
    streams.counters.bytes_received += 1
    streams.turn.end()
    assert held(streams) <= BUDGET


def test_small_messages_count_as_what_they_cost(loop: SteppedLoop, streams: Streams) -> None:
    publisher = publish(loop, streams, "live/a", "10.0.0.2")
    streams.turn.end()
    fill(publisher, 30 * MIB)
    streams.counters.messages_received += BUDGET // budget.LOOKS_PER_BUDGET // ENTRY_BYTES + 1
    streams.turn.end()
    assert streams.counters.stream_bytes >= 30 * MIB
