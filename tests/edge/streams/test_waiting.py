"""Streams that are waited for and never published: time, number, and what an idle one costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.edge.rtmp.encoding import SHARED
from cluster.edge.streams import waiting
from cluster.edge.streams.interfaces import EndOfRead
from cluster.edge.streams.stream import Stream
from cluster.edge.streams.streams import Streams
from support.house import SteppedLoop, stepped_loop
from support.streams import RULES, FakePublisher, FakeSink, make_streams


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


@pytest.fixture
def streams(loop: SteppedLoop) -> Streams:
    return make_streams(loop)[0]


def play(streams: Streams, key: str) -> FakeSink:
    sink = FakeSink()
    streams.play(key, sink, SHARED)
    return sink


def sweep_at(loop: SteppedLoop, streams: Streams, seconds: float) -> None:
    loop.advance(seconds)
    streams.sweep()


def test_each_reader_waits_for_its_own_time(loop: SteppedLoop, streams: Streams) -> None:
    early = play(streams, "live/a")
    sweep_at(loop, streams, 10)
    late = play(streams, "live/a")
    sweep_at(loop, streams, RULES.play_wait_s - 10)
    assert (early.ended, late.ended) == (EndOfRead.NOT_FOUND, None)
    sweep_at(loop, streams, 10)
    assert late.ended is EndOfRead.NOT_FOUND
    assert not streams.by_key


def test_who_leaves_before_its_time_leaves_nothing(loop: SteppedLoop, streams: Streams) -> None:
    sinks = [play(streams, f"live/{n}") for n in range(100)]
    for sink in sinks:
        sink.reader.leave()
    streams.sweep()
    assert not streams.by_key
    assert streams.counters.streams_waiting == 0
    sweep_at(loop, streams, RULES.play_wait_s)
    assert all(sink.ended is None for sink in sinks)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_number_of_streams_at_the_limit_and_one_past(
    extra: int, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING_STREAMS", 10)
    sinks = [play(streams, f"live/{n}") for n in range(10 + extra)]
    dismissed = [n for n, sink in enumerate(sinks) if sink.ended is EndOfRead.NOT_FOUND]
    assert dismissed == [0] * extra, "whoever waits longest gives way"
    assert streams.counters.streams_dismissed == extra


def test_streams_that_are_published_do_not_count(
    loop: SteppedLoop, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING_STREAMS", 1)
    for key in ("live/a", "live/b"):
        loop.run_until_complete(streams.publishing.request(key, FakePublisher(key)))
    sinks = [play(streams, key) for key in ("live/a", "live/b", "live/c")]
    assert [sink.ended for sink in sinks] == [None] * 3


def test_a_reader_that_joins_in_the_grace_waits_for_its_own_time(
    loop: SteppedLoop, streams: Streams
) -> None:
    publisher = FakePublisher()
    loop.run_until_complete(streams.publishing.request("live/a", publisher))
    before = play(streams, "live/a")
    loop.advance(1)
    streams.turn.begin()
    publisher.feed.end()
    sweep_at(loop, streams, RULES.publish_grace_s - 1)
    after = play(streams, "live/a")
    sweep_at(loop, streams, 1)
    assert (before.ended, after.ended) == (EndOfRead.ENDED, None)
    sweep_at(loop, streams, RULES.play_wait_s - 2)
    assert after.ended is None
    sweep_at(loop, streams, 1)
    assert after.ended is EndOfRead.NOT_FOUND
    assert not streams.by_key


def test_a_sweep_looks_at_none_that_is_only_waited_for(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(100):
        play(streams, f"live/{n}")

    def swept(stream: Stream, now: float) -> None:
        raise AssertionError(f"{stream.key} was looked at")

    monkeypatch.setattr(Stream, "sweep", swept)
    streams.sweep()
    assert streams.counters.streams == streams.counters.streams_waiting == 100
